#include "kernels/cuda/attention_packed.cuh"

#include <algorithm>

#include "kernels/cuda/attention_decode_parts.h"
#include "kernels/cuda/attention_host.h"

namespace vramplan::cuda::VRAMPLAN_KERNELS {
namespace {

constexpr std::int64_t kRecentSplits = 2, kMostSplits = 64;

template <int kBits, int kGroup, int kParts>
void run(Stream stream, const AttentionArguments& a) {
  const std::int64_t groups = ceil_div(a.heads / a.kv.kv_heads, kGroup);
  const dev::Dim3 grid(static_cast<unsigned>(a.splits),
                       extent("attention_packed", a.kv.kv_heads * groups, 65535),
                       extent("attention_packed", a.slices.count, 65535));
  const std::size_t floats = packed_shared_floats(kGroup, a.kv.head_dim, a.kv.value_dim);
  dev::launch("attention_packed", &attention_packed_kernel<kBits, kGroup, kParts>, grid,
              32 * kDecodeWarps, 4 * floats, stream, a);
}

template <int kBits>
void run_shape(Stream stream, const AttentionArguments& a) {
  const std::int64_t group = a.heads / a.kv.kv_heads, parts = a.kv.value_dim / kTileLanes;
  if (parts <= 4) {
    if (group == 1) return run<kBits, 1, 4>(stream, a);
    return run<kBits, 4, 4>(stream, a);
  }
  run<kBits, 2, 8>(stream, a);
}

}  // namespace

void attention_combine_two(Stream stream, const AttentionArguments& a, const float* before,
                           int splits) {
  constexpr const char* kName = "attention_combine_two";
  const dev::Dim3 grid(extent(kName, a.heads), extent(kName, a.slices.count, 65535));
  dev::launch(kName, &attention_combine_two_kernel, grid, 128, 0, stream, a, before, splits);
}

std::int64_t attention_history_splits(std::int64_t slice_count, std::int64_t kv_heads,
                                      std::int64_t most_kv, int multiprocessors) {
  const std::int64_t alone = attention_splits(slice_count, kv_heads, most_kv, multiprocessors);
  return std::clamp(alone + kRecentSplits, 2 * kRecentSplits, kMostSplits);
}

void attention_decode_history(Stream stream, TensorView out, TensorView q,
                              const KvLayerView& recent, const DeviceSlices& slices,
                              const KvLayerView& history, const DeviceSlices& behind,
                              const AttentionParams& params, TensorView workspace) {
  constexpr const char* kName = "attention_packed";
  AttentionArguments a = attention_arguments(kName, out, q, recent, slices, params);
  AttentionArguments old = attention_arguments(kName, out, q, history, behind, params);
  check_history(kName, recent, slices, history, behind, params);
  if (slices.count == 0) return;
  const Bytes one = attention_decode_workspace(slices.count, params.heads, recent.value_dim, 1);
  const std::int64_t splits = std::min(workspace.bytes().n / one.n, kMostSplits);
  VRAMPLAN_CHECK(workspace.data != nullptr && splits >= 2 * kRecentSplits);
  a.splits = static_cast<int>(kRecentSplits);
  a.workspace = static_cast<float*>(workspace.data);
  old.splits = static_cast<int>(splits - kRecentSplits);
  old.workspace = a.workspace + kRecentSplits * one.n / 4;
  attention_decode_parts(stream, a);
  if (history.dtype == DType::kKivi2) {
    run_shape<2>(stream, old);
  } else if (history.dtype == DType::kKivi4) {
    run_shape<4>(stream, old);
  } else {
    attention_decode_parts(stream, old);
  }
  attention_combine_two(stream, a, old.workspace, old.splits);
}

}  // namespace vramplan::cuda::VRAMPLAN_KERNELS
