#pragma once
// The sm_90a version of attention_prefill, behind its entry point.
#include "kernels/cuda/attention.cuh"

namespace vramplan::cuda::VRAMPLAN_KERNELS {

/// Whether these kernels have this shape: see AttentionPath.
bool has_warpgroup_shape(const AttentionArguments& arguments);
/// Whether the current device runs them.
bool device_has_warpgroups();

/// Arguments are checked and both of these hold.
void attention_prefill_wgmma(Stream stream, const AttentionArguments& arguments);

}  // namespace vramplan::cuda::VRAMPLAN_KERNELS
