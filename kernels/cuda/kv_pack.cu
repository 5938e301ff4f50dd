#include "kernels/cuda/kv_pack.cuh"

#include "kernels/cuda/kv_dispatch.h"

namespace vramplan::cuda::VRAMPLAN_KERNELS {
namespace {

void check_packs(const KvLayerView& history, const KvLayerView& recent, std::int64_t stride) {
  const std::int64_t kept = kResidualBlockTokens / stride;
  VRAMPLAN_CHECK(stride >= 1 && kResidualBlockTokens % stride == 0);
  VRAMPLAN_CHECK(recent.dtype == DType::kF16 && recent.block_tokens == kResidualBlockTokens);
  VRAMPLAN_CHECK(history.block_tokens % kept == 0 && history.kv_heads == recent.kv_heads);
  VRAMPLAN_CHECK(history.head_dim == recent.head_dim && history.value_dim == recent.value_dim);
}

}  // namespace

void kv_pack(Stream stream, const KvLayerView& history, const KvLayerView& recent,
             const KvPack* packs, std::int64_t count, std::int64_t stride) {
  check_packs(history, recent, stride);
  check_kv_width("kv_pack", history.dtype, history.head_dim);
  check_kv_width("kv_pack", history.dtype, history.value_dim);
  if (count == 0) return;
  const dev::Dim3 grid(extent("kv_pack", count), extent("kv_pack", history.kv_heads, 65535));
  if (history.dtype == DType::kKivi2 || history.dtype == DType::kKivi4) {
    VRAMPLAN_CHECK(stride == 1);  // the tokens of a tile share their scales
    auto* const kernel = history.dtype == DType::kKivi2 ? &kv_pack_kernel<2> : &kv_pack_kernel<4>;
    return dev::launch("kv_pack", kernel, grid, 128, 0, stream, history, recent, packs);
  }
  with_kv("kv_pack", history.dtype, [&](auto cache) {
    using C = typename decltype(cache)::type;
    dev::launch("kv_pack_rows", &kv_pack_rows_kernel<C>, grid, 128, 0, stream, history, recent,
                packs, static_cast<int>(stride));
  });
}

}  // namespace vramplan::cuda::VRAMPLAN_KERNELS
