#pragma once
// Small cards and backends for the executor's tests.
#include <memory>

#include "executor/backend.h"
#include "modelcards/model_source.h"
#include "planner/decisions.h"
#include "tests/executor/reference_ops.h"

namespace vramplan {

inline ModelCard tiny_card(int layers = 2) {
  ModelCard card;
  card.name = "tiny";
  card.family = "llama";
  card.hidden = 24;
  card.vocab = 40;
  card.context_limit = 256;
  card.stored_weights = DType::kF32;
  Layer layer;
  layer.mixer.heads = 4;
  layer.mixer.kv_heads = 2;
  layer.mixer.head_dim = layer.mixer.value_dim = 8;
  layer.mixer.rope.rotary_dim = 8;
  layer.feed_forward.intermediate = 36;
  card.layers.assign(static_cast<std::size_t>(layers), layer);
  return card;
}

inline ModelSource source_of(ModelCard card) {
  ModelSource source;
  source.card = std::move(card);
  return source;
}

/// One device with plenty of room; prompt of context - output tokens.
inline Decisions tiny_decisions(const ModelCard& card, std::int64_t context, std::int64_t output,
                                std::int64_t batch = 1) {
  Decisions d;
  d.model = card.name;
  d.card_hash = card_hash(card);
  d.kv_format = KvFormat::kF32;
  d.block = TokensPerBlock{4};
  d.context = Tokens{context};
  d.output = Tokens{output};
  d.batch = batch;
  d.prefill_chunk = Tokens{context};
  d.kv_blocks = blocks_for(d.context, d.block) * batch;
  d.seed = 7;
  d.capacity = Bytes{std::int64_t{1} << 40};
  return d;
}

class ReferenceBackend final : public Backend {
 public:
  explicit ReferenceBackend(Bytes capacity = Bytes{std::int64_t{1} << 40})
      : device_(make_host_tier(TierKind::kDevice, capacity)) {}
  const char* name() const override { return "reference"; }
  Ops& ops() override { return ops_; }
  Tier& tier(TierKind) override { return *device_; }
  Clock& clock() override { return clock_; }
  void synchronize() override {}
  bool computes() const override { return true; }

 private:
  ReferenceOps ops_;
  SteadyClock clock_;
  std::unique_ptr<Tier> device_;
};

}  // namespace vramplan
