#pragma once
// The part of attention_prefill that has sinks. Host only.
#include "kernels/cuda/attention.cuh"

namespace vramplan::cuda::VRAMPLAN_KERNELS {

/// Arguments are checked. Errors: kUnsupported for a shape without a kernel.
void attention_prefill_sinks(Stream stream, const AttentionArguments& arguments);

}  // namespace vramplan::cuda::VRAMPLAN_KERNELS
