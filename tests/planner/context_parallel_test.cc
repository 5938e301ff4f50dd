#include "planner/context_parallel.h"

#include <gtest/gtest.h>

#include "planner/account.h"
#include "planner/kv_mix.h"
#include "planner/latency.h"
#include "tests/planner/cards.h"

namespace vramplan {
namespace {

using namespace test;

PlanRequest between(int cp, std::int64_t context) {
  PlanRequest request = ask(context, 1);
  request.count = request.cp = cp;
  request.tp = 1;
  request.prefill_chunk = Tokens{context};
  request.output = Tokens{16};
  return request;
}

const LayerKind& first_kind(const RankModel& model) { return model.kinds.front(); }

// The cache that does not fit one device fits four, a quarter on each: 32 k of Llama 2 7B are 16
// GiB of f16 K and V.
TEST(ContextParallel, ACacheIsSharedAndWeightsAreNot) {
  const DeviceCard device = gpu_80gb();
  const Plan one = plan_of(llama_2_7b(), device, between(1, 32768));
  const Plan four = plan_of(llama_2_7b(), device, between(4, 32768));
  ASSERT_EQ(four.predictions.devices.size(), 4u);
  const auto sum = [](const Plan& plan, Category category) {
    return plan.predictions.ledger.sum(0, TierKind::kDevice, category);
  };
  EXPECT_EQ(sum(one, Category::kKvCache), 16_GiB);
  EXPECT_EQ(sum(four, Category::kKvCache), 4_GiB);
  EXPECT_EQ(sum(one, Category::kWeights), sum(four, Category::kWeights));
  EXPECT_EQ(four.predictions.totals.kv_bytes, 16_GiB);
  for (int rank = 0; rank < 4; ++rank) {
    EXPECT_EQ(four.predictions.devices[static_cast<std::size_t>(rank)].predicted,
              four.predictions.devices[0].predicted);
  }
}

// Prefill: K and V of two other ranks beside its own, 2 x 256 tokens x 8 x (128 + 128) x 2 B;
// decode: the results of all four, 4 x 3 sequences x 64 heads x (128 + 2) x 4 B.
TEST(ContextParallel, WhatGoesRoundHasItsRoom) {
  Decisions d = decisions_of();
  d.sharding.cp = 4;
  d.kv_format = KvFormat::kBF16;
  const RankModel model = rank_model(llama_3_70b(), d, {}, 0);
  const ScratchRules rules = scratch_rules(d, DeviceKind::kGpu, 132);
  EXPECT_EQ(exchange_bytes(rules, {128, 0, 1, 256}, first_kind(model)).n,
            2LL * 256 * 8 * (128 + 128) * 2);
  EXPECT_EQ(exchange_bytes(rules, {3, 3, 3, 256}, first_kind(model)).n, 4LL * 3 * 64 * 130 * 4);
  EXPECT_EQ(exchange_bytes(scratch_rules(decisions_of(), DeviceKind::kGpu), {3, 3, 3, 256},
                           first_kind(model))
                .n,
            0);
}

// Of 4,096 tokens in one pass each rank sends its quarter of K and V on three times: 3 x 1,024 x
// 4,096 B. Its pairs are a quarter of the triangle.
TEST(ContextParallel, ARingMovesEveryPartToEveryRank) {
  const RankModel model = rank_model(llama_3_70b(), decisions_of(), {}, 0);
  const ContextRanks ranks{4, 2}, alone{1, 2};
  const PassWork part{1024, 0, 1, 4096, true}, whole{4096, 0, 1, 4096, true};
  const OpWork sent = ranks.exchange(first_kind(model), KvFormat::kBF16, part, 1);
  EXPECT_EQ(sent.op, OpKind::kSend);
  EXPECT_EQ(sent.calls, 3);
  EXPECT_DOUBLE_EQ(sent.bytes, 3.0 * 1024 * 4096);
  EXPECT_EQ(sent.ranks, 8) << "neighbours are tp x cp apart";
  const AttentionShape shape{64, 8, 128, 128, 0, DType::kBF16, DType::kBF16};
  EXPECT_DOUBLE_EQ(ranks.attention(shape, part, 1).flops * 4,
                   alone.attention(shape, whole, 1).flops);
  // Two passes of 2,048: the second sends what the first left, too.
  const OpWork two = ranks.exchange(first_kind(model), KvFormat::kBF16, {512, 0, 1, 2048, true}, 2);
  EXPECT_DOUBLE_EQ(two.bytes, 3.0 * (512 + 1024) * 4096);
}

// A step reads a quarter of the cache and gathers 3 x 64 x 130 x 4 B of three others.
TEST(ContextParallel, AStepReadsAShareAndGathersResults) {
  const RankModel model = rank_model(llama_3_70b(), decisions_of(), {}, 0);
  const ContextRanks ranks{4, 1}, alone{1, 1};
  const PassWork step{3, 3, 3, 4096};
  const AttentionShape shape{64, 8, 128, 128, 0, DType::kBF16, DType::kBF16};
  EXPECT_DOUBLE_EQ(ranks.attention(shape, step, 1).flops * 4,
                   alone.attention(shape, step, 1).flops);
  const OpWork gathered = ranks.exchange(first_kind(model), KvFormat::kBF16, step, 1);
  EXPECT_EQ(gathered.op, OpKind::kAllGather);
  EXPECT_DOUBLE_EQ(gathered.bytes, 3.0 * 3 * 64 * 130 * 4);
}

// A long prompt gains most of the ranks: attention is a quarter, and so is everything else.
TEST(ContextParallel, ALongPromptIsShorterOnMoreRanks) {
  const DeviceCard device = gpu_80gb();
  const double one =
      plan_of(llama_2_7b(), device, between(1, 65536)).predictions.performance.ttft.v;
  const double four =
      plan_of(llama_2_7b(), device, between(4, 65536)).predictions.performance.ttft.v;
  EXPECT_LT(four, one / 2);
  EXPECT_GT(four, one / 4);
}

TEST(ContextParallel, WhatDoesNotGoWithItIsRefusedByName) {
  const auto refused = [](ModelCard card, auto change) {
    PlanRequest request = between(2, 4096);
    change(request);
    return code_of([&] { plan_of(card, gpu_80gb(), request); });
  };
  const auto nothing = [](PlanRequest&) {};
  ModelCard windowed = llama_2_7b();
  windowed.layers.front().mixer.kind = MixerKind::kSlidingWindow;
  windowed.layers.front().mixer.window_tokens = 1024;
  EXPECT_EQ(refused(windowed, nothing), ErrorCode::kUnsupported);
  EXPECT_EQ(refused(llama_2_7b(), [](PlanRequest& r) { r.shared_prefix = Tokens{64}; }),
            ErrorCode::kUnsupported);
  EXPECT_EQ(refused(llama_2_7b(), [](PlanRequest& r) { r.preempt = PreemptRequest::kSwap; }),
            ErrorCode::kUnsupported);
  EXPECT_EQ(refused(llama_2_7b(), [](PlanRequest& r) { r.kv_placement = KvPlacement::kHost; }),
            ErrorCode::kUnsupported);
  EXPECT_EQ(
      refused(llama_2_7b(), [](PlanRequest& r) { r.kv_layers = parse_kv_layers("0:int8", ""); }),
      ErrorCode::kUnsupported);
  EXPECT_EQ(refused(llama_2_7b(), nothing), ErrorCode::kInternal) << "no error at all";
}

}  // namespace
}  // namespace vramplan
