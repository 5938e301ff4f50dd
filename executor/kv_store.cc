#include "executor/kv_store.h"

namespace vramplan {
namespace {

/// The views of all layers relative to `base`; returns the bytes of a block.
Bytes lay_out(const ModelCard& card, const ModelPart& part, DType dtype, TokensPerBlock block,
              std::vector<KvLayerView>& layers) {
  std::int64_t offset = 0;
  for (std::int64_t i = part.layers.begin; i < part.layers.end; ++i) {
    const Layer& layer = card.layers[static_cast<std::size_t>(i)];
    const LayerPart widths = layer_part(layer, part.tp);
    KvLayerView view;
    view.dtype = dtype;
    view.block_tokens = block.n;
    view.kv_heads = widths.kv_heads;
    view.head_dim = layer.mixer.head_dim;
    view.value_dim = layer.mixer.value_dim;
    const auto part_bytes = [&](std::int64_t width) {
      return (kv_row_bytes(dtype, width) * detail::checked_mul(widths.kv_heads, block.n)).n;
    };
    view.value_offset = part_bytes(view.head_dim);
    view.block_stride = offset;  // of the layer inside the block, until the stride is known
    offset = detail::checked_add(offset, view.value_offset);
    offset = detail::checked_add(offset, part_bytes(view.value_dim));
    layers.push_back(view);
  }
  return {offset};
}

}  // namespace

KvStore::KvStore(const BlockPool& pool, const ModelCard& card, const ModelPart& part,
                 KvFormat format, TokensPerBlock block) {
  const Bytes stride = lay_out(card, part, dtype_of(format), block, layers_);
  VRAMPLAN_CHECK(stride == pool.block_bytes());
  for (KvLayerView& view : layers_) {
    view.base = pool.base() + view.block_stride;
    view.block_stride = stride.n;
    view.block_count = pool.total().n;
  }
}

Bytes KvStore::block_bytes(const ModelCard& card, const ModelPart& part, KvFormat format,
                           TokensPerBlock block) {
  std::vector<KvLayerView> layers;
  return lay_out(card, part, dtype_of(format), block, layers);
}

}  // namespace vramplan
