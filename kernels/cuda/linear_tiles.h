#pragma once
// The two regimes of linear, behind its entry point: few tokens and many. Two files, because every weight
// format is compiled for each.
#include "kernels/cuda/linear.cuh"

namespace vramplan::cuda::VRAMPLAN_KERNELS {

/// Up to kMostGemvTokens tokens; arguments are checked.
inline constexpr std::int64_t kMostGemvTokens = 8;
void linear_gemv(Stream stream, DType weight, const LinearArguments& arguments);
/// Any number of tokens.
void linear_gemm(Stream stream, DType weight, const LinearArguments& arguments);

}  // namespace vramplan::cuda::VRAMPLAN_KERNELS
