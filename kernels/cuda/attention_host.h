#pragma once
// Checks and arguments that the attention entry points share. Host only.
#include "kernels/cuda/attention.cuh"
#include "kernels/cuda/kv_dispatch.h"

namespace vramplan::cuda::VRAMPLAN_KERNELS {

inline AttentionArguments attention_arguments(const char* name, TensorView out, TensorView q,
                                              const KvLayerView& kv, const DeviceSlices& slices,
                                              const AttentionParams& params) {
  VRAMPLAN_CHECK(q.dtype == out.dtype && q.rows == out.rows);
  VRAMPLAN_CHECK(kv.kv_heads > 0 && params.heads % kv.kv_heads == 0);
  VRAMPLAN_CHECK(q.columns == params.heads * kv.head_dim);
  VRAMPLAN_CHECK(out.columns == params.heads * kv.value_dim);
  VRAMPLAN_CHECK(kv.block_tokens > 0 && params.window_tokens >= 0 && params.softcap >= 0);
  VRAMPLAN_CHECK(aligned(kv.base, 16) && kv.block_stride % 16 == 0 && kv.value_offset % 16 == 0);
  VRAMPLAN_CHECK(slices.most_kv <= slices.blocks_per_row * kv.block_tokens);
  if (!is_activation(q.dtype)) {
    unsupported(name, std::string("version for ") + info(q.dtype).name + " activations");
  }
  if (kv.head_dim % 8 != 0 || kv.value_dim % 8 != 0) {
    unsupported(name, "version for head dimensions " + std::to_string(kv.head_dim) + " and " +
                          std::to_string(kv.value_dim) + ": they must be multiples of 8");
  }
  check_kv_width(name, kv.dtype, kv.head_dim);
  check_kv_width(name, kv.dtype, kv.value_dim);
  // Token numbers are 32-bit inside the kernels.
  if (slices.most_kv > (1 << 30)) unsupported(name, "version for so long a context");
  AttentionArguments a;
  a.out = out.data;
  a.q = q.data;
  a.dtype = q.dtype;
  a.heads = params.heads;
  a.kv = kv;
  a.slices = slices;
  a.scale = params.scale;
  a.cap = params.softcap;
  a.window = static_cast<int>(params.window_tokens < slices.most_kv ? params.window_tokens : 0);
  if (params.sink_tokens == 0) return a;
  VRAMPLAN_CHECK(params.window_tokens > 0 && params.sink_tokens > 0 && kv.head_dim > 0);
  VRAMPLAN_CHECK(params.sink_q.rows == q.rows && params.sink_q.columns == q.columns);
  VRAMPLAN_CHECK(params.sink_q.dtype == q.dtype && params.sink_q.data != nullptr);
  a.sink_q = params.sink_q.data;
  a.sinks =
      static_cast<int>(params.sink_tokens < slices.most_kv ? params.sink_tokens : slices.most_kv);
  return a;
}

/// What both attention operations with a history take for granted. Errors: kUnsupported.
inline void check_history(const char* name, const KvLayerView& recent, const DeviceSlices& slices,
                          const KvLayerView& history, const DeviceSlices& behind,
                          const AttentionParams& params) {
  if (history.head_dim > 256 || history.value_dim > 256) {
    unsupported(name, "version for heads of more than 256 elements");
  }
  VRAMPLAN_CHECK(recent.dtype == DType::kF16 && history.kv_heads == recent.kv_heads);
  VRAMPLAN_CHECK(history.head_dim == recent.head_dim && history.value_dim == recent.value_dim);
  VRAMPLAN_CHECK(behind.count == slices.count && params.window_tokens == 0);
  const bool packed = history.dtype == DType::kKivi2 || history.dtype == DType::kKivi4;
  VRAMPLAN_CHECK(!packed || history.block_tokens % 32 == 0);
}

/// Whether the tensor-core kernels have this shape.
inline bool has_tensor_core_path(const KvLayerView& kv) {
  const bool dims = kv.head_dim == kv.value_dim &&
                    (kv.head_dim == 64 || kv.head_dim == 128 || kv.head_dim == 256);
  const bool elements =
      kv.dtype == DType::kF16 || kv.dtype == DType::kBF16 || kv.dtype == DType::kF8E4M3;
  return dims && elements;
}

inline bool use_tensor_cores(const char* name, const KvLayerView& kv, AttentionPath path) {
  if (path == AttentionPath::kSimt) return false;
  if (path == AttentionPath::kWarpgroup) unsupported(name, "warpgroup version");
  if (path == AttentionPath::kDefault) return kTensorCoresByDefault && has_tensor_core_path(kv);
  if (!has_tensor_core_path(kv)) {
    unsupported(name, "tensor-core version for " + std::string(info(kv.dtype).name) +
                          " with head dimensions " + std::to_string(kv.head_dim) + " and " +
                          std::to_string(kv.value_dim));
  }
  return true;
}

}  // namespace vramplan::cuda::VRAMPLAN_KERNELS
