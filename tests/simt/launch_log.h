#pragma once
// Which kernels ran under how many schedules, for the long run that promises a number of them.
#include <cstdint>

namespace simt {

/// Notes that the kernel at `function` ran under the schedule of `seed`. When the program ends and
/// VRAMPLAN_LAUNCHES names a file, it takes a line for each kernel: its address in the program, in
/// hexadecimal, and how many seeds were noted. Without that variable nothing is kept.
void note_launch(const void* function, std::uint64_t seed);

}  // namespace simt
