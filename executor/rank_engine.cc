#include "executor/rank_engine.h"

namespace vramplan {
RankEngine::RankEngine(const Parts& parts, const Decisions& decisions, const ModelSource& source,
                       const ModelPart& part, const RegionSizes& sizes)
    : parts_(parts),
      decisions_(decisions),
      source_(source),
      part_(part),
      weights_arena_(parts.backend.tier(TierKind::kDevice), sizes.weights, "the weight region"),
      pool_(parts.backend.tier(TierKind::kDevice), sizes.blocks,
            KvStore::block_bytes(source.card, part, decisions.kv_format, decisions.block)),
      activations_(parts.backend.tier(TierKind::kDevice), sizes.activations,
                   "the activation region"),
      kv_(pool_, source.card, part, decisions.kv_format, decisions.block) {}

void RankEngine::load(const LoadOptions& options) {
  VRAMPLAN_CHECK(!transformer_.has_value());
  Ops& ops = parts_.backend.ops();
  loaded_ = load_weights(source_, decisions_, part_, weights_arena_, ops, options);
  parts_.backend.synchronize();
  const TransformerParts parts{ops, activations_,        loaded_.weights,
                               kv_, parts_.tensor_group, parts_.stages};
  transformer_.emplace(source_.card, part_, decisions_.activations, decisions_.attention, parts);
}

TensorView RankEngine::forward(const Pass& pass) {
  VRAMPLAN_CHECK(transformer_.has_value());
  TensorView logits = transformer_->forward(pass.input());
  parts_.backend.synchronize();
  return logits;
}

Bytes RankEngine::taken() const {
  return weights_arena_.live() + pool_.block_bytes() * pool_.held().n + activations_.live();
}

}  // namespace vramplan
