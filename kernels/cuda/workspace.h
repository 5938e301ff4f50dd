#pragma once
// Scratch and launch shapes of the CUDA operations as pure functions of shapes: the cuda backend
// and the dry backend that stands in for it share them; the planner has formulas of its own, and
// tests hold them and those of kernels.h equal.
#include <span>

#include "kernels/ops.h"

namespace vramplan::cuda {

/// linear. Up to kGemvTokens tokens: our GEMV. Block formats: our kernel up to kDequantTokens
/// tokens, above it rows of the weight are dequantised into a tile and multiplied by the GEMM
/// library: tile rows = min(kTileRows, kTileBytes / (2 * in)) of 2 * in bytes. With f32
/// activations: our kernel always, no tile. Example: in 4096: 8192 rows x 8 KiB = 64 MiB.
inline constexpr std::int64_t kGemvTokens = 8;
inline constexpr std::int64_t kDequantTokens = 32;
inline constexpr std::int64_t kTileRows = 8192;
inline constexpr std::int64_t kTileBytes = 64 * 1024 * 1024;
std::int64_t tile_rows(std::int64_t in_features);
/// With `inputs` fp8 and fp8 weights (has_fp8_rows): the input's codes, rounded up to 256 B, and
/// their scales, tokens * 4.
Bytes linear_workspace(std::int64_t tokens, std::int64_t in_features, DType weight,
                       DType activations, DType inputs = DType::kI8);
/// Those codes and scales in such a workspace.
struct Fp8Input {
  TensorView codes;  // [tokens, in] e4m3
  float* scales = nullptr;
};
Fp8Input fp8_input_in(void* workspace, std::int64_t tokens, std::int64_t in_features);

/// attention. Naive: the scores of the largest slice, heads * most_queries * most_kv * 4. Slices of
/// one query each: the decode kernel's partial results for a cache of up to `most_kv` tokens, and
/// of a residual window or sinks those of two splits more. Else, and where blocks' attention is
/// added up, none: scores stay on the chip.
Bytes attention_workspace(std::span<const SequenceSlice> slices, const KvLayerView& kv,
                          const AttentionParams& params, std::int64_t most_kv, int multiprocessors);
/// sample: see kernels.h.
Bytes sampling_workspace(std::int64_t rows, std::int64_t vocab);
bool is_decode(std::span<const SequenceSlice> slices);

}  // namespace vramplan::cuda
