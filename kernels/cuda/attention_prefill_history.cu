#include "kernels/cuda/attention_prefill_history.cuh"

#include "kernels/cuda/attention_host.h"
#include "kernels/cuda/attention_prefill_mma.h"
#include "kernels/cuda/kv_dispatch.h"

namespace vramplan::cuda::VRAMPLAN_KERNELS {
namespace {

constexpr const char* kName = "attention_prefill_history";

template <class H, int kChunks>
void run(Stream stream, const AttentionArguments& a, const AttentionArguments& old) {
  const dev::Dim3 grid(extent(kName, ceil_div(a.slices.most_queries, kPrefillQueries)),
                       extent(kName, a.heads, 65535), extent(kName, a.slices.count, 65535));
  const std::size_t floats = prefill_shared_floats(a.kv.head_dim, 32 * kChunks);
  dev::launch(kName, &attention_prefill_history_kernel<H, kChunks>, grid, kPrefillThreads,
              4 * floats, stream, a, old);
}

template <class H>
void run_width(Stream stream, const AttentionArguments& a, const AttentionArguments& old) {
  const std::int64_t chunks = ceil_div(a.kv.value_dim, 32);
  if (chunks <= 2) return run<H, 2>(stream, a, old);
  if (chunks <= 4) return run<H, 4>(stream, a, old);
  run<H, 8>(stream, a, old);
}

}  // namespace

void attention_prefill_history(Stream stream, TensorView out, TensorView q,
                               const KvLayerView& recent, const DeviceSlices& slices,
                               const KvLayerView& history, const DeviceSlices& behind,
                               const AttentionParams& params) {
  const AttentionArguments a = attention_arguments(kName, out, q, recent, slices, params);
  const AttentionArguments old = attention_arguments(kName, out, q, history, behind, params);
  check_history(kName, recent, slices, history, behind, params);
  if (slices.count == 0 || slices.most_queries == 0 || slices.most_kv == 0) return;
  const AttentionPath path = slices.path;
  if (path == AttentionPath::kWarpgroup) unsupported(kName, "warpgroup version");
  if (path == AttentionPath::kTensorCore && !has_history_mma(history)) {
    unsupported(kName, std::string("tensor-core version for ") + info(history.dtype).name +
                           " with head dimensions " + std::to_string(history.head_dim) + " and " +
                           std::to_string(history.value_dim));
  }
  const bool by_default = path == AttentionPath::kDefault && kTensorCoresByDefault;
  if (path == AttentionPath::kTensorCore || (by_default && has_history_mma(history))) {
    return attention_prefill_history_mma(stream, a, old);
  }
  if (history.dtype == DType::kKivi2) return run_width<KvPacked<2>>(stream, a, old);
  if (history.dtype == DType::kKivi4) return run_width<KvPacked<4>>(stream, a, old);
  with_kv(kName, history.dtype,
          [&](auto tag) { run_width<typename decltype(tag)::type>(stream, a, old); });
}

}  // namespace vramplan::cuda::VRAMPLAN_KERNELS
