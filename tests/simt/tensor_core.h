#pragma once
// Tensor-core tiles of a warp as plain arithmetic: fragments as the PTX ISA lays them out
// (mma.m16n8k16 and ldmatrix), products exact in f32 and added in order of k. Hardware adds in
// another order.
#include <cstdint>

#include "simt.h"

namespace simt {

/// ldmatrix.m8n8.x4(.trans).b16.
void load_matrices(std::uint32_t (&out)[4], const void* row, bool transposed, Site site);
/// mma.m16n8k16 with 16-bit inputs that `value` reads.
void multiply_tile(float (&c)[4], const std::uint32_t (&a)[4], std::uint32_t b0, std::uint32_t b1,
                   float (*value)(std::uint16_t), Site site);

}  // namespace simt
