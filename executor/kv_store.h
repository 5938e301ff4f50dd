#pragma once
// KvStore: the KV cache of one rank: its groups of layers, a pool of blocks for each, and where the
// K and V of a layer lie inside a block. A block holds, for every layer of its group, K [kv_heads,
// block_tokens, head_dim] and then V [kv_heads, block_tokens, value_dim].
#include <memory>
#include <optional>
#include <utility>
#include <vector>

#include "executor/block_pool.h"
#include "executor/kv_stream.h"
#include "executor/model_part.h"
#include "kernels/ops.h"

namespace vramplan {

/// Layers of a rank that keep the same tokens of every sequence, in one tier.
struct KvGroup {
  KvKeep keep;
  TierKind tier = TierKind::kDevice;
  TokensPerBlock block;
  std::vector<std::int64_t> layers;  // counted from the rank's first layer
  /// Over the group's layers that stay on the device: block_tokens * kv_heads * (row bytes of K +
  /// row bytes of V).
  Bytes block_bytes;
  /// Of them, by format.
  std::vector<std::pair<KvFormat, Bytes>> formats;

  void add(KvFormat format, Bytes bytes);
};
/// The group that keeps every token first, the others by growing window. Layers behind a residual
/// window come after them: their history, and last the window of the same layers, in f16.
std::vector<KvGroup> kv_groups(const ModelCard& card, const ModelPart& part,
                               const Decisions& decisions);

/// The layers whose cache lives beyond the device, all in one group; nothing when there are none.
/// `blocks`: of the group's pool.
std::optional<KvStreamShape> kv_stream_shape(const ModelCard& card, const ModelPart& part,
                                             const Decisions& decisions,
                                             const std::vector<Blocks>& blocks);

class KvStore {
 public:
  /// `blocks`: of each group; `stream`: of the layers beyond the device, or null. Errors:
  /// kOutOfPlan when a pool does not fit its tier.
  KvStore(Tier& device, const ModelCard& card, const ModelPart& part, const Decisions& decisions,
          const std::vector<Blocks>& blocks, const KvStream* stream = nullptr);

  const std::vector<KvGroup>& groups() const { return groups_; }
  BlockPool& pool(std::size_t group) { return *pools_[group]; }
  const BlockPool& pool(std::size_t group) const { return *pools_[group]; }
  /// `layer` counts from the rank's first layer.
  const KvLayerView& layer(std::int64_t layer) const {
    return layers_[static_cast<std::size_t>(layer)];
  }
  /// Where the newest tokens of a layer with a residual window lie, else null: `layer` is the
  /// history.
  const KvLayerView* recent(std::int64_t layer) const {
    if (recent_.empty()) return nullptr;
    const KvLayerView& view = recent_[static_cast<std::size_t>(layer)];
    return view.block_tokens == 0 ? nullptr : &view;
  }
  /// Whether rows of the cache are told apart by format.
  bool names_formats() const { return names_formats_; }
  /// Place among the layers beyond the device, or -1.
  std::int64_t far_of(std::int64_t layer) const { return far_of_[static_cast<std::size_t>(layer)]; }
  std::size_t group_of(std::int64_t layer) const {
    return group_of_[static_cast<std::size_t>(layer)];
  }
  /// Blocks of sequences that wait, on the host; null without preemption by swap. Set once.
  BlockPool* swap_pool() const { return swap_pool_.get(); }
  void set_swap_pool(std::unique_ptr<BlockPool> pool) { swap_pool_ = std::move(pool); }
  Bytes held_bytes() const;  // of the blocks held now
  Bytes pool_bytes() const;  // of all blocks

 private:
  std::vector<KvGroup> groups_;
  std::vector<std::unique_ptr<BlockPool>> pools_;
  std::unique_ptr<BlockPool> swap_pool_;
  std::vector<KvLayerView> layers_, recent_;
  std::vector<std::size_t> group_of_;
  std::vector<std::int64_t> far_of_;
  bool names_formats_;
};

}  // namespace vramplan
