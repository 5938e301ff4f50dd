#pragma once
// MemorySpeed: how fast this machine reads memory right now.
#include <cstddef>
#include <span>

#include "executor/clock.h"

namespace vramplan {

/// Median rate of reading `data` once with `threads` threads, each a part of its own; 0 when
/// nothing was read. `data` should be larger than the caches.
double reading_bytes_per_s(std::span<const std::byte> data, int threads, const Clock& clock,
                           int repetitions);

}  // namespace vramplan
