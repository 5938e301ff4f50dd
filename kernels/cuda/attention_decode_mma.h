#pragma once
// The tensor-core version of attention_decode, behind its entry point; splits are merged there.
#include "kernels/cuda/attention.cuh"

namespace vramplan::cuda::VRAMPLAN_KERNELS {

/// Arguments are checked and has_tensor_core_path holds.
void attention_decode_mma(Stream stream, const AttentionArguments& arguments);

}  // namespace vramplan::cuda::VRAMPLAN_KERNELS
