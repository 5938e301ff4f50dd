#pragma once
// The tensor-core versions of prefill, behind its entry points.
#include "kernels/cuda/attention.cuh"

namespace vramplan::cuda::VRAMPLAN_KERNELS {

/// Arguments are checked and has_tensor_core_path holds.
void attention_prefill_mma(Stream stream, const AttentionArguments& arguments);
/// With sinks: not of heads of 256, which would take more registers than there are.
bool has_sinks_mma(const KvLayerView& kv);
void attention_prefill_sinks_mma(Stream stream, const AttentionArguments& arguments);
/// Histories of every format but f32, heads of 64 and 128.
bool has_history_mma(const KvLayerView& history);
/// `arguments`: of the window, in f16; `old`: of the history.
void attention_prefill_history_mma(Stream stream, const AttentionArguments& arguments,
                                   const AttentionArguments& old);

}  // namespace vramplan::cuda::VRAMPLAN_KERNELS
