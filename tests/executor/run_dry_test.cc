#include "executor/run_dry.h"

#include <gtest/gtest.h>

#include <map>
#include <optional>
#include <tuple>

#include "modelcards/library.h"
#include "planner/plan.h"
#include "tests/executor/tiny_model.h"

namespace vramplan {
namespace {

struct Case {
  const char* model;
  const char* device;
  int tp, pp;
  std::int64_t context, output, batch, chunk;
  bool naive = false;
  std::optional<DType> weights = {};
  KvKeep keep = {};  // with a window: policy sink_window
  std::int64_t samples = 1, shared_prefix = 0;
  bool contiguous = false;
  bool beams = false;  // the samples are
  std::int64_t replicas = 1;
};

using Key = std::tuple<int, int, int, std::string, int>;

std::map<Key, Bytes> table(const Ledger& ledger) {
  std::map<Key, Bytes> rows;
  for (const LedgerRow& r : ledger.rows()) {
    rows[{r.rank, static_cast<int>(r.tier), static_cast<int>(r.category), r.name,
          static_cast<int>(r.phase)}] += r.bytes;
  }
  return rows;
}

Plan plan_of(const Case& c, const ModelSource& source, const DeviceCard& device) {
  PlanRequest request;
  request.model = c.model;
  request.device = c.device;
  request.tp = c.tp;
  request.pp = c.pp;
  request.count = c.tp * c.pp;
  request.context = Tokens{c.context};
  request.output = Tokens{c.output};
  request.batch = c.batch;
  request.prefill_chunk = Tokens{c.chunk};
  request.weights = c.weights;
  if (c.naive) request.attention = AttentionAlgorithm::kNaive;
  (c.beams ? request.beams : request.samples) = c.samples;
  request.shared_prefix = Tokens{c.shared_prefix};
  request.replicas = c.replicas;
  if (c.contiguous) request.kv_layout = KvLayout::kContiguous;
  if (c.keep.budget.n > 0) {
    request.kv_policy = KvPolicy::kMass;
    request.kv_budget = c.keep.budget;
  } else if (!c.keep.all()) {
    request.kv_policy = KvPolicy::kSinkWindow;
    request.kv_sinks = c.keep.sinks;
    request.kv_window = c.keep.window;
  }
  Plan plan = make_plan(source, device, request);
  plan.decisions.capacity = Bytes{std::int64_t{1} << 45};  // a virtual device may have any
  return plan;
}

/// Every row of tensors and blocks that the planner's formulas give, the real control code takes.
TEST(RunDry, TakesWhatThePlannersFormulasSayRowByRow) {
  const Case cases[] = {
      {"smollm2-135m", "cpu-generic", 1, 1, 300, 20, 1, 128},
      {"smollm2-135m", "cpu-generic", 1, 1, 300, 20, 3, 7, true},
      {"smollm2-135m", "cpu-generic", 1, 1, 300, 1, 2, 512, false, DType::kQ8_0},
      {"llama-3-70b", "h100-sxm-80gb", 2, 1, 32768, 16, 1, 2048},
      {"llama-3-70b", "h100-sxm-80gb", 8, 1, 2048, 16, 64, 512},
      {"llama-3.1-405b", "h100-sxm-80gb", 8, 2, 8192, 32, 4, 1024},
      {"llama-3.1-8b", "h100-sxm-80gb", 16, 1, 4096, 8, 2, 1024, true},
      {"gpt2", "cpu-generic", 1, 1, 100, 10, 2, 64},
      {"falcon-40b", "a100-sxm-80gb", 4, 3, 2048, 8, 2, 512},
      {"gemma-2-9b", "rtx-4090-24gb", 2, 2, 4096, 8, 2, 512},
      {"qwen3-8b", "h100-sxm-80gb", 4, 1, 4096, 8, 2, 512, false, DType::kQ4_K},
      {"phi-2", "rtx-4090-24gb", 1, 4, 1024, 8, 2, 512},
      {"gemma-2-9b", "cpu-generic", 1, 1, 6000, 200, 3, 512},
      {"gemma-3-4b", "h100-sxm-80gb", 1, 1, 5001, 40, 4, 1024},
      {"mistral-7b-v0.1", "h100-sxm-80gb", 2, 2, 9000, 33, 2, 2048},
      {"gemma-3-1b", "cpu-generic", 1, 1, 3000, 70, 2, 300, true},
      {"smollm2-135m", "cpu-generic", 1, 1, 5000, 300, 2, 512, false, {}, {{4}, {500}}},
      {"smollm2-135m", "cpu-generic", 1, 1, 999, 90, 3, 64, true, {}, {{17}, {100}}},
      {"llama-3.1-8b", "h100-sxm-80gb", 2, 2, 100000, 5, 2, 4096, false, {}, {{0}, {1000}}},
      {"smollm2-135m", "cpu-generic", 1, 1, 1024, 16, 3, 512, false, {}, {}, 3},
      {"llama-3.1-8b", "h100-sxm-80gb", 2, 1, 3000, 70, 8, 512, false, {}, {}, 4},
      {"llama-3.1-8b", "h100-sxm-80gb", 1, 1, 3000, 70, 5, 512, false, {}, {}, 1, 2000},
      {"smollm2-135m", "cpu-generic", 1, 1, 600, 20, 3, 128, false, {}, {}, 1, 580},
      {"smollm2-135m", "cpu-generic", 1, 1, 600, 20, 3, 128, false, {}, {}, 1, 0, true},
      {"smollm2-135m", "cpu-generic", 1, 1, 1024, 90, 6, 128, false, {}, {}, 3, 0, false, true},
      {"smollm2-135m", "cpu-generic", 1, 1, 1500, 100, 3, 128, false, {}, {{}, {}, {300}}},
      {"smollm2-135m", "cpu-generic", 1, 1, 300, 20, 2, 128, false, {}, {}, 1, 0, false, false, 4},
      {"smollm2-135m", "cpu-generic", 1, 1, 1024, 90, 6, 128, false, {}, {}, 3, 0, false, true, 2},
      {"llama-3.1-8b", "h100-sxm-80gb", 2, 2, 9000, 33, 2, 1000, true, {}, {{}, {}, {1800}}},
  };
  for (const Case& c : cases) {
    SCOPED_TRACE(std::string(c.model) + " on " + c.device + " tp " + std::to_string(c.tp) + " pp " +
                 std::to_string(c.pp));
    const ModelSource source = source_of(model_card(c.model));
    const DeviceCard device = device_card(c.device);
    const Plan plan = plan_of(c, source, device);
    const Measurement m = run_plan(plan.decisions, source, device, "dry", {});
    const auto predicted = table(plan.predictions.ledger), observed = table(m.observed);
    for (const auto& [key, bytes] : predicted) {
      const auto found = observed.find(key);
      ASSERT_NE(found, observed.end()) << "rank " << std::get<0>(key) << " " << std::get<3>(key);
      EXPECT_EQ(found->second, bytes) << "rank " << std::get<0>(key) << " " << std::get<3>(key)
                                      << " phase " << std::get<4>(key);
    }
    EXPECT_EQ(observed.size(), predicted.size());
    for (const RankCapacity& rank : m.capacity) {
      EXPECT_EQ(rank.capacity, rank.free + rank.rows + rank.unaccounted);
    }
    // The scores that the naive oracle writes are timed for the whole context, kept or not.
    if ((c.naive && !c.keep.all()) || c.keep.budget.n > 0) continue;
    EXPECT_NEAR(m.timings.ttft.v, plan.predictions.performance.ttft.v,
                0.02 * plan.predictions.performance.ttft.v);
    if (c.output > 1) {
      EXPECT_NEAR(m.timings.tpot.v, plan.predictions.performance.tpot.v,
                  0.02 * plan.predictions.performance.tpot.v);
    }
  }
}

/// Too few blocks for all: what is held, on the device and on the host, and how often sequences
/// gave way, are those of the plan; the clock knows what it cost.
TEST(RunDry, PreemptionIsThePlansToTheBlock) {
  const ModelSource source = source_of(model_card("smollm2-135m"));
  const DeviceCard device = device_card("cpu-generic");
  for (const PreemptRequest way :
       {PreemptRequest::kSwap, PreemptRequest::kRecompute, PreemptRequest::kAuto}) {
    SCOPED_TRACE(name_of(way));
    PlanRequest request;
    request.model = "smollm2-135m";
    request.device = "cpu-generic";
    request.context = 200_tokens;
    request.output = 90_tokens;
    request.batch = 5;
    request.prefill_chunk = 64_tokens;
    request.kv_pool = 600_tokens;
    request.preempt = way;
    const Plan plan = make_plan(source, device, request);
    ASSERT_TRUE(plan.predictions.preemption);
    EXPECT_GT(plan.predictions.preemption->counts.preempted, 0);
    const Measurement m = run_plan(plan.decisions, source, device, "dry", {});
    EXPECT_EQ(table(m.observed), table(plan.predictions.ledger));
    EXPECT_EQ(m.preemption, plan.predictions.preemption->counts);
    // A sequence that is computed again gets its next token from its prefill.
    const bool swaps = plan.decisions.preempt == Preempt::kSwap;
    EXPECT_EQ(m.timings.decode_tokens + (swaps ? 0 : m.preemption->preempted), 5 * 89);
  }
}

TEST(RunDry, ShardsOfAModelAddUpToTheWhole) {
  const ModelSource source = source_of(model_card("llama-3.1-8b"));
  const DeviceCard device = device_card("h100-sxm-80gb");
  const auto weights = [&](int tp, int pp) {
    const Plan plan =
        plan_of({"llama-3.1-8b", "h100-sxm-80gb", tp, pp, 4096, 8, 1, 1024}, source, device);
    const Measurement m = run_plan(plan.decisions, source, device, "dry", {});
    std::map<std::string, std::int64_t> sums;
    std::int64_t kv = 0;
    for (const LedgerRow& row : m.observed.rows()) {
      if (row.category == Category::kWeights) sums[row.name] += row.bytes.n;
      if (row.category == Category::kKvCache) kv += row.bytes.n;
    }
    sums["kv"] = kv;
    return sums;
  };
  auto one = weights(1, 1);
  auto split = weights(4, 2);
  // Norms are on every tensor rank; everything else is held once (a separate head, 8 kv heads).
  EXPECT_EQ(split["norms"], 4 * one["norms"]);
  split["norms"] = one["norms"];
  EXPECT_EQ(split, one);
}

TEST(RunDry, SixteenRanksOfAVeryLargeModelRunTheSameCode) {
  const ModelSource source = source_of(model_card("llama-3.1-405b"));
  const DeviceCard device = device_card("h100-sxm-80gb");
  const Plan plan =
      plan_of({"llama-3.1-405b", "h100-sxm-80gb", 8, 2, 8192, 128, 1, 2048}, source, device);
  const Measurement m = run_plan(plan.decisions, source, device, "dry", {});
  ASSERT_EQ(m.capacity.size(), 16U);
  EXPECT_EQ(m.timings.decode_steps, 127);
  Bytes weights;
  for (int rank = 0; rank < 16; ++rank)
    weights += m.observed.sum(rank, TierKind::kDevice, Category::kWeights);
  EXPECT_GT(weights, 810_GB);  // 405.9 G parameters of 2 bytes, and the norms of 8 ranks
  EXPECT_LT(weights, 813_GB);
  EXPECT_TRUE(m.output[0].empty());
}

TEST(RunDry, ACapacityBelowTheNeedIsRefusedWithBothNumbers) {
  const ModelSource source = source_of(model_card("llama-3-70b"));
  const DeviceCard device = device_card("h100-sxm-80gb");
  Plan plan = plan_of({"llama-3-70b", "h100-sxm-80gb", 2, 1, 2048, 16, 64, 512}, source, device);
  plan.decisions.capacity = Bytes{device.capacity_bytes.value};
  RunRequest request;
  try {
    run_plan(plan.decisions, source, device, "dry", request);
    FAIL();
  } catch (const Error& error) {
    EXPECT_EQ(error.code(), ErrorCode::kDoesNotFit);
    EXPECT_NE(error.message().find("rank 0 needs"), std::string::npos);
    EXPECT_NE(error.message().find(std::to_string(plan.decisions.capacity.n)), std::string::npos);
  }
  request.check_first = false;
  try {
    run_plan(plan.decisions, source, device, "dry", request);
    FAIL();
  } catch (const Error& error) {
    EXPECT_EQ(error.code(), ErrorCode::kOutOfPlan);
    EXPECT_NE(error.message().find("KV blocks"), std::string::npos) << error.message();
  }
}

TEST(RunDry, WhatItCannotRunIsRefusedByName) {
  const DeviceCard device = device_card("h100-sxm-80gb");
  const auto refused = [&](auto change) -> std::string {
    ModelCard card = tiny_card();
    change(card);
    const Decisions decisions = tiny_decisions(card, 10, 2);
    try {
      run_plan(decisions, source_of(card), device, "dry", {});
    } catch (const Error& error) {
      EXPECT_EQ(error.code(), ErrorCode::kUnsupported);
      return error.message();
    }
    return "nothing";
  };
  EXPECT_NE(refused([](ModelCard& c) {
              c.layers[1].feed_forward.kind = FeedForwardKind::kMoe;
            }).find("layer 1 of tiny has a mixture of experts"),
            std::string::npos);
  EXPECT_NE(refused([](ModelCard& c) { c.layers[0].mixer.kind = MixerKind::kMla; }).find("MLA"),
            std::string::npos);
  EXPECT_NE(
      refused([](ModelCard& c) { c.layers[0].mixer.kind = MixerKind::kLinear; }).find("linear"),
      std::string::npos);
  EXPECT_NE(
      refused([](ModelCard& c) { c.layers[0].mixer.kind = MixerKind::kChunked; }).find("chunked"),
      std::string::npos);
  ModelCard card = tiny_card();
  Decisions decisions = tiny_decisions(card, 10, 2);
  decisions.sharding.tp = 3;
  EXPECT_THROW(run_plan(decisions, source_of(card), device, "dry", {}), Error);
  decisions.sharding.tp = 1;
  decisions.sharding.cp = 2;
  EXPECT_THROW(run_plan(decisions, source_of(card), device, "dry", {}), Error);
  decisions = tiny_decisions(card, 10, 2);
  card.vocab = 41;
  try {
    run_plan(decisions, source_of(card), device, "dry", {});
    FAIL();
  } catch (const Error& error) {
    EXPECT_EQ(error.code(), ErrorCode::kStalePlan);
  }
}

}  // namespace
}  // namespace vramplan
