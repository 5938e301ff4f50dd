#include "executor/dry_ops.h"

#include <algorithm>
#include <utility>

#include "kernels/cuda/workspace.h"
#include "kernels/packed_parts.h"
#include "kernels/workspace.h"

namespace vramplan {
namespace {

double bytes_in(const TensorView& tensor) { return static_cast<double>(tensor.bytes().n); }

double elements_in(const TensorView& tensor) {
  return static_cast<double>(tensor.rows) * static_cast<double>(tensor.columns);
}

/// Keys seen by query positions first..last (0-based), each seeing itself and those before it
/// within the window: sum of min(position + 1, window).
double visible_keys(std::int64_t first, std::int64_t last, std::int64_t window) {
  const auto up_to = [&](std::int64_t count) {  // positions 0 .. count - 1
    const std::int64_t rising = window > 0 ? std::min(count, window) : count;
    const double flat =
        window > 0 ? static_cast<double>(count - rising) * static_cast<double>(window) : 0;
    return static_cast<double>(rising) * static_cast<double>(rising + 1) / 2 + flat;
  };
  return up_to(last + 1) - up_to(first);
}

/// K and V of a token in one layer.
Bytes head_bytes(const KvLayerView& kv, DType dtype) {
  return kv_row_bytes(dtype, kv.head_dim) + kv_row_bytes(dtype, kv.value_dim);
}

Bytes full_bytes(const KvLayerView& kv) { return head_bytes(kv, DType::kF16) * kv.full_count(); }

Bytes token_bytes(const KvLayerView& kv) {
  return head_bytes(kv, kv.dtype) * (kv.kv_heads - kv.full_count()) + full_bytes(kv);
}

}  // namespace

DryOps::DryOps(DeviceKind kind, int threads, DType linear_inputs, VirtualClock& clock, DryCost cost)
    : kind_(kind),
      linear_inputs_(linear_inputs),
      threads_(threads),
      clock_(clock),
      cost_(std::move(cost)) {}

void DryOps::count(const DryWork& work) {
  counts_.calls += work.calls;
  counts_.bytes += work.bytes;
  counts_.flops += work.flops;
  if (cost_) clock_.advance(cost_(work));
}

void DryOps::pack(WeightView&) {}

void DryOps::embed(TensorView out, const WeightView& table, std::span<const std::int32_t> ids,
                   float) {
  const auto rows = static_cast<std::int64_t>(ids.size());
  const double read =
      static_cast<double>(bytes_of(table.tensor.dtype, rows, table.tensor.columns).n);
  count({DryOp::kEmbed, table.tensor.dtype, out.dtype, read + bytes_in(out), elements_in(out)});
}

void DryOps::add_rows(TensorView out, const WeightView& table,
                      std::span<const std::int32_t> positions) {
  const auto rows = static_cast<std::int64_t>(positions.size());
  const double read =
      static_cast<double>(bytes_of(table.tensor.dtype, rows, table.tensor.columns).n);
  count({DryOp::kEmbed, table.tensor.dtype, out.dtype, read + bytes_in(out), elements_in(out)});
}

void DryOps::rmsnorm(TensorView out, TensorView x, TensorView, float, bool) {
  count({DryOp::kNorm, x.dtype, x.dtype, bytes_in(x) + bytes_in(out), 4 * elements_in(x)});
}

void DryOps::layernorm(TensorView out, TensorView x, TensorView, TensorView, float) {
  count({DryOp::kNorm, x.dtype, x.dtype, bytes_in(x) + bytes_in(out), 4 * elements_in(x)});
}

void DryOps::linear(TensorView out, TensorView in, const WeightView& weight, TensorView,
                    TensorView) {
  VRAMPLAN_CHECK(in.columns == weight.tensor.columns && out.columns == weight.tensor.rows);
  VRAMPLAN_CHECK(in.rows == out.rows);
  const bool few = in.rows <= cpu::kGemvTokens;
  const double bytes = bytes_in(weight.tensor) + bytes_in(in) + bytes_in(out);
  const double flops = 2 * static_cast<double>(in.rows) * elements_in(weight.tensor);
  if (linear_inputs_ == DType::kF8E4M3 && has_fp8_rows(weight.tensor.dtype)) {
    return count({few ? DryOp::kLinearFp8Decode : DryOp::kLinearFp8, weight.tensor.dtype,
                  DType::kF8E4M3, bytes + 2 * elements_in(in), flops});  // codes: there and back
  }
  const DryOp op = few ? DryOp::kLinearDecode : DryOp::kLinear;
  // With unrounded inputs the products are those of f32 weights.
  const bool unrounded = is_block_quantised(weight.tensor.dtype) && linear_inputs_ == DType::kF32;
  count({op, unrounded ? DType::kF32 : weight.tensor.dtype, in.dtype, bytes, flops});
}

void DryOps::rope(TensorView x, std::span<const std::int32_t>, const RopeParams&) {
  count({DryOp::kRope, x.dtype, x.dtype, 2 * bytes_in(x), 3 * elements_in(x)});
}

void DryOps::kv_write(const KvLayerView& kv, TensorView k, TensorView v,
                      std::span<const std::int64_t> slots) {
  VRAMPLAN_CHECK(k.columns == kv.kv_heads * kv.head_dim && v.columns == kv.kv_heads * kv.value_dim);
  const auto tokens = static_cast<std::int64_t>(slots.size());
  VRAMPLAN_CHECK(tokens == k.rows && tokens == v.rows);
  const double written = static_cast<double>((token_bytes(kv) * tokens).n);
  count({DryOp::kKvWrite, kv.dtype, k.dtype, bytes_in(k) + bytes_in(v) + written, 0});
}

void DryOps::kv_pack(const KvLayerView& history, const KvLayerView& recent,
                     std::span<const KvPack> packs, std::int64_t stride) {
  const Bytes moved = token_bytes(recent) * kResidualBlockTokens +
                      token_bytes(history) * (kResidualBlockTokens / stride);
  const auto blocks = std::count_if(packs.begin(), packs.end(),
                                    [](const KvPack& pack) { return pack.recent_block >= 0; });
  count({DryOp::kKvWrite, history.dtype, history.dtype,
         static_cast<double>((moved * static_cast<std::int64_t>(blocks)).n), 0});
}

void DryOps::attention(TensorView out, TensorView q, const KvLayerView& kv,
                       std::span<const SequenceSlice> slices, const AttentionParams& params,
                       TensorView) {
  VRAMPLAN_CHECK(q.columns == params.heads * kv.head_dim &&
                 out.columns == params.heads * kv.value_dim);
  bool single = true, mass = false;
  double bytes = bytes_in(q) + bytes_in(out), flops = 0;
  const double width = static_cast<double>(kv.head_dim + kv.value_dim);
  const std::int64_t window =
      params.window_tokens > 0 ? params.window_tokens + params.sink_tokens : 0;
  for (const SequenceSlice& slice : slices) {
    single = single && slice.query_count == 1;
    const std::int64_t reach =
        window > 0 ? std::min(slice.kv_length, window - 1 + slice.query_count) : slice.kv_length;
    bytes += static_cast<double>((token_bytes(kv) * reach).n);
    flops += 2 * static_cast<double>(params.heads) * width *
             visible_keys(slice.kv_length - slice.query_count, slice.kv_length - 1, window);
    if (slice.block_mass != nullptr) {  // keys are read and multiplied once more
      mass = true;
      bytes += static_cast<double>((kv_row_bytes(kv.dtype, kv.head_dim) * kv.kv_heads * reach).n);
      flops += 2 * static_cast<double>(params.heads * kv.head_dim) *
               visible_keys(slice.kv_length - slice.query_count, slice.kv_length - 1, window);
    }
    if (params.naive) {  // scores written, read and written by the softmax, read: f32
      bytes += 4.0 * 4.0 * static_cast<double>(params.heads) *
               static_cast<double>(slice.query_count) * static_cast<double>(slice.kv_length);
    }
  }
  const DType format = params.history != nullptr ? params.history->dtype : kv.dtype;
  // Heads that stay in f16 take their share of everything, and of the history what they have.
  double full_share = 0, full = 0;
  if (params.history != nullptr && params.history->full_heads != 0) {
    full_share =
        static_cast<double>(params.history->full_count()) / static_cast<double>(kv.kv_heads);
    full = bytes * full_share;
    bytes -= full;
  }
  if (params.history != nullptr) {
    VRAMPLAN_CHECK(params.history_slices.size() == slices.size());
    for (std::size_t i = 0; i < slices.size(); ++i) {
      const std::int64_t keys = params.history_slices[i].kv_length;
      const Bytes packed = token_bytes(*params.history) - full_bytes(*params.history);
      bytes += static_cast<double>((packed * keys).n);
      full += static_cast<double>((full_bytes(*params.history) * keys).n);
      flops += 2 * static_cast<double>(params.heads) * width *
               static_cast<double>(slices[i].query_count) * static_cast<double>(keys);
    }
  }
  const bool behind = params.history != nullptr;
  const DryOp decode = mass     ? DryOp::kAttentionMassDecode
                       : behind ? DryOp::kAttentionHistoryDecode
                                : DryOp::kAttentionDecode;
  const DryOp prefill = mass     ? DryOp::kAttentionMassPrefill
                        : behind ? DryOp::kAttentionHistoryPrefill
                                 : DryOp::kAttentionPrefill;
  const DryOp op = single ? decode : prefill;
  if (full > 0) count({op, DType::kF16, q.dtype, full, flops * full_share, 1, 0});
  count({op, format, q.dtype, bytes, flops * (1 - full_share)});
}

void DryOps::gated_activation(TensorView gate, TensorView up, GateKind) {
  count({DryOp::kActivation, gate.dtype, gate.dtype, 2 * bytes_in(gate) + bytes_in(up),
         8 * elements_in(gate)});
}

void DryOps::add_rmsnorm(TensorView out, TensorView x, TensorView p, TensorView weight, float eps,
                         bool one_plus) {
  if (kind_ != DeviceKind::kGpu) return Ops::add_rmsnorm(out, x, p, weight, eps, one_plus);
  count({DryOp::kNorm, x.dtype, x.dtype, 2 * bytes_in(x) + bytes_in(p) + bytes_in(out),
         5 * elements_in(x)});
}

void DryOps::rope_kv_write(TensorView q, TensorView k, TensorView v,
                           std::span<const std::int32_t> positions, const RopeParams& params,
                           const KvLayerView& kv, std::span<const std::int64_t> slots) {
  if (kind_ != DeviceKind::kGpu) return Ops::rope_kv_write(q, k, v, positions, params, kv, slots);
  const double written = static_cast<double>((token_bytes(kv) * k.rows).n);
  count({DryOp::kKvWrite, kv.dtype, k.dtype,
         2 * (bytes_in(q) + bytes_in(k)) + bytes_in(v) + written,
         3 * (elements_in(q) + elements_in(k))});
}

void DryOps::add(TensorView x, TensorView) {
  count({DryOp::kAdd, x.dtype, x.dtype, 3 * bytes_in(x), elements_in(x)});
}

void DryOps::gather_rows(TensorView out, TensorView, std::span<const std::int32_t>) {
  count({DryOp::kGather, out.dtype, out.dtype, 2 * bytes_in(out), 0});
}

void DryOps::softcap(TensorView x, float) {
  count({DryOp::kActivation, x.dtype, x.dtype, 2 * bytes_in(x), 8 * elements_in(x)});
}

Bytes DryOps::linear_workspace(std::int64_t tokens, std::int64_t in_features, DType weight) const {
  if (gpu_) {
    return cuda::linear_workspace(tokens, in_features, weight, gpu_->activations, linear_inputs_);
  }
  if (kind_ != DeviceKind::kCpu) return {};
  return cpu::linear_workspace(tokens, in_features, weight, linear_inputs_, threads_);
}

Bytes DryOps::attention_workspace(std::span<const SequenceSlice> slices, const KvLayerView& kv,
                                  const AttentionParams& params) const {
  if (kind_ == DeviceKind::kCpu)
    return cpu::attention_workspace(slices, kv.value_dim, params, threads_);
  const DryGpuRules rules = gpu_.value_or(DryGpuRules{});
  if (!gpu_ && !params.naive) return {};  // a device whose kernels keep all on the chip
  return cuda::attention_workspace(slices, kv, params, rules.most_context, rules.multiprocessors);
}

}  // namespace vramplan
