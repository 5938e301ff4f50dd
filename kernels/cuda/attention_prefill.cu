#include "kernels/cuda/attention_prefill.cuh"

#include "kernels/cuda/attention_host.h"
#include "kernels/cuda/attention_prefill_mma.h"
#include "kernels/cuda/attention_prefill_sinks.h"
#include "kernels/cuda/attention_prefill_wgmma.h"
#include "kernels/cuda/kv_dispatch.h"

namespace vramplan::cuda::VRAMPLAN_KERNELS {
namespace {

template <class C, int kChunks>
void run(Stream stream, const AttentionArguments& a, dev::Dim3 grid) {
  const std::size_t floats = prefill_shared_floats(a.kv.head_dim, 32 * kChunks);
  dev::launch("attention_prefill", &attention_prefill_kernel<C, kChunks>, grid, kPrefillThreads,
              4 * floats, stream, a);
}

bool use_warpgroups(const AttentionArguments& a) {
  const AttentionPath path = a.slices.path;
  if (path == AttentionPath::kDefault) {
    return kTensorCoresByDefault && has_warpgroup_shape(a) && device_has_warpgroups();
  }
  if (path != AttentionPath::kWarpgroup) return false;
  if (!has_warpgroup_shape(a)) {
    unsupported("attention_prefill", std::string("warpgroup version for ") + info(a.kv.dtype).name +
                                         " with head dimensions " + std::to_string(a.kv.head_dim) +
                                         " and " + std::to_string(a.kv.value_dim) +
                                         " and blocks of " + std::to_string(a.kv.block_tokens) +
                                         " tokens");
  }
  if (!device_has_warpgroups()) {
    unsupported("attention_prefill", "warpgroup version for this device or build: it needs sm_90a");
  }
  return true;
}

}  // namespace

void attention_prefill(Stream stream, TensorView out, TensorView q, const KvLayerView& kv,
                       const DeviceSlices& slices, const AttentionParams& params) {
  const AttentionArguments a = attention_arguments("attention_prefill", out, q, kv, slices, params);
  if (slices.count == 0 || slices.most_queries == 0 || slices.most_kv == 0) return;
  if (a.sinks > 0) {
    const bool asked = slices.path == AttentionPath::kTensorCore;
    if (use_tensor_cores("attention_prefill_sinks", kv, slices.path)) {
      if (has_sinks_mma(kv)) return attention_prefill_sinks_mma(stream, a);
      if (asked) unsupported("attention_prefill_sinks", "tensor-core version for heads of 256");
    }
    return attention_prefill_sinks(stream, a);
  }
  if (use_warpgroups(a)) return attention_prefill_wgmma(stream, a);
  if (use_tensor_cores("attention_prefill", kv, slices.path)) {
    return attention_prefill_mma(stream, a);
  }
  const std::int64_t chunks = ceil_div(kv.value_dim, 32);
  if (chunks > 16 || kv.head_dim > 576) {
    unsupported("attention_prefill", "version for head dimensions " + std::to_string(kv.head_dim) +
                                         " and " + std::to_string(kv.value_dim));
  }
  const dev::Dim3 grid(extent("attention_prefill", ceil_div(slices.most_queries, kPrefillQueries)),
                       extent("attention_prefill", params.heads, 65535),
                       extent("attention_prefill", slices.count, 65535));
  with_kv("attention_prefill", kv.dtype, [&](auto tag) {
    using C = typename decltype(tag)::type;
    if (chunks <= 2) return run<C, 2>(stream, a, grid);
    if (chunks <= 4) return run<C, 4>(stream, a, grid);
    if (chunks <= 8) return run<C, 8>(stream, a, grid);
    run<C, 16>(stream, a, grid);
  });
}

}  // namespace vramplan::cuda::VRAMPLAN_KERNELS
