#include "kernels/cuda/kv_pack.cuh"

#include "kernels/cuda/launch_shape.h"

namespace vramplan::cuda::VRAMPLAN_KERNELS {

void kv_pack(Stream stream, const KvLayerView& history, const KvLayerView& recent,
             const KvPack* packs, std::int64_t count) {
  if (history.dtype != DType::kKivi2 && history.dtype != DType::kKivi4) {
    unsupported("kv_pack", std::string("version for ") + info(history.dtype).name);
  }
  VRAMPLAN_CHECK(recent.dtype == DType::kF16 && recent.block_tokens == kResidualBlockTokens);
  VRAMPLAN_CHECK(history.block_tokens % kTileLanes == 0 && history.kv_heads == recent.kv_heads);
  VRAMPLAN_CHECK(history.head_dim == recent.head_dim && history.value_dim == recent.value_dim);
  VRAMPLAN_CHECK(history.head_dim % kTileLanes == 0 && history.value_dim % kTileLanes == 0);
  if (count == 0) return;
  const dev::Dim3 grid(extent("kv_pack", count), extent("kv_pack", history.kv_heads, 65535));
  auto* const kernel = history.dtype == DType::kKivi2 ? &kv_pack_kernel<2> : &kv_pack_kernel<4>;
  dev::launch("kv_pack", kernel, grid, 128, 0, stream, history, recent, packs);
}

}  // namespace vramplan::cuda::VRAMPLAN_KERNELS
