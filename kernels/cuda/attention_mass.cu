#include "kernels/cuda/attention_mass.cuh"

#include "kernels/cuda/attention_host.h"
#include "kernels/cuda/kv_dispatch.h"

namespace vramplan::cuda::VRAMPLAN_KERNELS {
namespace {

constexpr const char* kName = "attention_mass";

template <class C, int kChunks>
void run(Stream stream, const AttentionArguments& a) {
  const dev::Dim3 grid(extent(kName, ceil_div(a.slices.most_queries, kPrefillQueries)),
                       extent(kName, a.heads, 65535), extent(kName, a.slices.count, 65535));
  const std::size_t floats = prefill_shared_floats(a.kv.head_dim, 32 * kChunks);
  dev::launch(kName, &attention_mass_kernel<C, kChunks>, grid, kPrefillThreads, 4 * floats, stream,
              a, reinterpret_cast<AttentionMass*>(a.slices.block_mass));
}

}  // namespace

void attention_mass(Stream stream, TensorView out, TensorView q, const KvLayerView& kv,
                    const DeviceSlices& slices, const AttentionParams& params) {
  const AttentionArguments a = attention_arguments(kName, out, q, kv, slices, params);
  VRAMPLAN_CHECK(slices.block_mass != nullptr && params.sink_tokens == 0);
  if (slices.count == 0 || slices.most_queries == 0 || slices.most_kv == 0) return;
  const std::int64_t chunks = ceil_div(kv.value_dim, 32);
  if (chunks > 8 || kv.head_dim > 256) {
    unsupported(kName, "version for heads of more than 256 elements");
  }
  with_kv(kName, kv.dtype, [&](auto tag) {
    using C = typename decltype(tag)::type;
    if (chunks <= 2) return run<C, 2>(stream, a);
    if (chunks <= 4) return run<C, 4>(stream, a);
    run<C, 8>(stream, a);
  });
}

}  // namespace vramplan::cuda::VRAMPLAN_KERNELS
