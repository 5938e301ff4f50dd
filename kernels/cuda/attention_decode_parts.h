#pragma once
// The part of attention_decode before its merge: every split's unnormalised result in the
// workspace, or the result itself where there is one split. Host only.
#include "kernels/cuda/attention.cuh"

namespace vramplan::cuda::VRAMPLAN_KERNELS {

/// Arguments are checked. Errors: kUnsupported for a shape without a kernel.
void attention_decode_parts(Stream stream, const AttentionArguments& arguments);
/// The result out of the parts of `a`, in its workspace, and those of tokens before them, in
/// `before` with `splits` splits.
void attention_combine_two(Stream stream, const AttentionArguments& a, const float* before,
                           int splits);

}  // namespace vramplan::cuda::VRAMPLAN_KERNELS
