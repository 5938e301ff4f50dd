#include "executor/calibrate_history.h"

#include <algorithm>
#include <numeric>
#include <span>

#include "planner/decisions.h"

namespace vramplan {
namespace {

std::int64_t part_bytes(const KvLayerView& kv) {
  return kv.value_offset + kv.kv_heads * kv.block_tokens * kv_row_bytes(kv.dtype, kv.value_dim).n;
}

KvLayerView view_of(const AttentionShape& shape, DType dtype, std::int64_t tokens) {
  KvLayerView kv;
  kv.dtype = dtype;
  kv.block_tokens = kResidualBlockTokens;
  kv.block_count = std::max<std::int64_t>(1, ceil_div(tokens, kv.block_tokens));
  kv.kv_heads = shape.kv_heads;
  kv.head_dim = shape.head_dim;
  kv.value_dim = shape.value_dim;
  kv.value_offset = kv.kv_heads * kv.block_tokens * kv_row_bytes(dtype, kv.head_dim).n;
  return kv;
}

}  // namespace

AttentionShape attention_shape(const std::int64_t (&heads)[3], DType kv) {
  AttentionShape shape;
  shape.heads = heads[0];
  shape.kv_heads = heads[1];
  shape.head_dim = shape.value_dim = heads[2];
  shape.kv = kv;
  shape.activation = DType::kF32;
  return shape;
}

TimedHistory::TimedHistory(std::byte* memory, std::int64_t bytes, const AttentionShape& shape,
                           std::int64_t queries, std::int64_t kv_length)
    : shape_(shape), queries_(queries), kv_length_(kv_length) {
  const std::int64_t packed = packed_tokens(Tokens{kv_length}, Tokens{shape.residual_tokens}).n;
  const std::int64_t kept = packed / shape.history_stride;
  history_ = view_of(shape, shape.kv, kept);
  recent_ = view_of(shape, DType::kF16, kv_length - packed);
  const std::int64_t old_bytes = part_bytes(history_) * history_.block_count;
  layers_ = bytes / (old_bytes + part_bytes(recent_) * recent_.block_count);
  history_.base = memory;
  history_.block_stride = layers_ * part_bytes(history_);
  recent_.base = memory + layers_ * old_bytes;
  recent_.block_stride = layers_ * part_bytes(recent_);
  table_.resize(static_cast<std::size_t>(std::max(history_.block_count, recent_.block_count)));
  std::iota(table_.begin(), table_.end(), 0);
  slice_ = {0, queries, kv_length - packed, table_.data()};
  behind_ = {0, 0, kept, table_.data()};
  params_.heads = shape.heads;
  params_.scale = 0.125F;
  params_.history = &history_;
  params_.history_slices = std::span(&behind_, 1);
}

KvLayerView TimedHistory::layer(const KvLayerView& of, std::int64_t i) const {
  KvLayerView out = of;
  out.base += i % layers_ * part_bytes(of);
  return out;
}

Bytes TimedHistory::workspace(const Ops& ops) const {
  return ops.attention_workspace(std::span(&slice_, 1), recent_, params_);
}

void TimedHistory::attend(Ops& ops, std::int64_t i, TensorView out, TensorView q,
                          TensorView workspace) {
  const KvLayerView old = layer(history_, i);
  AttentionParams params = params_;
  params.history = &old;
  ops.attention(out, q, layer(recent_, i), std::span(&slice_, 1), params, workspace);
}

OpWork TimedHistory::pack_work() const {
  return kv_pack_work(1, shape_.kv_heads * (shape_.head_dim + shape_.value_dim),
                      2 * shape_.kv_heads, shape_.kv, shape_.history_stride);
}

void TimedHistory::pack(Ops& ops, std::int64_t i) const {
  const std::int64_t blocks = history_.block_count;
  const KvPack pack{0, i % blocks * history_.block_tokens};
  ops.kv_pack(layer(history_, i), layer(recent_, i), std::span(&pack, 1), shape_.history_stride);
}

}  // namespace vramplan
