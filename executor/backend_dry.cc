#include "executor/backend_dry.h"

#include "planner/latency.h"

namespace vramplan {
namespace {

OpKind op_kind(DryOp op) {
  switch (op) {
    case DryOp::kEmbed:
      return OpKind::kEmbed;
    case DryOp::kNorm:
      return OpKind::kNorm;
    case DryOp::kLinear:
      return OpKind::kLinear;
    case DryOp::kLinearDecode:
      return OpKind::kLinearDecode;
    case DryOp::kLinearFp8:
      return OpKind::kLinearFp8;
    case DryOp::kLinearFp8Decode:
      return OpKind::kLinearFp8Decode;
    case DryOp::kRope:
      return OpKind::kRope;
    case DryOp::kKvWrite:
      return OpKind::kKvWrite;
    case DryOp::kAttentionPrefill:
      return OpKind::kAttentionPrefill;
    case DryOp::kAttentionDecode:
      return OpKind::kAttentionDecode;
    case DryOp::kAttentionMassPrefill:
      return OpKind::kAttentionMassPrefill;
    case DryOp::kAttentionMassDecode:
      return OpKind::kAttentionMassDecode;
    case DryOp::kAttentionHistoryPrefill:
      return OpKind::kAttentionHistoryPrefill;
    case DryOp::kAttentionHistoryDecode:
      return OpKind::kAttentionHistoryDecode;
    case DryOp::kActivation:
      return OpKind::kActivation;
    case DryOp::kAdd:
      return OpKind::kAdd;
    case DryOp::kGather:
      return OpKind::kGather;
    case DryOp::kAllReduce:
      return OpKind::kAllReduce;
    case DryOp::kAllGather:
      return OpKind::kAllGather;
    case DryOp::kSend:
      return OpKind::kSend;
    case DryOp::kSample:
      return OpKind::kSample;
    case DryOp::kSampleBeams:
      return OpKind::kSampleBeams;
  }
  VRAMPLAN_CHECK(false);
}

DryCost cost_by(const DeviceCard& card) {
  return [card](const DryWork& work) {
    OpWork op;
    op.op = op_kind(work.op);
    op.dtype = work.dtype;
    op.compute = work.compute;
    op.calls = work.calls;
    op.bytes = work.bytes;
    op.flops = work.flops;
    op.ranks = work.ranks;
    return op_seconds(card, op) + between_seconds(card, is_of_ops(op.op) ? op.calls : 0);
  };
}

}  // namespace

DryBackend::DryBackend(const DeviceCard& card, int threads, DType linear_inputs, Bytes capacity,
                       bool timed)
    : ops_(card.kind, threads, linear_inputs, clock_, timed ? cost_by(card) : DryCost{}),
      device_(make_dry_tier(TierKind::kDevice, capacity)),
      host_(make_dry_tier(TierKind::kHost, Bytes{card.host_capacity_bytes.value})) {
  if (timed) card_ = card;
}

void DryBackend::price(KvStream& stream) {
  if (!card_) return;
  const KvPlacement placement = stream.placement();
  stream.run_on(clock_, far_link(*card_, placement), far_speeds(*card_, placement));
}

void DryBackend::price(WeightStream& stream) {
  if (!card_) return;
  stream.run_on(clock_, far_link(*card_, KvPlacement::kHost),
                far_speeds(*card_, KvPlacement::kHost));
}

void DryBackend::price(HiddenStates& states) {
  if (card_) states.run_on(clock_, far_link(*card_, KvPlacement::kHost));
}

void DryBackend::swap(void*, const void*, Bytes size, HostCopy) {
  if (!card_) return;
  const Link link = far_link(*card_, KvPlacement::kHost);
  clock_.advance({link.latency_s.value + static_cast<double>(size.n) / link.bytes_per_s.value});
}

void DryBackend::stand_for(const GpuFacts& gpu, DType activations, bool captures) {
  gpu_ = gpu;
  activations_ = activations;
  captures_ = captures;
}

std::int64_t DryBackend::step_rows(std::int64_t rows) const {
  return gpu_ && captures_ ? captured_rows(rows, most_rows_) : rows;
}

TensorView DryBackend::run_pass(const PassInput& pass, Arena& activations,
                                const ForwardPass& forward) {
  const std::int64_t before = ops_.counts().calls;
  const TensorView logits = forward(pass);
  const auto rows = static_cast<std::int64_t>(pass.ids.size());
  if (gpu_ && captures_ && pass.decode && ++steps_[{&activations, rows}] == 2) {
    captured_calls_.push_back(ops_.counts().calls - before);
  }
  return logits;
}

void DryBackend::bind(GpuWorkspace* workspace) {
  most_rows_ = workspace == nullptr ? 0 : workspace->shape().slices;
  ops_.use_gpu_rules(
      {gpu_->multiprocessors, activations_, workspace == nullptr ? 0 : workspace->most_context()});
}

Tier& DryBackend::tier(TierKind kind) {
  if (kind == TierKind::kDisk)
    throw Error(ErrorCode::kUnsupported, "a disk tier on the dry backend");
  return kind == TierKind::kDevice ? *device_ : *host_;
}

std::unique_ptr<Backend> make_dry_backend(const DeviceCard& card, const Decisions& decisions) {
  return std::make_unique<DryBackend>(card, decisions.threads, decisions.linear_inputs,
                                      decisions.capacity, true);
}

void DryCommunicator::all_reduce(TensorView x) {
  const double bytes = 2.0 * (size_ - 1) / size_ * static_cast<double>(x.bytes().n);
  moved_ += Bytes{static_cast<std::int64_t>(bytes)};
  ops_.count({DryOp::kAllReduce, x.dtype, x.dtype, bytes, 0, size_});
}

void DryCommunicator::all_gather(TensorView out, TensorView x) {
  VRAMPLAN_CHECK(out.rows == x.rows && out.columns == x.columns * size_);
  const Bytes bytes = x.bytes() * (size_ - 1);
  moved_ += bytes;
  ops_.count({DryOp::kAllGather, x.dtype, x.dtype, static_cast<double>(bytes.n), 0, size_});
}

void DryCommunicator::send(TensorView x, int to) {
  VRAMPLAN_CHECK(to >= 0 && to < size_ && to != rank_);
  moved_ += x.bytes();
  ops_.count({DryOp::kSend, x.dtype, x.dtype, static_cast<double>(x.bytes().n), 0, 2});
}

void DryCommunicator::receive(TensorView, int from) {
  VRAMPLAN_CHECK(from >= 0 && from < size_ && from != rank_);
}

}  // namespace vramplan
