#include "kernels/cuda/attention_prefill_wgmma.cuh"

#include "kernels/cuda/attention_prefill_wgmma.h"
#include "kernels/cuda/launch_shape.h"

namespace vramplan::cuda::VRAMPLAN_KERNELS {
namespace {

template <class T, int kDim>
void run(Stream stream, const AttentionArguments& a) {
  const int box = box_tokens(static_cast<int>(a.kv.block_tokens));
  const std::int64_t rows = a.kv.kv_heads * a.kv.block_tokens;
  const auto map = [&](std::int64_t offset) {
    return dev::tensor_map(a.kv.base + offset, kDim, rows, a.kv.block_count, a.kv.block_stride,
                           box);
  };
  const dev::Dim3 grid(
      extent("attention_prefill", ceil_div(a.slices.most_queries, kWarpgroupQueries)),
      extent("attention_prefill", a.heads, 65535),
      extent("attention_prefill", a.slices.count, 65535));
  dev::launch("attention_prefill_wgmma", &attention_prefill_wgmma_kernel<T, kDim>, grid,
              kWarpgroupThreads, prefill_wgmma_shared_bytes<kDim>(), stream, a, map(0),
              map(a.kv.value_offset));
}

template <class T>
void run_dim(Stream stream, const AttentionArguments& a) {
  if (a.kv.head_dim == 64) return run<T, 64>(stream, a);
  run<T, 128>(stream, a);
}

}  // namespace

bool has_warpgroup_shape(const AttentionArguments& a) {
  const bool dims =
      a.kv.head_dim == a.kv.value_dim && (a.kv.head_dim == 64 || a.kv.head_dim == 128);
  const bool elements = a.kv.dtype == DType::kF16 || a.kv.dtype == DType::kBF16;
  // The softmax takes the largest of the dot products for that of the scores.
  return dims && elements && has_boxes(a.kv.block_tokens) && a.scale > 0.0F &&
         a.kv.block_count > 0 && a.kv.kv_heads * a.kv.block_tokens < (1 << 30);
}

bool device_has_warpgroups() { return dev::has_warpgroups(); }

void attention_prefill_wgmma(Stream stream, const AttentionArguments& a) {
  if (a.kv.dtype == DType::kF16) return run_dim<F16>(stream, a);
  run_dim<BF16>(stream, a);
}

}  // namespace vramplan::cuda::VRAMPLAN_KERNELS
