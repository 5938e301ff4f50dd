#include "executor/quality.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>

#include "executor/engine.h"
#include "modelcards/library.h"
#include "planner/kv_cache.h"
#include "planner/kv_mix.h"
#include "planner/mix_study.h"
#include "planner/plan.h"
#include "planner/weight_mix.h"
#include "tests/executor/tiny_model.h"

namespace vramplan {
namespace {

/// Logits whose softmax is p.
std::vector<float> logits_of(const std::vector<std::vector<double>>& rows) {
  std::vector<float> out;
  for (const auto& row : rows) {
    for (const double p : row) out.push_back(static_cast<float>(std::log(p) + 3));
  }
  return out;
}

TEST(Quality, DivergenceAndPerplexityAreTheirDefinitions) {
  const std::vector<std::int32_t> ids{2, 0, 1};
  const auto base = logits_of({{0.5, 0.25, 0.25}, {0.25, 0.5, 0.25}, {0.1, 0.1, 0.8}});
  const auto other = logits_of({{0.25, 0.5, 0.25}, {0.25, 0.5, 0.25}, {0.8, 0.1, 0.1}});
  const QualityBase judge(base, ids);
  EXPECT_NEAR(judge.itself().perplexity, 2, 1e-6);  // 0.5 and 0.5
  EXPECT_EQ(judge.itself().mean_divergence, 0);
  const TextQuality same = judge.compare(base);
  EXPECT_NEAR(same.mean_divergence, 0, 1e-7);
  EXPECT_NEAR(same.perplexity, 2, 1e-6);
  EXPECT_DOUBLE_EQ(same.same_best, 1);
  const TextQuality q = judge.compare(other);
  // The last position predicts nothing. 0.5 ln 2 + 0.25 ln 0.5 in the first.
  EXPECT_NEAR(q.worst_divergence, 0.25 * std::log(2.0), 1e-6);
  EXPECT_NEAR(q.mean_divergence, 0.125 * std::log(2.0), 1e-6);
  EXPECT_NEAR(q.perplexity, std::exp(-0.5 * (std::log(0.25) + std::log(0.5))), 1e-6);
  EXPECT_DOUBLE_EQ(q.same_best, 0.5);
}

TEST(Quality, RunsOverOneCopyOfTheWeightsGiveThePromptsLogits) {
  ModelCard card = tiny_card(3);
  card.hidden = 64;
  for (Layer& layer : card.layers) {
    layer.mixer.head_dim = layer.mixer.value_dim = 32;
    layer.mixer.rope.rotary_dim = 32;
  }
  const ModelSource source = source_of(card);
  Decisions decisions = tiny_decisions(card, 60, 1);
  decisions.block = TokensPerBlock{32};
  decisions.prefill_chunk = Tokens{16};
  std::vector<std::int32_t> ids;
  for (int i = 0; i < 50; ++i) ids.push_back(i * 7 % 40);
  const auto backend = make_cpu_backend(2, 1_GiB), alone = make_cpu_backend(2, 1_GiB);
  PromptRuns runs(decisions, source, *backend, true);
  for (const char* layers : {"0:f16", "1-2:int8", "0:q4_0,2:fp8"}) {
    decisions.kv_layers = parse_kv_layers(layers, "");
    EXPECT_EQ(runs.logits(decisions, ids), prompt_logits(decisions, source, *alone, ids, true))
        << layers;
  }
  EXPECT_THROW(runs.logits(decisions, {}), Error);
}

/// Four layers of two KV heads of 32 with random weights, and a text of as random ids.
class MixStudy : public testing::Test {
 protected:
  static constexpr std::int64_t kTokens = 200;

  MixStudy() : source_(source_of(card())), device_(device_card("cpu-generic")) {
    for (std::int64_t i = 0; i < kTokens; ++i) {
      ids_.push_back(static_cast<std::int32_t>((i * i + 3 * i) % 40));
    }
  }

  static ModelCard card() {
    ModelCard card = tiny_card(4);
    card.hidden = 64;
    card.context_limit = 4096;
    for (Layer& layer : card.layers) {
      layer.mixer.head_dim = layer.mixer.value_dim = 32;
      layer.mixer.rope.rotary_dim = 32;
    }
    return card;
  }

  Decisions decide(const std::vector<LayerWord>& layers) const {
    PlanRequest request;
    request.model = "tiny";
    request.device = "cpu-generic";
    request.kv_format = KvFormat::kF32;
    request.kv_layers = kv_layers_of(layers, "");
    request.context = Tokens{500};  // begins a block of 32 and would end one of 16
    request.block_tokens = 32;
    request.prefill_chunk = Tokens{64};
    request.threads = 2;
    return make_plan(source_, device_, request).decisions;
  }

  MixAnswer study(double nats, std::vector<std::string> formats) {
    const Decisions base = decide({});
    const auto backend = make_cpu_backend(2, 1_GiB);
    PromptRuns runs(base, source_, *backend, true);
    MixQuestion question;
    question.floor.nats = nats;
    question.base = "f32";
    question.formats = std::move(formats);
    question.layers_together = 2;
    const QualityBase judge(runs.logits(base, ids_), ids_);
    const auto quality_of = [](const TextQuality& q) {
      return MixQuality{q.perplexity, q.mean_divergence, q.worst_divergence, q.same_best};
    };
    const MixParts parts{
        source_.card.layer_count(), quality_of(judge.itself()),
        [&](const auto& layers) { return decide(layers); },
        [&](const Decisions& d) {
          return MixSize{kv_bytes(rank_model(source_.card, d, {}, 0), d)};
        },
        [&](const Decisions& d) { return quality_of(judge.compare(runs.logits(d, ids_))); }};
    MixAnswer answer = study_mix(parts, question);
    EXPECT_LE(answer.passes, most_passes(question, 4));
    EXPECT_EQ(answer.groups.size(), 2U);
    for (const MeasuredMix& run : answer.runs) {
      const Decisions decisions = decide(run.layers);
      EXPECT_EQ(run.size.bytes, kv_bytes(rank_model(source_.card, decisions, {}, 0), decisions));
      EXPECT_EQ(run.keeps, run.quality.mean_divergence <= nats);
    }
    return answer;
  }

