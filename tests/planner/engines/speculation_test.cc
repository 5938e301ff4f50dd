#include "planner/engines/speculation.h"

#include <gtest/gtest.h>

#include <cmath>

#include "modelcards/library.h"
#include "planner/engines/twin.h"
#include "tests/planner/cards.h"

namespace vramplan {
namespace {

DraftModel draft_of(const char* card, const char* method, std::int64_t tokens, int tp = 1) {
  ModelSource target;
  target.card = model_card(card);
  Speculation s;
  s.method = method;
  s.tokens = tokens;
  Decisions d;
  d.sharding.tp = tp;
  return *draft_model(target, nullptr, s, d, {});
}

EngineOutcome run(const char* card, const char* engine, const Speculation& s, int tp = 1,
                  const char* draft = nullptr) {
  ModelSource source;
  source.card = model_card(card);
  const DeviceCard device = device_card("h200-sxm-141gb");
  Decisions d;
  d.sharding.tp = d.device_count = tp;
  d.context = {8192};
  d.capacity = {device.capacity_bytes.value};
  EngineRequest request;
  request.id = parse_engine(engine);
  request.speculation = s;
  if (draft != nullptr) {
    ModelSource opened;
    opened.card = model_card(draft);
    request.draft = std::make_shared<const ModelSource>(opened);
  }
  return forecast_engine(source, device, d, request);
}

// EAGLE's own list of heads says 0.24, 0.99, 0.25 and 0.26 billion parameters: [h, 2 h], q, k, v,
// o, three matrices of the feed-forward and one norm.
TEST(Speculation, AnEagleHeadHasItsPublishedParameters) {
  EXPECT_EQ(draft_of("llama-2-7b", "eagle", 3).model.weights.n,
            2LL * (2LL * 4096 * 4096 + 4LL * 4096 * 4096 + 3LL * 4096 * 11008 + 4096));
  struct Published {
    const char* card;
    double billions;
  };
  for (const auto& [card, billions] :
       {Published{"llama-2-7b", 0.24}, Published{"llama-2-70b", 0.99},
        Published{"llama-3-8b", 0.25}, Published{"llama-3-70b", 0.99},
        Published{"qwen2.5-7b", 0.26}}) {
    const double parameters = static_cast<double>(draft_of(card, "eagle", 3).model.weights.n) / 2e9;
    EXPECT_NEAR(parameters, billions, 0.005) << card;
  }
}

// [h, 3 h], q, k, v of 2 h, o, the feed-forward, four norms, a head of 32,000 rows, and its map in
// 8 bytes a row: about the 850 MB of EAGLE3-LLaMA3.1-Instruct-8B.
TEST(Speculation, AnEagle3HeadReadsTwoVectorsAndHasItsOwnVocabulary) {
  const DraftModel draft = draft_of("llama-3.1-8b", "eagle3", 3);
  const std::int64_t matrices = 3LL * 4096 * 4096 + 2LL * 4096 * (4096 + 1024 + 1024) +
                                4096LL * 4096 + 3LL * 4096 * 14336 + 32000LL * 4096;
  EXPECT_EQ(draft.model.weights.n, 2 * (matrices + 4 * 4096) + 8 * 32000);
  EXPECT_NEAR(static_cast<double>(draft.model.weights.n), 850e6, 2e6);
  EXPECT_EQ(draft.model.kv_bytes_per_token().n, 2 * 2 * 8 * 128);
  EXPECT_TRUE(draft.chained);
}

// What lies beside the layer is on every rank; the layer and the head are split.
TEST(Speculation, RanksSplitTheLayerOfAHead) {
  const std::int64_t one = draft_of("llama-3.1-8b", "eagle3", 3, 1).model.weights.n;
  const std::int64_t four = draft_of("llama-3.1-8b", "eagle3", 3, 4).model.weights.n;
  const std::int64_t everywhere = 2 * (3LL * 4096 * 4096 + 4 * 4096) + 8 * 32000;
  EXPECT_EQ((one - everywhere) / 4, four - everywhere);
}

// Medusa's own vicuna-7b file of five heads holds 1.48 GB.
TEST(Speculation, AMedusaHeadIsASquareAndAVocabularyEach) {
  const DraftModel draft = draft_of("llama-2-7b", "medusa", 5);
  EXPECT_EQ(draft.model.weights.n, 5 * 2 * (4096LL * 4096 + 32000LL * 4096));
  EXPECT_NEAR(static_cast<double>(draft.model.weights.n), 1.48e9, 0.01e9);
  EXPECT_EQ(draft.model.kv_bytes_per_token().n, 0);
  EXPECT_FALSE(draft.chained);
}

// DeepSeek-V3's layer without its table and head: 11.6 billion, in bytes of 8-bit blocks.
TEST(Speculation, TheLayerOfMtpIsTheModelsLast) {
  const DraftModel draft = draft_of("deepseek-v3", "mtp", 1);
  EXPECT_NEAR(static_cast<double>(draft.model.weights.n), 11.6e9, 0.05e9);
  EXPECT_EQ(draft.model.kv_bytes_per_token().n, 576 * 2);
  EXPECT_EQ(draft.model.experts, 256);
}

TEST(Speculation, TokensOfAStepAreAGeometricSum) {
  EXPECT_DOUBLE_EQ(tokens_per_step(0, 5), 1);
  EXPECT_DOUBLE_EQ(tokens_per_step(1, 5), 6);
  EXPECT_DOUBLE_EQ(tokens_per_step(0.5, 2), 1.75);
  EXPECT_NEAR(tokens_per_step(0.8, 3), (1 - std::pow(0.8, 4)) / 0.2, 1e-12);
}

// Golden trap 5: 12 windowed and 12 whole layers, and one whole layer of the head, in vLLM's groups
// of 13 with one layer of padding.
TEST(Speculation, T05_AHeadsLayerChangesTheGroupsOfTheCache) {
  ModelSource target;
  target.card = model_card("gpt-oss-20b");
  Speculation s;
  s.method = "eagle3";
  s.tokens = 3;
  const Decisions d;
  EngineModel model = engine_model(target, d, {}, 0);
  EXPECT_EQ(kv_pool(model, {16}, {8192}, {8192}).group_layers, 12);
  add_draft(model, *draft_model(target, nullptr, s, d, {}));
  EXPECT_EQ(kv_pool(model, {16}, {8192}, {8192}).group_layers, 13);
}

TEST(Speculation, DraftsTakeFromTheCacheWhatTheyHold) {
  Speculation s;
  const EngineForecast plain = run("llama-3.1-8b", "vllm@0.19.0", s).devices.front();
  s.method = "eagle3";
  s.tokens = 3;
  const EngineForecast head = run("llama-3.1-8b", "vllm@0.19.0", s).devices.front();
  EXPECT_EQ(head.weights - plain.weights, head.draft);
  EXPECT_LT(head.kv, plain.kv - head.draft);  // the rejection sampler's rows, too
  EXPECT_LT(head.kv_tokens, plain.kv_tokens);
  s.method = "draft";
  const EngineForecast model = run("llama-3.1-70b", "sglang", s, 4, "llama-3.2-1b").devices.front();
  EXPECT_NEAR(static_cast<double>(model.draft.n), 2 * 1.24e9 / 4, 0.2e9);
  s.method = "ngram";
  EXPECT_EQ(run("llama-3.1-8b", "vllm@0.19.0", s).devices.front().draft.n, 0);
}

TEST(Speculation, WhatAnEngineHasNotIsRefusedByName) {
  const auto code = [](const char* card, const char* engine, Speculation s, int tp = 1) {
    try {
      run(card, engine, s, tp);
    } catch (const Error& error) {
      return error.code();
    }
    return ErrorCode::kInternal;
  };
  Speculation s;
  s.tokens = 3;
  s.method = "medusa";
  EXPECT_EQ(code("llama-3.1-8b", "sglang", s), ErrorCode::kUnsupported);
  s.method = "eagle3";
  EXPECT_EQ(code("llama-3.1-8b", "llamacpp", s), ErrorCode::kUnsupported);
  EXPECT_EQ(code("deepseek-v3", "vllm", s, 8), ErrorCode::kUnsupported);
  s.method = "mtp";
  EXPECT_EQ(code("llama-3.1-8b", "vllm", s), ErrorCode::kUsage);
  s.method = "draft";
  EXPECT_EQ(code("llama-3.1-8b", "vllm", s), ErrorCode::kUsage);
  s.method = "eagel";
  EXPECT_EQ(code("llama-3.1-8b", "vllm", s), ErrorCode::kUsage);
  s.method = "ngram";
  s.tokens = 0;
  EXPECT_EQ(code("llama-3.1-8b", "vllm", s), ErrorCode::kUsage);
}

// A layer like the model's, [h, 2 h] that joins state and embedding, three norms. Source:
// deepseek_mtp.py: enorm, hnorm and the norm before the shared head.
TEST(Speculation, AnMtpLayerHasAProjectionAndThreeNorms) {
  ModelSource target;
  target.card = test::tiny();
  target.card.mtp_layers = 1;
  Speculation s;
  s.method = "mtp";
  s.tokens = 1;
  const std::int64_t layer = 64 * (64 + 32 + 32) + 64 * 64 + 3 * 64 * 128 + 2 * 64;
  EXPECT_EQ(draft_model(target, nullptr, s, {}, {})->model.weights.n,
            2 * (layer + 64 * 128 + 3 * 64));
}

// The head beside a mixture is dense, as wide as what a token sees: experts x their width and the
// shared one's.
TEST(Speculation, AHeadBesideExpertsIsAsWideAsWhatATokenSees) {
  ModelSource target;
  target.card = test::mixtral_8x7b();
  for (Layer& layer : target.card.layers) layer.feed_forward.shared_intermediate = 512;
  Speculation s;
  s.method = "eagle";
  s.tokens = 3;
  const std::int64_t matrices =
      2LL * 4096 * 4096 + 4096LL * (4096 + 1024 + 1024 + 4096) + 3LL * 4096 * (2 * 14336 + 512);
  EXPECT_EQ(draft_model(target, nullptr, s, {}, {})->model.weights.n, 2 * (matrices + 4096));
}

}  // namespace
}  // namespace vramplan
