#include "kernels/cuda/attention_decode_mma.cuh"

#include "kernels/cuda/attention_decode_mma.h"
#include "kernels/cuda/launch_shape.h"

namespace vramplan::cuda::VRAMPLAN_KERNELS {
namespace {

template <class T, class C, int kDim>
void run(Stream stream, const AttentionArguments& a) {
  const std::int64_t groups = ceil_div(a.heads / a.kv.kv_heads, kMmaHeads);
  const dev::Dim3 grid(static_cast<unsigned>(a.splits),
                       extent("attention_decode", a.kv.kv_heads * groups, 65535),
                       extent("attention_decode", a.slices.count, 65535));
  dev::launch("attention_decode_mma", &attention_decode_mma_kernel<T, C, kDim>, grid,
              32 * kDecodeWarps, decode_mma_shared_bytes<T, C, kDim>(), stream, a);
}

template <class T, class C>
void run_dim(Stream stream, const AttentionArguments& a) {
  if (a.kv.head_dim == 64) return run<T, C, 64>(stream, a);
  if (a.kv.head_dim == 128) return run<T, C, 128>(stream, a);
  run<T, C, 256>(stream, a);
}

}  // namespace

void attention_decode_mma(Stream stream, const AttentionArguments& a) {
  if (a.kv.dtype == DType::kF16) return run_dim<F16, F16>(stream, a);
  if (a.kv.dtype == DType::kBF16) return run_dim<BF16, BF16>(stream, a);
  run_dim<F16, F8>(stream, a);
}

}  // namespace vramplan::cuda::VRAMPLAN_KERNELS
