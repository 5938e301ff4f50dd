#pragma once
// Small cards and backends for the executor's tests.
#include <memory>
#include <utility>
#include <vector>

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

/// Architectures whose parts the transformer has a branch for.
inline std::vector<std::pair<const char*, ModelCard>> tiny_families() {
  std::vector<std::pair<const char*, ModelCard>> cards{{"llama", tiny_card()}};
  const auto add = [&](const char* name, auto change) {
    ModelCard card = tiny_card();
    change(card);
    cards.emplace_back(name, card);
  };
  const auto each = [](ModelCard& card, auto change) {
    for (Layer& layer : card.layers) change(layer);
  };
  add("gpt2", [&](ModelCard& c) {
    c.norm = NormKind::kLayer;
    c.position = PositionKind::kLearned;
    c.learned_positions = 64;
    c.tied_head = true;
    each(c, [](Layer& l) {
      l.feed_forward.gated = false;
      l.feed_forward.activation = Activation::kGeluTanh;
      l.feed_forward.bias = l.mixer.qkv_bias = l.mixer.output_bias = true;
      l.mixer.kv_heads = 4;
    });
  });
  add("qwen3", [&](ModelCard& c) { each(c, [](Layer& l) { l.mixer.qk_norm = true; }); });
  add("gemma2", [&](ModelCard& c) {
    c.embedding_scale = 4.9;
    c.logit_softcap = 5;
    c.norm_one_plus = true;
    c.tied_head = true;
    each(c, [](Layer& l) {
      l.post_norms = true;
      l.mixer.score_softcap = 3;
      l.feed_forward.activation = Activation::kGeluTanh;
    });
    c.layers[0].mixer.kind = MixerKind::kSlidingWindow;
    c.layers[0].mixer.window_tokens = 5;
  });
  add("falcon", [&](ModelCard& c) {
    c.norm = NormKind::kLayer;
    each(c, [](Layer& l) {
      l.parallel = l.parallel_two_norms = true;
      l.feed_forward.gated = false;
    });
  });
  add("phi", [&](ModelCard& c) {
    c.head_bias = true;
    each(c, [](Layer& l) {
      l.parallel = true;
      l.mixer.rope.rotary_dim = 4;
      l.mixer.rope.interleaved = true;
    });
  });
  add("olmo2", [&](ModelCard& c) {
    each(c, [](Layer& l) {
      l.pre_norms = false;
      l.post_norms = true;
    });
  });
  add("wide values", [&](ModelCard& c) { each(c, [](Layer& l) { l.mixer.value_dim = 6; }); });
  return cards;
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
