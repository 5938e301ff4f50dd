// kv_pack: blocks of the residual window on their way into the history, in its format.
#include "kernels/cpu/cpu_ops.h"
#include "kernels/cpu/kv_cache.h"
#include "kernels/cpu/kv_tile.h"
#include "kernels/cpu/packed_tile.h"

namespace vramplan::cpu {
namespace {

constexpr std::int64_t kTokens = kResidualBlockTokens;
static_assert(kTokens == kTileLanes, "a block of the residual window fills a tile");

/// The 32 rows of a block of the residual window as f32 [32, dim].
void widen_block(const KvLayerView& recent, KvPart part, std::int32_t block, std::int64_t head,
                 float* to) {
  widen_rows(recent, part, &block, head, 0, kTokens, to);
}

struct Place {
  std::int64_t block, offset;
};

void pack_tiles(const KvLayerView& history, const KvLayerView& recent, std::int32_t from,
                std::int64_t head, Place to, float* scratch) {
  widen_block(recent, KvPart::kKey, from, head, scratch);
  const std::int64_t key_width = padded(history.head_dim), value_width = padded(history.value_dim);
  pack_tile({scratch, 1, key_width}, key_tile(history, to.block, head, to.offset));
  widen_block(recent, KvPart::kValue, from, head, scratch);
  for (std::int64_t part = 0; part < history.value_dim / kTileLanes; ++part) {
    pack_tile({scratch + part * kTileLanes, value_width, 1},
              value_tile(history, to.block, head, to.offset, part));
  }
}

void pack_rows(const KvLayerView& history, const KvLayerView& recent, std::int32_t from,
               std::int64_t head, Place to, std::int64_t stride, float* scratch) {
  const std::int64_t key_width = padded(history.head_dim), value_width = padded(history.value_dim);
  widen_block(recent, KvPart::kKey, from, head, scratch);
  for (std::int64_t i = 0; i < kTokens / stride; ++i) {
    store_kv_row(history.dtype, scratch + i * stride * key_width, history.head_dim,
                 key_row(history, to.block, head, to.offset + i));
  }
  widen_block(recent, KvPart::kValue, from, head, scratch);
  for (std::int64_t i = 0; i < kTokens / stride; ++i) {
    store_kv_row(history.dtype, scratch + i * stride * value_width, history.value_dim,
                 value_row(history, to.block, head, to.offset + i));
  }
}

}  // namespace

void CpuOps::kv_pack(const KvLayerView& history, const KvLayerView& recent,
                     std::span<const KvPack> packs, std::int64_t stride) {
  require_supported_history(history);
  const bool packed = packed_bits(history.dtype) > 0;
  VRAMPLAN_CHECK(recent.block_tokens == kTokens && recent.dtype == DType::kF16);
  VRAMPLAN_CHECK(stride >= 1 && kTokens % stride == 0 && (!packed || stride == 1));
  VRAMPLAN_CHECK(history.kv_heads == recent.kv_heads && history.head_dim == recent.head_dim &&
                 history.value_dim == recent.value_dim);
  VRAMPLAN_CHECK(4 * kTokens * std::max(padded(recent.head_dim), padded(recent.value_dim)) <=
                 kScratchBytes);
  for (const KvPack& pack : packs) {
    VRAMPLAN_CHECK(pack.recent_block >= 0 && pack.recent_block < recent.block_count);
    VRAMPLAN_CHECK(pack.first_slot >= 0 &&
                   pack.first_slot < history.block_count * history.block_tokens);
    VRAMPLAN_CHECK(pack.first_slot % history.block_tokens + kTokens / stride <=
                   history.block_tokens);
    VRAMPLAN_CHECK(!packed || pack.first_slot % kTileLanes == 0);
  }
  const auto items = static_cast<std::int64_t>(packs.size()) * history.kv_heads;
  pool_.parallel_for(items, 1, [&](std::int64_t first, std::int64_t last, int thread) {
    for (std::int64_t item = first; item < last; ++item) {
      const KvPack& pack = packs[static_cast<std::size_t>(item / history.kv_heads)];
      const std::int64_t head = item % history.kv_heads;
      const Place to{pack.first_slot / history.block_tokens,
                     pack.first_slot % history.block_tokens};
      const KvLayerView view = view_of_head(history, head);
      if (packed_bits(view.dtype) > 0)
        pack_tiles(view, recent, pack.recent_block, head, to, scratch(thread));
      else
        pack_rows(view, recent, pack.recent_block, head, to, stride, scratch(thread));
    }
  });
}

}  // namespace vramplan::cpu
