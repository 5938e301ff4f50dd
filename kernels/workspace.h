#pragma once
// Scratch sizes of the CPU operations, as pure functions: the CPU backend and the dry backend that
// stands in for it share them; the planner has its own formula and a test compares the two.
#include <span>

#include "kernels/ops.h"

namespace vramplan::cpu {

/// Up to here the weights set the pace of a linear, above it the arithmetic does.
inline constexpr std::int64_t kGemvTokens = 8;

/// linear, block-quantised weights. `inputs` i8: the input as 8-bit codes, per 32 elements 32
/// codes, a scale and a sum (f32 each): tokens * ceil(in / 32) * 40 bytes. f32, and formats of
/// checkpoints: the input as it is, and per thread weight rows in f32: threads *
/// dequantised_rows(tokens) * in * 4 bytes. Other weights: 0, whatever `inputs` is. f8_e4m3: before
/// that, where fp8 weights have at most one scale a row, the input as its codes say: tokens * in *
/// 4 bytes; other weights as with i8.
inline constexpr std::int64_t kDequantisedRows = 4;    // at a time
inline constexpr std::int64_t kDequantisedPanel = 16;  // as many again, interleaved
/// Many tokens meet a panel of rows, a few the rows as they are read.
inline constexpr std::int64_t dequantised_rows(std::int64_t tokens) {
  return tokens > kGemvTokens ? 2 * kDequantisedPanel : kDequantisedRows;
}
Bytes linear_workspace(std::int64_t tokens, std::int64_t in_features, DType weight, DType inputs,
                       int threads);

/// attention, tiled: sequences with one query are split over the threads and merged by log-sum-exp:
/// single-query slices * heads * threads * (value_dim + 2) * 4 bytes; longer slices need none.
/// With a history, threads + 1 instead of threads: the residual window is a part of its own.
/// Naive: the scores of the largest slice: heads * query_count * kv_length * 4 bytes.
Bytes attention_workspace(std::span<const SequenceSlice> slices, std::int64_t value_dim,
                          const AttentionParams& params, int threads);

}  // namespace vramplan::cpu
