#include "kernels/cuda/attention_decode.cuh"

#include <algorithm>

#include "kernels/cuda/attention_combine.cuh"
#include "kernels/cuda/attention_decode_mma.h"
#include "kernels/cuda/attention_decode_parts.h"
#include "kernels/cuda/attention_host.h"
#include "kernels/cuda/kv_dispatch.h"

namespace vramplan::cuda::VRAMPLAN_KERNELS {
namespace {

constexpr std::int64_t kMostSplits = 64, kSplitTokens = 256, kSinkSplits = 2;

template <class C, int kGroup, int kDims>
void run(Stream stream, const AttentionArguments& a) {
  const std::int64_t groups = ceil_div(a.heads / a.kv.kv_heads, kGroup);
  const dev::Dim3 grid(static_cast<unsigned>(a.splits),
                       extent("attention_decode", a.kv.kv_heads * groups, 65535),
                       extent("attention_decode", a.slices.count, 65535));
  const std::size_t floats = decode_shared_floats(kGroup, a.kv.head_dim, a.kv.value_dim);
  dev::launch("attention_decode", &attention_decode_kernel<C, kGroup, kDims>, grid,
              32 * kDecodeWarps, 4 * floats, stream, a);
}

template <class C, int kDims>
void run_group(Stream stream, const AttentionArguments& a) {
  const std::int64_t group = a.heads / a.kv.kv_heads;
  if (group == 1) return run<C, 1, kDims>(stream, a);
  if (group == 2) return run<C, 2, kDims>(stream, a);
  if (group <= 4 || kDims == 16) return run<C, 4, kDims>(stream, a);
  if constexpr (kDims < 16) run<C, 8, kDims>(stream, a);
}

void run_simt(Stream stream, const AttentionArguments& a) {
  const std::int64_t dim = a.kv.value_dim;
  if (dim > 512 || a.kv.head_dim > 576) {
    unsupported("attention_decode", "version for head dimensions " + std::to_string(a.kv.head_dim) +
                                        " and " + std::to_string(dim));
  }
  with_kv("attention_decode", a.kv.dtype, [&](auto tag) {
    using C = typename decltype(tag)::type;
    if (dim <= 64) return run_group<C, 2>(stream, a);
    if (dim <= 128) return run_group<C, 4>(stream, a);
    if (dim <= 256) return run_group<C, 8>(stream, a);
    run_group<C, 16>(stream, a);
  });
}

}  // namespace

void attention_decode_parts(Stream stream, const AttentionArguments& a) {
  if (use_tensor_cores("attention_decode", a.kv, a.slices.path)) {
    attention_decode_mma(stream, a);
  } else {
    run_simt(stream, a);
  }
}

std::int64_t attention_splits(std::int64_t slice_count, std::int64_t kv_heads, std::int64_t most_kv,
                              int multiprocessors) {
  VRAMPLAN_CHECK(slice_count > 0 && kv_heads > 0 && most_kv >= 0 && multiprocessors > 0);
  const std::int64_t wanted = ceil_div(2 * std::int64_t{multiprocessors}, slice_count * kv_heads);
  const std::int64_t most = std::max<std::int64_t>(1, ceil_div(most_kv, kSplitTokens));
  return std::clamp<std::int64_t>(std::min(wanted, most), 1, kMostSplits);
}

Bytes attention_decode_workspace(std::int64_t slice_count, std::int64_t heads,
                                 std::int64_t value_dim, std::int64_t splits) {
  return Bytes{4} * slice_count * heads * splits * (value_dim + 2);
}

namespace {

/// The window's tokens with q, the sinks with theirs, each in splits of its own.
void decode_with_sinks(Stream stream, AttentionArguments a, Bytes room, Bytes one) {
  const std::int64_t splits = std::min(room.n / one.n, kMostSplits);
  VRAMPLAN_CHECK(a.workspace != nullptr && splits >= 2 * kSinkSplits);
  AttentionArguments first = a;
  first.q = a.sink_q;
  first.window = 0;
  first.end = a.sinks;
  first.splits = static_cast<int>(kSinkSplits);
  a.begin = a.sinks;
  a.splits = static_cast<int>(splits - kSinkSplits);
  first.workspace = a.workspace + a.splits * one.n / 4;
  attention_decode_parts(stream, first);
  attention_decode_parts(stream, a);
  attention_combine_two(stream, a, first.workspace, first.splits);
}

}  // namespace

void attention_decode(Stream stream, TensorView out, TensorView q, const KvLayerView& kv,
                      const DeviceSlices& slices, const AttentionParams& params,
                      TensorView workspace) {
  AttentionArguments a = attention_arguments("attention_decode", out, q, kv, slices, params);
  if (slices.count == 0) return;
  const Bytes one = attention_decode_workspace(slices.count, params.heads, kv.value_dim, 1);
  const Bytes room = workspace.data == nullptr ? Bytes{0} : workspace.bytes();
  a.workspace = static_cast<float*>(workspace.data);
  if (a.sinks > 0) return decode_with_sinks(stream, a, room, one);
  a.splits = static_cast<int>(std::clamp<std::int64_t>(room.n / one.n, 1, kMostSplits));
  attention_decode_parts(stream, a);
  if (a.splits == 1) return;
  dev::launch("attention_combine", &attention_combine_kernel,
              dev::Dim3(extent("attention_decode", params.heads),
                        extent("attention_decode", slices.count, 65535)),
              128, 0, stream, a);
}

}  // namespace vramplan::cuda::VRAMPLAN_KERNELS