  ModelSource source_;
  DeviceCard device_;
  std::vector<std::int32_t> ids_;
};

const std::vector<std::string> kFormats = {"f16", "int8", "q4_0", "kivi2", "kivi2/0"};

TEST_F(MixStudy, AFloorThatLetsEverythingThroughGivesTheSmallestFormat) {
  const MixAnswer answer = study(9, kFormats);
  ASSERT_LT(answer.best, answer.runs.size());
  Bytes least = answer.base.size.bytes;
  for (const MeasuredMix& uniform : answer.uniforms) least = std::min(least, uniform.size.bytes);
  EXPECT_EQ(answer.found().size.bytes, least);
  EXPECT_EQ(answer.runs.size(), 1U);
}

TEST_F(MixStudy, WhatIsFoundKeepsTheFloorAndNoSmallerRunDoes) {
  const MixAnswer open = study(9, kFormats);
  std::vector<double> losses;
  for (const MeasuredMix& uniform : open.uniforms) losses.push_back(uniform.loss.divergence);
  std::sort(losses.begin(), losses.end());
  for (std::size_t i = 0; i + 1 < losses.size(); ++i) {
    const double floor = (losses[i] + losses[i + 1]) / 2;
    const MixAnswer answer = study(floor, kFormats);
    const MeasuredMix& found = answer.found();
    EXPECT_LE(found.loss.divergence, floor);
    for (const MeasuredMix& run : answer.runs) {
      EXPECT_TRUE(!run.keeps || run.size.bytes >= found.size.bytes);
    }
    EXPECT_LT(found.size.bytes, answer.base.size.bytes);
  }
}

TEST_F(MixStudy, AFloorThatNothingKeepsLeavesTheBase) {
  const MixAnswer answer = study(1e-12, {"q4_0"});
  EXPECT_EQ(answer.found().size.bytes, answer.base.size.bytes);
  EXPECT_EQ(answer.found().loss.divergence, 0);
}

/// A group's bytes are those that the plan with it alone says, and they add up to those of the
/// uniform plan, of one pool or of two.
TEST_F(MixStudy, BytesOfGroupsAddUp) {
  const MixAnswer answer = study(9, kFormats);
  for (std::size_t f = 0; f < kFormats.size(); ++f) {
    Bytes sum = answer.base.size.bytes;
    for (const MixGroup& group : answer.groups) sum += group.options[f + 1].bytes;
    EXPECT_EQ(sum, answer.uniforms[f].size.bytes) << kFormats[f];
  }
}

/// Weights: each choice is loaded and run; what is found keeps the floor in the fewest bytes.
TEST_F(MixStudy, OfWeightsIsTheSameQuestion) {
  const auto decide = [&](const std::vector<LayerWord>& layers) {
    Decisions decisions = MixStudy::decide({});
    decisions.weight_layers = weight_layers_of(layers, "");
    return decisions;
  };
  const auto backend = make_cpu_backend(2, 1_GiB);
  const auto logits = [&](const Decisions& d) {
    return prompt_logits(d, source_, *backend, ids_, true);
  };
  const QualityBase judge(logits(decide({})), ids_);
  const auto quality_of = [](const TextQuality& q) {
    return MixQuality{q.perplexity, q.mean_divergence, q.worst_divergence, q.same_best};
  };
  MixQuestion question;
  question.base = "stored";
  question.formats = {"bf16", "fp8"};
  question.layers_together = 2;
  const MixParts parts{4, quality_of(judge.itself()), decide,
                       [&](const Decisions& d) { return mix_size(source_, d, true); },
                       [&](const Decisions& d) { return quality_of(judge.compare(logits(d))); }};
  question.floor.nats = 9;
  const MixAnswer open = study_mix(parts, question);
  const MeasuredMix &bf16 = open.uniforms[0], &fp8 = open.uniforms[1];
  EXPECT_EQ(open.found().size.weights, fp8.size.weights);
  EXPECT_EQ(open.base.size.cache, fp8.size.cache);
  // Matrices of the four layers: from four bytes an element to one.
  const std::int64_t halves = (open.base.size.weights - bf16.size.weights).n;
  EXPECT_EQ((open.base.size.weights - fp8.size.weights).n * 2, halves * 3);
  EXPECT_LT(bf16.loss.divergence, fp8.loss.divergence);
  question.floor.nats = (bf16.loss.divergence + fp8.loss.divergence) / 2;
  const MixAnswer half = study_mix(parts, question);
  EXPECT_LE(half.found().loss.divergence, question.floor.nats);
  EXPECT_LE(half.found().size.weights, bf16.size.weights);
  EXPECT_GT(half.found().size.weights, fp8.size.weights);
}

TEST_F(MixStudy, AQuestionWithoutAChoiceIsRefused) { EXPECT_THROW(study(1, {}), Error); }

}  // namespace
}  // namespace vramplan
