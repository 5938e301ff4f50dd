#pragma once
// The regimes of linear, behind its entry point: few tokens, many, and packed weights at any
// number. Files of their own, because every weight format is compiled for each.
#include "kernels/cuda/linear.cuh"

namespace vramplan::cuda::VRAMPLAN_KERNELS {

/// Up to kMostGemvTokens tokens; arguments are checked.
inline constexpr std::int64_t kMostGemvTokens = 8;
void linear_gemv(Stream stream, DType weight, const LinearArguments& arguments);
/// Any number of tokens.
void linear_gemm(Stream stream, DType weight, const LinearArguments& arguments);
/// Any number of tokens; `arguments` without its weight.
void linear_packed(Stream stream, const TensorView& weight, LinearArguments arguments);

}  // namespace vramplan::cuda::VRAMPLAN_KERNELS
