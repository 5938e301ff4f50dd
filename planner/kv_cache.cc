#include "planner/kv_cache.h"

#include <algorithm>

namespace vramplan {

BytesPerToken kv_bytes_per_token(const LayerShape& shape, KvFormat format) {
  return {bytes_of(dtype_of(format), 1, detail::checked_add(shape.k, shape.v)).n};
}

BytesPerToken kv_bytes_per_token(const RankModel& model, KvFormat format) {
  BytesPerToken sum;
  for (const LayerKind& kind : model.kinds) {
    sum = sum + kv_bytes_per_token(kind.shape, format) * kind.count;
  }
  return sum;
}

BytesPerToken kv_bytes_per_token(const ModelCard& card, KvFormat format) {
  refuse_unsupported(card);
  BytesPerToken sum;
  for (const Layer& layer : card.layers) {
    sum = sum + kv_bytes_per_token(layer_shape(layer, 1), format);
  }
  return sum;
}

Bytes kv_block_bytes(const RankModel& model, KvFormat format, TokensPerBlock block) {
  return kv_bytes_per_token(model, format) * Tokens{block.n};
}

Blocks kv_blocks(std::int64_t batch, Tokens context, TokensPerBlock block) {
  return blocks_for(context, block) * batch;
}

Tokens windowed_tokens(const Mixer& mixer, Tokens context, Tokens chunk) {
  if (mixer.window_tokens <= 0) return context;
  return std::min(Tokens{mixer.window_tokens} - Tokens{1} + chunk, context);
}

Bytes window_saving(const RankModel& model, const Decisions& decisions) {
  Bytes saving;
  for (const LayerKind& kind : model.kinds) {
    const Tokens kept =
        windowed_tokens(kind.layer.mixer, decisions.context, decisions.prefill_chunk);
    const Blocks all = kv_blocks(decisions.batch, decisions.context, decisions.block);
    const Blocks needed = kv_blocks(decisions.batch, kept, decisions.block);
    const Tokens freed = Tokens{decisions.block.n} * (all - needed).n;
    saving += kv_bytes_per_token(kind.shape, decisions.kv_format) * kind.count * freed;
  }
  return saving;
}

}  // namespace vramplan
