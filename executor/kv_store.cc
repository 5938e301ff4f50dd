#include "executor/kv_store.h"

#include <algorithm>

#include "planner/kv_mix.h"

namespace vramplan {
namespace {

/// A layer's part of a block that begins at 0; its last byte is value_offset + the bytes of V.
KvLayerView layer_view(const Layer& layer, const ModelPart& part, const KvEncoding& encoding,
                       TokensPerBlock block) {
  KvLayerView view;
  view.dtype = dtype_of(encoding.format);
  view.block_tokens = block.n;
  view.kv_heads = layer_part(layer, part.tp).kv_heads;
  view.head_dim = layer.mixer.head_dim;
  view.value_dim = layer.mixer.value_dim;
  view.full_heads = encoding.full_heads.bits;
  const std::int64_t others = view.kv_heads - view.full_count();
  const std::int64_t rows = detail::checked_mul(others, view.block_tokens);
  view.value_offset = (kv_row_bytes(view.dtype, view.head_dim) * rows).n;
  view.full_offset = view.value_offset + (kv_row_bytes(view.dtype, view.value_dim) * rows).n;
  return view;
}

KvEncoding encoding_of(const Decisions& decisions, const ModelPart& part, std::int64_t layer) {
  return kv_encoding(decisions, part.layers.begin + layer);
}

const Layer& layer_of(const ModelCard& card, const ModelPart& part, std::int64_t layer) {
  return card.layers[static_cast<std::size_t>(part.layers.begin + layer)];
}

}  // namespace

void KvGroup::add(KvFormat format, Bytes bytes) {
  for (auto& [known, sum] : formats) {
    if (known != format) continue;
    sum += bytes;
    return;
  }
  formats.emplace_back(format, bytes);
}

std::vector<KvGroup> kv_groups(const ModelCard& card, const ModelPart& part,
                               const Decisions& decisions) {
  std::vector<KvGroup> groups;
  for (std::int64_t i = 0; i < part.layers.end - part.layers.begin; ++i) {
    const Layer& layer = layer_of(card, part, i);
    const KvEncoding encoding = encoding_of(decisions, part, i);
    const KvKeep keep = keep_of(decisions, layer.mixer.window_tokens, encoding.format);
    auto group = std::find_if(groups.begin(), groups.end(),
                              [&](const KvGroup& g) { return g.keep == keep; });
    if (group == groups.end()) {
      groups.push_back({keep, TierKind::kDevice, decisions.block, {}, {}, {}});
      group = groups.end() - 1;
    }
    group->layers.push_back(i);
    if (is_offloaded(decisions, i, part.layers.end - part.layers.begin)) continue;
    const Bytes bytes = kv_part_bytes(layer_view(layer, part, encoding, decisions.block));
    group->block_bytes += bytes;
    group->add(encoding.format, bytes);
  }
  std::sort(groups.begin(), groups.end(), [](const KvGroup& a, const KvGroup& b) {
    return std::pair(a.keep.history, a.keep.window) < std::pair(b.keep.history, b.keep.window);
  });
  if (groups.empty() || !groups.back().keep.history) return groups;
  VRAMPLAN_CHECK(groups.size() <= 2 && groups.front().keep.all() && groups.back().keep.all());
  KvGroup recent{decisions.kv_residual.keep(),
                 TierKind::kDevice,
                 kResidualBlock,
                 groups.back().layers,
                 {},
                 {}};
  for (const std::int64_t i : recent.layers) {
    recent.block_bytes +=
        kv_part_bytes(layer_view(layer_of(card, part, i), part, KvFormat::kF16, kResidualBlock));
  }
  groups.push_back(std::move(recent));
  return groups;
}

std::optional<KvStreamShape> kv_stream_shape(const ModelCard& card, const ModelPart& part,
                                             const Decisions& decisions,
                                             const std::vector<Blocks>& blocks) {
  if (decisions.kv_placement == KvPlacement::kDevice) return {};
  const auto refuse = [](const char* what) {
    throw Error(ErrorCode::kUnsupported,
                std::string("a KV cache beyond the device for a model whose layers ") + what)
        .at("", "--kv-placement")
        .help("keep the cache on the device, or every token with --kv-policy keep_all");
  };
  const std::vector<KvGroup> groups = kv_groups(card, part, decisions);
  const bool one = groups.size() == 1 || (groups.size() == 2 && groups.back().keep.recent);
  if (!one) refuse("keep different tokens");
  VRAMPLAN_CHECK(decisions.samples == 1 && decisions.kv_layout == KvLayout::kPaged);
  KvStreamShape shape;
  const std::int64_t layers = part.layers.end - part.layers.begin;
  for (std::int64_t i = 0; i < layers; ++i) {
    const Bytes bytes = kv_part_bytes(layer_view(layer_of(card, part, i), part,
                                                 encoding_of(decisions, part, i), decisions.block));
    if (i > 0 && bytes != shape.part) refuse("have caches of different sizes");
    shape.part = bytes;
    if (is_offloaded(decisions, i, layers)) ++shape.layers;
  }
  if (shape.layers == 0) return {};
  shape.placement = decisions.kv_placement;
  shape.staging = std::min(decisions.kv_offload.staging, shape.layers);
  shape.blocks = blocks.front();
  shape.block = decisions.block;
  shape.identity = decisions.card_hash;
  return shape;
}

KvStore::KvStore(Tier& device, const ModelCard& card, const ModelPart& part,
                 const Decisions& decisions, const std::vector<Blocks>& blocks,
                 const KvStream* stream)
    : groups_(kv_groups(card, part, decisions)),
      names_formats_(vramplan::names_formats(decisions)) {
  VRAMPLAN_CHECK(blocks.size() == groups_.size());
  const auto layer_count = static_cast<std::size_t>(part.layers.end - part.layers.begin);
  layers_.resize(layer_count);
  group_of_.resize(layer_count);
  far_of_.assign(layer_count, -1);
  std::int64_t far = 0;
  for (std::size_t g = 0; g < groups_.size(); ++g) {
    const KvGroup& group = groups_[g];
    VRAMPLAN_CHECK(group.tier == device.kind());
    pools_.push_back(std::make_unique<BlockPool>(device, blocks[g], group.block_bytes));
    const BlockPool& pool = *pools_.back();
    Bytes offset;
    for (const std::int64_t layer : group.layers) {
      const KvEncoding encoding =
          group.keep.recent ? KvEncoding{} : encoding_of(decisions, part, layer);
      KvLayerView view = layer_view(layer_of(card, part, layer), part, encoding, group.block);
      view.block_count = pool.total().n;
      const bool beyond = is_offloaded(decisions, layer, static_cast<std::int64_t>(layer_count));
      if (beyond && !group.keep.recent) {
        VRAMPLAN_CHECK(stream != nullptr);
        view.base = stream->staged(far);
        view.block_stride = stream->stride().n;
        far_of_[static_cast<std::size_t>(layer)] = far++;
      } else {
        view.base = pool.base() + offset.n;
        view.block_stride = group.block_bytes.n;
        offset += kv_part_bytes(view);
      }
      if (group.keep.recent) {
        recent_.resize(layer_count);
        recent_[static_cast<std::size_t>(layer)] = view;
        continue;
      }
      layers_[static_cast<std::size_t>(layer)] = view;
      group_of_[static_cast<std::size_t>(layer)] = g;
    }
    VRAMPLAN_CHECK(offset == group.block_bytes);
  }
}

Bytes KvStore::held_bytes() const {
  Bytes sum;
  for (const auto& pool : pools_) sum += pool->block_bytes() * pool->held().n;
  return sum;
}

Bytes KvStore::pool_bytes() const {
  Bytes sum;
  for (const auto& pool : pools_) sum += pool->block_bytes() * pool->total().n;
  return sum;
}

}  // namespace vramplan
