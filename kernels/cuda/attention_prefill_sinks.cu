#include "kernels/cuda/attention_prefill_sinks.cuh"

#include "kernels/cuda/attention_host.h"
#include "kernels/cuda/attention_prefill_sinks.h"
#include "kernels/cuda/kv_dispatch.h"

namespace vramplan::cuda::VRAMPLAN_KERNELS {
namespace {

constexpr const char* kName = "attention_prefill_sinks";

template <class C, int kChunks>
void run(Stream stream, const AttentionArguments& a) {
  const dev::Dim3 grid(extent(kName, ceil_div(a.slices.most_queries, kPrefillQueries)),
                       extent(kName, a.heads, 65535), extent(kName, a.slices.count, 65535));
  const std::int64_t second_q = kPrefillQueries * prefill_pitch(a.kv.head_dim);
  const std::size_t floats =
      prefill_shared_floats(a.kv.head_dim, 32 * kChunks) + static_cast<std::size_t>(second_q);
  dev::launch(kName, &attention_prefill_sinks_kernel<C, kChunks>, grid, kPrefillThreads, 4 * floats,
              stream, a);
}

}  // namespace

void attention_prefill_sinks(Stream stream, const AttentionArguments& a) {
  const std::int64_t chunks = ceil_div(a.kv.value_dim, 32);
  if (chunks > 8 || a.kv.head_dim > 256) {
    unsupported(kName, "version for heads of more than 256 elements");
  }
  with_kv(kName, a.kv.dtype, [&](auto tag) {
    using C = typename decltype(tag)::type;
    if (chunks <= 2) return run<C, 2>(stream, a);
    if (chunks <= 4) return run<C, 4>(stream, a);
    run<C, 8>(stream, a);
  });
}

}  // namespace vramplan::cuda::VRAMPLAN_KERNELS
