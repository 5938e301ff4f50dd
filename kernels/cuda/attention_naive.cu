#include "kernels/cuda/attention_naive.cuh"

#include "kernels/cuda/attention_host.h"
#include "kernels/cuda/kv_dispatch.h"

namespace vramplan::cuda::VRAMPLAN_KERNELS {

void attention_naive(Stream stream, TensorView out, TensorView q, const KvLayerView& kv,
                     const DeviceSlices& slices, const AttentionParams& params,
                     TensorView workspace) {
  AttentionArguments a = attention_arguments("attention_naive", out, q, kv, slices, params);
  if (slices.count == 0 || slices.most_queries == 0 || slices.most_kv == 0) return;
  VRAMPLAN_CHECK(workspace.bytes() >=
                 Bytes{4} * params.heads * slices.most_queries * slices.most_kv);
  a.workspace = static_cast<float*>(workspace.data);
  const unsigned heads = extent("attention_naive", params.heads, 65535);
  const unsigned queries = extent("attention_naive", slices.most_queries, 65535);
  const unsigned tiles = extent("attention_naive", ceil_div(slices.most_kv, 128));
  with_kv("attention_naive", kv.dtype, [&](auto tag) {
    using C = typename decltype(tag)::type;
    for (int i = 0; i < slices.count; ++i) {  // the scores of one slice after another
      dev::launch("naive_scores", &naive_scores_kernel<C>, dev::Dim3(tiles, queries, heads), 128, 0,
                  stream, a, i);
      dev::launch("naive_softmax", &naive_softmax_kernel, dev::Dim3(queries, heads), 128, 0, stream,
                  a, i);
      dev::launch("naive_values", &naive_values_kernel<C>, dev::Dim3(queries, heads), 128, 0,
                  stream, a, i);
    }
  });
}

}  // namespace vramplan::cuda::VRAMPLAN_KERNELS
