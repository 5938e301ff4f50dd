#pragma once
// TwoCaches: a residual window in f16 and the history behind it, of one sequence, with blocks in no
// order, and what they hold as f32.
#include <algorithm>
#include <cmath>
#include <numeric>
#include <random>
#include <vector>

#include "kernels/cpu/kv_cache.h"
#include "kernels/cpu/packed_tile.h"
#include "random_tensors.h"

namespace vramplan {

inline int packed_bits_of(DType dtype) { return cpu::packed_bits(dtype); }

struct TwoCaches {
  struct Shape {
    DType dtype = DType::kKivi2;
    std::int64_t kv_heads = 2, head_dim = 64, value_dim = 64, block_tokens = 32, stride = 1;
    std::uint64_t full_heads = 0;  // of packed histories: stay in f16
  };
  static constexpr std::int64_t kBlocks = 64;

  explicit TwoCaches(const Shape& shape) : s(shape) {
    recent = part(DType::kF16, kResidualBlockTokens, recent_bytes);
    history = part(s.dtype, s.block_tokens, history_bytes);
    std::vector<std::int32_t> order(kBlocks);
    std::iota(order.begin(), order.end(), 0);
    std::shuffle(order.begin(), order.end(), std::mt19937(3));
    recent_table = order;
    std::shuffle(order.begin(), order.end(), std::mt19937(4));
    history_table = order;
  }

  /// `count` more tokens at the end of the window.
  void append(Ops& ops, std::vector<float>& k, std::vector<float>& v, std::int64_t count) {
    std::vector<std::int64_t> slots;
    for (std::int64_t i = 0; i < count; ++i, ++cached) {
      const std::int64_t at = cached - packed;
      slots.push_back(recent_table[static_cast<std::size_t>(at / 32)] * 32LL + at % 32);
    }
    ops.kv_write(recent, view(k, count, s.kv_heads * s.head_dim),
                 view(v, count, s.kv_heads * s.value_dim), slots);
  }

  /// Whole blocks of the window go to the history.
  void pack_all(Ops& ops) {
    std::vector<KvPack> packs;
    for (; cached - packed >= 32; packed += 32) {
      const std::int64_t row = packed / s.stride;
      packs.push_back(
          {recent_table.front(),
           history_table[static_cast<std::size_t>(row / s.block_tokens)] * s.block_tokens +
               row % s.block_tokens});
      std::rotate(recent_table.begin(), recent_table.begin() + 1, recent_table.end());
    }
    ops.kv_pack(history, recent, packs, s.stride);
  }

  /// The last `queries` tokens ask; q, out [queries, heads * dim].
  void attend(Ops& ops, std::vector<float>& q, std::vector<float>& out, std::int64_t queries,
              std::int64_t heads, float softcap = 0.0F) const {
    const SequenceSlice slice{0, queries, cached - packed, recent_table.data()};
    const SequenceSlice behind{0, 0, packed / s.stride, history_table.data()};
    AttentionParams params;
    params.heads = heads;
    params.scale = 1.0F / std::sqrt(static_cast<float>(s.head_dim));
    params.softcap = softcap;
    params.history = &history;
    params.history_slices = std::span(&behind, 1);
    const Bytes scratch = ops.attention_workspace(std::span(&slice, 1), recent, params);
    std::vector<float> workspace(static_cast<std::size_t>(scratch.n / 4) + 1, NAN);
    ops.attention(view(out, queries, heads * s.value_dim), view(q, queries, heads * s.head_dim),
                  recent, std::span(&slice, 1), params,
                  {workspace.data(), DType::kF32, 1, scratch.n / 4});
  }

  /// What token `at` (of history rows, then of the window) has as key or value element.
  double key(std::int64_t row, std::int64_t head, std::int64_t d) const {
    return element(row, head, d, true);
  }
  double value(std::int64_t row, std::int64_t head, std::int64_t d) const {
    return element(row, head, d, false);
  }
  std::int64_t history_rows() const { return packed / s.stride; }
  std::int64_t rows() const { return history_rows() + cached - packed; }

  Shape s;
  KvLayerView recent, history;
  std::vector<std::byte> recent_bytes, history_bytes;
  std::vector<std::int32_t> recent_table, history_table;
  std::int64_t cached = 0, packed = 0;

 private:
  KvLayerView part(DType dtype, std::int64_t block_tokens, std::vector<std::byte>& bytes) const {
    KvLayerView kv;
    kv.dtype = dtype;
    kv.block_count = kBlocks;
    kv.block_tokens = block_tokens;
    kv.kv_heads = s.kv_heads;
    kv.head_dim = s.head_dim;
    kv.value_dim = s.value_dim;
    if (cpu::packed_bits(dtype) > 0) kv.full_heads = s.full_heads;
    const std::int64_t rows = (s.kv_heads - kv.full_count()) * block_tokens;
    kv.value_offset = rows * kv_row_bytes(dtype, s.head_dim).n;
    kv.full_offset = kv.value_offset + rows * kv_row_bytes(dtype, s.value_dim).n;
    kv.block_stride = kv_part_bytes(kv).n + 128;
    bytes.assign(static_cast<std::size_t>(kv.block_stride * kBlocks), std::byte{0xff});
    kv.base = bytes.data();
    return kv;
  }

  double element(std::int64_t row, std::int64_t head, std::int64_t d, bool is_key) const {
    const bool old = row < history_rows();
    const KvLayerView kv = view_of_head(old ? history : recent, head);
    const std::int64_t at = old ? row : row - history_rows();
    const std::int64_t block =
        (old ? history_table : recent_table)[static_cast<std::size_t>(at / kv.block_tokens)];
    const std::int64_t offset = at % kv.block_tokens, lane = offset % 32;
    if (old && cpu::packed_bits(kv.dtype) > 0) {
      const std::int64_t first = offset - lane;
      return static_cast<double>(
          is_key
              ? cpu::tile_element(cpu::key_tile(kv, block, head, first), d, lane)
              : cpu::tile_element(cpu::value_tile(kv, block, head, first, d / 32), lane, d % 32));
    }
    const std::byte* from =
        is_key ? cpu::key_row(kv, block, head, offset) : cpu::value_row(kv, block, head, offset);
    return static_cast<double>(
        cpu::kv_element(kv.dtype, from, is_key ? s.head_dim : s.value_dim, d));
  }
};

}  // namespace vramplan
