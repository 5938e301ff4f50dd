#include "kernels/cuda/attention_prefill_sinks_mma.cuh"

#include "kernels/cuda/attention_prefill_mma.h"
#include "kernels/cuda/launch_shape.h"

namespace vramplan::cuda::VRAMPLAN_KERNELS {
namespace {

constexpr const char* kName = "attention_prefill_sinks_mma";

template <class T, class C, int kDim>
void run(Stream stream, const AttentionArguments& a) {
  const dev::Dim3 grid(extent(kName, ceil_div(a.slices.most_queries, kMmaQueries)),
                       extent(kName, a.heads, 65535), extent(kName, a.slices.count, 65535));
  dev::launch(kName, &attention_prefill_sinks_mma_kernel<T, C, kDim>, grid, kMmaThreads,
              sinks_mma_shared_bytes<T, C, kDim>(), stream, a);
}

template <class T, class C>
void run_dim(Stream stream, const AttentionArguments& a) {
  if (a.kv.head_dim == 64) return run<T, C, 64>(stream, a);
  run<T, C, 128>(stream, a);
}

}  // namespace

bool has_sinks_mma(const KvLayerView& kv) { return kv.head_dim <= 128; }

void attention_prefill_sinks_mma(Stream stream, const AttentionArguments& a) {
  if (a.kv.dtype == DType::kF16) return run_dim<F16, F16>(stream, a);
  if (a.kv.dtype == DType::kBF16) return run_dim<BF16, BF16>(stream, a);
  run_dim<F16, F8>(stream, a);
}

}  // namespace vramplan::cuda::VRAMPLAN_KERNELS
