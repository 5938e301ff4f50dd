#include "kernels/cuda/attention_prefill_history_mma.cuh"

#include "kernels/cuda/attention_prefill_mma.h"
#include "kernels/cuda/kv_dispatch.h"

namespace vramplan::cuda::VRAMPLAN_KERNELS {
namespace {

constexpr const char* kName = "attention_prefill_history_mma";

template <class H, int kDim>
void run(Stream stream, const AttentionArguments& a, const AttentionArguments& old) {
  const dev::Dim3 grid(extent(kName, ceil_div(a.slices.most_queries, kMmaQueries)),
                       extent(kName, a.heads, 65535), extent(kName, a.slices.count, 65535));
  dev::launch(kName, &attention_prefill_history_mma_kernel<H, kDim>, grid, kMmaThreads,
              prefill_mma_shared_bytes<F16, F16, kDim>(), stream, a, old);
}

template <class H>
void run_dim(Stream stream, const AttentionArguments& a, const AttentionArguments& old) {
  if (a.kv.head_dim == 64) return run<H, 64>(stream, a, old);
  run<H, 128>(stream, a, old);
}

}  // namespace

bool has_history_mma(const KvLayerView& history) {
  const bool dims =
      history.head_dim == history.value_dim && (history.head_dim == 64 || history.head_dim == 128);
  return dims && history.dtype != DType::kF32;
}

void attention_prefill_history_mma(Stream stream, const AttentionArguments& a,
                                   const AttentionArguments& old) {
  switch (old.kv.dtype) {
    case DType::kKivi2:
      return run_dim<KvPacked<2>>(stream, a, old);
    case DType::kKivi4:
      return run_dim<KvPacked<4>>(stream, a, old);
    case DType::kF16:
      return run_dim<F16>(stream, a, old);
    case DType::kBF16:
      return run_dim<BF16>(stream, a, old);
    case DType::kF8E4M3:
      return run_dim<F8>(stream, a, old);
    case DType::kI8:
      return run_dim<KvI8>(stream, a, old);
    case DType::kQ8_0:
      return run_dim<KvQ8_0>(stream, a, old);
    default:
      VRAMPLAN_CHECK(old.kv.dtype == DType::kQ4_0);
      run_dim<KvQ4_0>(stream, a, old);
  }
}

}  // namespace vramplan::cuda::VRAMPLAN_KERNELS
