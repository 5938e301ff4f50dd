#pragma once
// The merge of a decode call's splits by log-sum-exp.
#include "kernels/cuda/attention.cuh"

namespace vramplan::cuda::VRAMPLAN_KERNELS {

/// Merges the splits of one head of one slice, in order. Grid: heads, slices.
VRAMPLAN_KERNEL VRAMPLAN_BOUNDS(128) attention_combine_kernel(AttentionArguments a) {
  const int head = static_cast<int>(blockIdx.x), slice_index = static_cast<int>(blockIdx.y);
  const Slice slice = slice_at(a, slice_index);
  if (slice.query_count == 0) return;
  const int dim = static_cast<int>(a.kv.value_dim);
  const float* parts =
      a.workspace + (std::int64_t{slice_index} * a.heads + head) * a.splits * (dim + 2);
  float highest = dev::minus_infinity();
  for (int s = 0; s < a.splits; ++s) highest = dev::most(highest, parts[s * (dim + 2) + dim]);
  for (int d = static_cast<int>(threadIdx.x); d < dim; d += static_cast<int>(blockDim.x)) {
    float value = 0.0F, sum = 0.0F;
    for (int s = 0; s < a.splits; ++s) {
      const float* part = parts + s * (dim + 2);
      if (part[dim] == dev::minus_infinity()) continue;  // an empty split
      const float weight = dev::exp2(part[dim] - highest);
      value += weight * part[d];
      sum += weight * part[dim + 1];
    }
    dev::store_as(a.dtype, a.out, (slice.query_begin * a.heads + head) * dim + d,
                  sum > 0.0F ? value / sum : 0.0F);
  }
}

}  // namespace vramplan::cuda::VRAMPLAN_KERNELS
