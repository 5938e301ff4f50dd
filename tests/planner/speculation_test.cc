#include "planner/speculation.h"

#include <gtest/gtest.h>

#include <memory>

#include "planner/latency.h"
#include "tests/planner/cards.h"

namespace vramplan {
namespace {

using namespace test;

ModelSource with_draft() {
  ModelSource source = source_of(llama("large", {6, 256, 8, 4, 32, 512, 100}));
  source.draft = std::make_shared<const ModelSource>(source_of(tiny()));
  return source;
}

PlanRequest guessing(Guess guess, std::int64_t tokens, double acceptance) {
  PlanRequest request = ask(128, 3);
  request.output = Tokens{40};
  request.guess = guess;
  request.guess_tokens = tokens;
  request.acceptance = acceptance;
  if (guess == Guess::kDraft) request.draft = "tiny";
  return request;
}

Plan plan_with(Guess guess, std::int64_t tokens, double acceptance) {
  return make_plan(with_draft(), cpu(64_GiB), guessing(guess, tokens, acceptance));
}

Bytes row(const Plan& plan, Category category, const std::string& name, Phase phase) {
  Bytes sum;
  for (const LedgerRow& r : plan.predictions.ledger.rows()) {
    if (r.category == category && r.name == name && r.phase == phase) sum += r.bytes;
  }
  return sum;
}

TEST(GuessPlan, ExpectedTokensAreAGeometricSum) {
  EXPECT_DOUBLE_EQ(expected_tokens(4, 0), 1);
  EXPECT_DOUBLE_EQ(expected_tokens(4, 1), 5);
  EXPECT_DOUBLE_EQ(expected_tokens(0, 0.9), 1);
  EXPECT_NEAR(expected_tokens(3, 0.5), (1 - 0.0625) / 0.5, 1e-12);
}

TEST(GuessPlan, TheFirstStepAsksAboutTheMost) {
  Decisions d = decisions_of();
  d.speculation = {Guess::kNgram, 8, "", 0, 0.5};
  EXPECT_EQ(most_guesses(d), 8);
  d.output = Tokens{5};
  EXPECT_EQ(most_guesses(d), 3) << "one comes from prefill, one is the model's own";
  d.output = Tokens{1};
  EXPECT_EQ(most_guesses(d), 0);
  d.speculation = {};
  EXPECT_EQ(most_guesses(d), 0);
}

TEST(GuessPlan, ADraftsWeightsAndCacheAreInTheLedger) {
  const Plan plan = plan_with(Guess::kDraft, 4, 0.5);
  const Plan own = plan_of(tiny(), cpu(64_GiB), ask(128, 3));
  Bytes weights;
  for (const LedgerRow& r : own.predictions.ledger.rows()) {
    if (r.category == Category::kWeights) weights += r.bytes;
  }
  EXPECT_EQ(row(plan, Category::kDraft, "weights", Phase::kLoad), weights);
  // 2 layers, K and V of 2 x 16 elements in f16, 3 sequences of 8 blocks of 16.
  EXPECT_EQ(row(plan, Category::kDraft, "blocks", Phase::kLoad).n, 2 * 2 * 32 * 2 * 3 * 128);
  EXPECT_GT(row(plan, Category::kActivations, "draft peak", Phase::kPrefill).n, 0);
  EXPECT_GT(row(plan, Category::kActivations, "draft peak", Phase::kDecode).n, 0);
  const Plan none = plan_with(Guess::kNgram, 4, 0.5);
  EXPECT_EQ(row(none, Category::kDraft, "weights", Phase::kLoad).n, 0);
  EXPECT_EQ(row(plan, Category::kKvCache, "blocks", Phase::kLoad),
            row(none, Category::kKvCache, "blocks", Phase::kLoad));
}

TEST(GuessPlan, TheAccountIsTheLedger) {
  for (const Guess guess : {Guess::kNgram, Guess::kDraft}) {
    const Plan plan = plan_with(guess, 4, 0.5);
    const auto stages = stage_accounts(with_draft(), cpu(64_GiB), plan.decisions, {});
    EXPECT_EQ(stage_peak(stages.front(), plan.decisions, DeviceKind::kCpu),
              plan.predictions.ledger.peak(0, TierKind::kDevice));
  }
}

TEST(GuessPlan, AStepsSecondsAreSharedByItsTokens) {
  const Plan none = plan_with(Guess::kNgram, 4, 0), all = plan_with(Guess::kNgram, 4, 1);
  ASSERT_TRUE(none.predictions.speculation && all.predictions.speculation);
  const SpeculationPrediction &never = *none.predictions.speculation,
                              &always = *all.predictions.speculation;
  EXPECT_DOUBLE_EQ(never.step.v, always.step.v);
  EXPECT_NEAR(none.predictions.performance.tpot.v, 5 * all.predictions.performance.tpot.v, 1e-12);
  EXPECT_LT(never.speedup, 1) << "asking costs something";
  EXPECT_NEAR(always.speedup, 5 * never.speedup, 1e-9);
  const Plan draft = plan_with(Guess::kDraft, 4, 1);
  EXPECT_GT(draft.predictions.speculation->step.v, always.step.v) << "a draft computes, too";
}

TEST(GuessPlan, ThePlanFileKeepsIt) {
  const Plan plan = plan_with(Guess::kDraft, 3, 0.25);
  const Plan back = read_plan(write_plan(plan), "plan.yaml");
  EXPECT_EQ(back.decisions.speculation, plan.decisions.speculation);
  EXPECT_EQ(back.predictions.speculation->speedup, plan.predictions.speculation->speedup);
}

TEST(GuessPlan, WhatCannotTakeAGuessBackIsRefusedByName) {
  const auto code = [](auto change) {
    PlanRequest request = guessing(Guess::kNgram, 4, 0.5);
    change(request);
    return code_of([&] { make_plan(with_draft(), cpu(64_GiB), request); });
  };
  const ErrorCode no = ErrorCode::kUnsupported;
  EXPECT_EQ(code([](PlanRequest& r) { r.kv_policy = KvPolicy::kMass; }), no);
  EXPECT_EQ(code([](PlanRequest& r) { r.kv_policy = KvPolicy::kSinkWindow; }), no);
  EXPECT_EQ(code([](PlanRequest& r) { r.beams = 3; }), no);
  EXPECT_EQ(code([](PlanRequest& r) { r.shared_prefix = Tokens{32}; }), no);
  EXPECT_EQ(code([](PlanRequest& r) { r.preempt = PreemptRequest::kAuto; }), no);
  EXPECT_EQ(code([](PlanRequest& r) { r.weight_offload = 0.5; }), no);
  EXPECT_EQ(code([](PlanRequest& r) { r.attention = AttentionAlgorithm::kNaive; }), no);
  EXPECT_EQ(code([](PlanRequest& r) { r.guess_tokens = 0; }), ErrorCode::kUsage);
  EXPECT_EQ(code([](PlanRequest& r) { r.acceptance = 1.5; }), ErrorCode::kUsage);
  ModelSource other = with_draft();
  other.draft =
      std::make_shared<const ModelSource>(source_of(llama("other", {2, 64, 4, 2, 16, 128, 101})));
  EXPECT_EQ(code_of([&] { make_plan(other, cpu(64_GiB), guessing(Guess::kDraft, 4, 0.5)); }), no);
}

// A pass over the last two tokens of each sequence, then k - 1 over one: k passes, k + 1 rows of
// the table each sequence.
TEST(GuessPlan, ADraftPassesOverTwoTokensAndThenOne) {
  const ModelSource source = with_draft();
  Decisions d = plan_with(Guess::kDraft, 4, 0.5).decisions;
  const DraftAccount draft = draft_account(source, d);
  std::int64_t passes = 0;
  double bytes = 0;
  for (const OpWork& work : draft_step_work(draft, d, 64, DeviceKind::kCpu)) {
    if (work.op != OpKind::kEmbed) continue;
    passes += work.calls;
    bytes += work.bytes;
  }
  EXPECT_EQ(passes, 4);
  EXPECT_DOUBLE_EQ(bytes, 5.0 * 3 * 64 * (2 + 4));
  const ScratchRules rules = scratch_rules(draft_decisions(d), DeviceKind::kCpu);
  EXPECT_GE(draft_peak(draft, d, rules, Phase::kDecode),
            peak_bytes(draft.model, rules, {6, 3, 3, 127, 89}));
}

}  // namespace
}  // namespace vramplan
