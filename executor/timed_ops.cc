#include "executor/timed_ops.h"

#include <algorithm>
#include <iterator>

namespace vramplan {

namespace {

constexpr const char* kNames[] = {"embed",
                                  "norm",
                                  "rope",
                                  "kv_write",
                                  "attention_prefill",
                                  "attention_decode",
                                  "attention_mass_prefill",
                                  "attention_mass_decode",
                                  "attention_history_prefill",
                                  "attention_history_decode",
                                  "activation",
                                  "add",
                                  "gather"};

}  // namespace

template <class Call>
void TimedOps::timed(OpTiming& timing, const char* name, const Call& call) {
  const Seconds begin = clock_.now();
  call();
  const Seconds end = clock_.now();
  timing.seconds += (end - begin).v;
  ++timing.calls;
  if (trace_ != nullptr) trace_->add({TraceTrack::kCompute, false, name, begin, end, {}});
}

template <class Call>
void TimedOps::timed(Kind kind, const Call& call) {
  timed(kinds_[kind], kNames[kind], call);
}

OpTimings TimedOps::take() {
  static_assert(std::size(kNames) == kKinds);
  OpTimings out;
  for (int i = 0; i < kKinds; ++i) {
    if (kinds_[i].calls > 0) out[kNames[i]] = kinds_[i];
    kinds_[i] = {};
  }
  for (std::size_t i = 0; i < std::size(linears_); ++i) {
    if (linears_[i].calls > 0)
      out[std::string("linear ") + info(static_cast<DType>(i)).name] = linears_[i];
    linears_[i] = {};
  }
  return out;
}

void TimedOps::embed(TensorView out, const WeightView& table, std::span<const std::int32_t> ids,
                     float scale) {
  timed(kEmbed, [&] { ops_.embed(out, table, ids, scale); });
}

void TimedOps::add_rows(TensorView out, const WeightView& table,
                        std::span<const std::int32_t> positions) {
  timed(kEmbed, [&] { ops_.add_rows(out, table, positions); });
}

void TimedOps::rmsnorm(TensorView out, TensorView x, TensorView weight, float eps, bool one_plus) {
  timed(kNorm, [&] { ops_.rmsnorm(out, x, weight, eps, one_plus); });
}

void TimedOps::layernorm(TensorView out, TensorView x, TensorView weight, TensorView bias,
                         float eps) {
  timed(kNorm, [&] { ops_.layernorm(out, x, weight, bias, eps); });
}

void TimedOps::linear(TensorView out, TensorView in, const WeightView& weight, TensorView bias,
                      TensorView workspace) {
  timed(linears_[static_cast<std::size_t>(weight.tensor.dtype)], "linear",
        [&] { ops_.linear(out, in, weight, bias, workspace); });
}

void TimedOps::rope(TensorView x, std::span<const std::int32_t> positions,
                    const RopeParams& params) {
  timed(kRope, [&] { ops_.rope(x, positions, params); });
}

void TimedOps::kv_write(const KvLayerView& kv, TensorView k, TensorView v,
                        std::span<const std::int64_t> slots) {
  timed(kKvWrite, [&] { ops_.kv_write(kv, k, v, slots); });
}

void TimedOps::kv_pack(const KvLayerView& history, const KvLayerView& recent,
                       std::span<const KvPack> packs, std::int64_t stride) {
  timed(kKvWrite, [&] { ops_.kv_pack(history, recent, packs, stride); });
}

void TimedOps::attention(TensorView out, TensorView q, const KvLayerView& kv,
                         std::span<const SequenceSlice> slices, const AttentionParams& params,
                         TensorView workspace) {
  const bool single = std::all_of(slices.begin(), slices.end(),
                                  [](const SequenceSlice& s) { return s.query_count == 1; });
  const bool mass = !slices.empty() && slices.front().block_mass != nullptr;
  const bool behind = params.history != nullptr;
  const Kind decode = mass ? kMassDecode : behind ? kHistoryDecode : kDecode;
  const Kind prefill = mass ? kMassPrefill : behind ? kHistoryPrefill : kPrefill;
  timed(single ? decode : prefill, [&] { ops_.attention(out, q, kv, slices, params, workspace); });
}

void TimedOps::gated_activation(TensorView gate, TensorView up, GateKind kind) {
  timed(kActivation, [&] { ops_.gated_activation(gate, up, kind); });
}

void TimedOps::add(TensorView x, TensorView y) {
  timed(kAdd, [&] { ops_.add(x, y); });
}

void TimedOps::gather_rows(TensorView out, TensorView x, std::span<const std::int32_t> rows) {
  timed(kGather, [&] { ops_.gather_rows(out, x, rows); });
}

void TimedOps::softcap(TensorView x, float cap) {
  timed(kActivation, [&] { ops_.softcap(x, cap); });
}

}  // namespace vramplan
