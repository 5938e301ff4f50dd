#include "planner/search.h"

#include <gtest/gtest.h>

#include <rapidcheck/gtest.h>

#include <algorithm>

#include "cards.h"
#include "modelcards/library.h"

namespace vramplan {
namespace {

ModelSource model(const char* card) {
  ModelSource source;
  source.card = model_card(card);
  return source;
}

SearchRequest request_of(const std::vector<std::string>& devices) {
  SearchRequest request;
  request.plan.context = Tokens{4096};
  request.plan.output = Tokens{256};
  for (const std::string& name : devices) {
    request.devices.push_back(device_card(name));
    request.usd_per_hour[name] = 1.0 + static_cast<double>(request.devices.size());
  }
  return request;
}

const std::vector<std::string> kGpus = {"h100-sxm-80gb", "a100-sxm-40gb", "rtx-4090-24gb",
                                        "b200-sxm-180gb"};

class SearchOf : public ::testing::TestWithParam<const char*> {};

// The closed form is the plan: same bytes, same seconds, whatever the strategy.
TEST_P(SearchOf, EveryStrategyIsThePlannersPlanToTheByte) {
  const ModelSource source = model(GetParam());
  const SearchRequest request = request_of(kGpus);
  const StrategySpace space(source, request);
  const std::vector<Strategy> all = space.strategies();
  ASSERT_FALSE(all.empty());
  EXPECT_TRUE(rc::check([&] {
    const Strategy s = *rc::gen::elementOf(all);
    const Evaluation e = space.evaluate(s);
    const Plan plan = make_plan(source, request.devices[s.device], space.plan_request(s));
    Bytes peak;
    for (const DevicePrediction& d : plan.predictions.devices) peak = std::max(peak, d.predicted);
    RC_LOG() << "tp " << s.tp << " pp " << s.pp << " cp " << s.cp << " ep " << s.ep << " batch "
             << s.batch << " format " << s.format << " kv " << s.kv_format << " device "
             << s.device;
    RC_ASSERT(e.peak.n == peak.n);
    RC_ASSERT(e.fits == plan.predictions.fits);
    const Performance& p = plan.predictions.performance;
    RC_ASSERT(std::abs(e.ttft.v / p.ttft.v - 1) < 1e-9);
    RC_ASSERT(std::abs(e.tpot.v / p.tpot.v - 1) < 1e-9);
  }));
}
INSTANTIATE_TEST_SUITE_P(Models, SearchOf,
                         ::testing::Values("llama-3-8b", "gemma-2-9b", "qwen3-32b", "gpt2-xl",
                                           "qwen3-30b-a3b"));

// A cache beyond the device: only where it does not fit on the device, and then the plan's numbers.
TEST(Search, ACacheOnTheHostIsThePlannersPlanToTheByte) {
  const ModelSource source = model("llama-3-8b");
  SearchRequest request = request_of({"rtx-4090-24gb", "a100-sxm-40gb"});
  request.plan.context = Tokens{65536};
  request.limits.most_devices = 4;
  request.placements = {KvPlacement::kHost};
  const StrategySpace space(source, request);
  ASSERT_EQ(space.tiers().size(), 2u);  // the device is always one
  int far = 0;
  for (const Strategy& s : space.strategies()) {
    if (s.tier == 0) continue;
    Strategy near = s;
    near.tier = 0;
    const Evaluation e = space.evaluate(s);
    EXPECT_FALSE(space.evaluate(near).fits);
    EXPECT_TRUE(e.fits);
    if (++far % 5 != 0) continue;
    const Plan plan = make_plan(source, request.devices[s.device], space.plan_request(s));
    Bytes peak;
    for (const DevicePrediction& d : plan.predictions.devices) peak = std::max(peak, d.predicted);
    EXPECT_EQ(e.peak.n, peak.n);
    EXPECT_NEAR(e.ttft.v / plan.predictions.performance.ttft.v, 1, 1e-9);
    EXPECT_NEAR(e.tpot.v / plan.predictions.performance.tpot.v, 1, 1e-9);
    EXPECT_GT(e.tpot.v, space.evaluate(near).tpot.v);
  }
  EXPECT_GT(far, 20);
}

TEST(Search, MatricesOnTheHostAreThePlannersPlanToTheByte) {
  const ModelSource source = model("llama-3-8b");
  SearchRequest request = request_of({"rtx-4090-24gb", "a100-sxm-40gb"});
  request.plan.context = Tokens{32768};
  request.limits.most_devices = 4;
  request.weights_on_host = true;
  const StrategySpace space(source, request);
  int far = 0;
  for (const Strategy& s : space.strategies()) {
    if (s.tier == 0) continue;
    Strategy near = s;
    near.tier = 0;
    const Evaluation e = space.evaluate(s);
    EXPECT_FALSE(space.evaluate(near).fits);
    EXPECT_TRUE(e.fits);
    if (++far % 5 != 0) continue;
    const Plan plan = make_plan(source, request.devices[s.device], space.plan_request(s));
    Bytes peak;
    for (const DevicePrediction& d : plan.predictions.devices) peak = std::max(peak, d.predicted);
    EXPECT_EQ(e.peak.n, peak.n);
    EXPECT_NEAR(e.ttft.v / plan.predictions.performance.ttft.v, 1, 1e-9);
    EXPECT_NEAR(e.tpot.v / plan.predictions.performance.tpot.v, 1, 1e-9);
    EXPECT_GT(e.tpot.v, space.evaluate(near).tpot.v);
  }
  EXPECT_GT(far, 5);
}

// Layer by layer a matrix comes in once a prompt, not once a chunk.
TEST(Search, HiddenStatesOnTheHostAreThePlannersPlanToTheByte) {
  const ModelSource source = model("llama-3-8b");
  SearchRequest request = request_of({"rtx-4090-24gb"});
  request.plan.context = Tokens{16384};
  request.plan.prefill_chunk = Tokens{1024};
  request.limits.most_devices = 1;
  request.weights_on_host = request.hidden_on_host = true;
  const StrategySpace space(source, request);
  ASSERT_EQ(space.tiers().size(), 3u);
  int far = 0;
  for (Strategy s : space.strategies()) {
    if (s.tier != 2) continue;
    const Evaluation e = space.evaluate(s);
    const Plan plan = make_plan(source, request.devices[s.device], space.plan_request(s));
    EXPECT_TRUE(plan.decisions.activation_offload);
    EXPECT_EQ(e.peak, plan.predictions.devices.front().predicted);
    EXPECT_NEAR(e.ttft.v / plan.predictions.performance.ttft.v, 1, 1e-9);
    EXPECT_NEAR(e.tpot.v / plan.predictions.performance.tpot.v, 1, 1e-9);
    s.tier = 1;
    EXPECT_LT(e.ttft.v, space.evaluate(s).ttft.v);
    ++far;
  }
  EXPECT_GT(far, 2);
  request.plan.prefill_chunk = request.plan.context;
  EXPECT_EQ(StrategySpace(source, request).tiers().size(), 2u) << "one chunk has nothing to wait";
}

// A device without a price is neither free nor dear: nothing priced is better or worse than it.
TEST(Search, APriceThatIsNotKnownIsNotZero) {
  const ModelSource source = model("llama-3-8b");
  SearchRequest request = request_of({"h100-sxm-80gb", "b200-sxm-180gb"});
  request.limits.most_devices = 2;
  request.usd_per_hour = {{"h100-sxm-80gb", 2.5}};
  const SearchResult some = search(source, request);
  ASSERT_TRUE(some.cheapest);
  EXPECT_EQ(request.devices[some.cheapest->strategy.device].name, "h100-sxm-80gb");
  bool unpriced = false;
  for (const Evaluation& e : some.front) unpriced = unpriced || !e.usd_per_hour;
  EXPECT_TRUE(unpriced);
  request.usd_per_hour = {{"h100-sxm-80gb", 2.5}, {"b200-sxm-180gb", 0}};
  const SearchResult owned = search(source, request);
  EXPECT_EQ(request.devices[owned.cheapest->strategy.device].name, "b200-sxm-180gb");
  EXPECT_EQ(*owned.cheapest->usd_per_million_tokens(), 0);
}

// Many heads, one kv head and short chunks: the scratch of decode is the peak, and it knows the
// multiprocessors.
TEST(Search, ScratchOfDecodeIsThatOfTheDevice) {
  const ModelSource source = test::source_of(test::llama("mqa", {2, 2048, 128, 1, 16, 128, 100}));
  SearchRequest request = request_of({"h100-sxm-80gb", "l4-24gb", "b200-sxm-180gb"});
  request.plan.prefill_chunk = Tokens{64};
  request.plan.context = Tokens{16384};
  request.limits.most_devices = 1;
  request.limits.quality = Quality::kLossless;
  const StrategySpace space(source, request);
  for (const Strategy& s : space.strategies()) {
    const Plan plan = make_plan(source, request.devices[s.device], space.plan_request(s));
    EXPECT_EQ(space.evaluate(s).peak, plan.predictions.devices.front().predicted);
  }
}

TEST(Search, AModelWithWindowsKeepsItsCacheOnTheDevice) {
  SearchRequest request = request_of({"rtx-4090-24gb"});
  request.plan.context = Tokens{65536};
  request.placements = {KvPlacement::kHost};
  const StrategySpace space(model("gemma-2-9b"), request);
  for (const Strategy& s : space.strategies()) EXPECT_EQ(s.tier, 0);
}

TEST(Search, TheFastSearchFindsWhatTryingEverythingFinds) {
  const ModelSource source = model("qwen3-32b");
  SearchRequest request = request_of(kGpus);
  request.limits.tpot = Seconds{0.03};
  request.limits.most_devices = 8;
  const StrategySpace space(source, request);
  const SearchResult result = search(space, request);
  ASSERT_TRUE(result.smallest && result.fastest && result.cheapest);
  int fewest = 1000;
  double fastest = 1e9;
  for (const Strategy& s : space.strategies()) {
    const Evaluation e = space.evaluate(s);
    if (!e.fits || e.tpot > *request.limits.tpot) continue;
    fewest = std::min(fewest, s.devices());
    fastest = std::min(fastest, e.tpot.v);
  }
  EXPECT_EQ(result.smallest->strategy.devices(), fewest);
  EXPECT_EQ(result.fastest->tpot.v, fastest);
  for (const Evaluation& e : result.front) EXPECT_LE(e.tpot, *request.limits.tpot);
}

TEST(Search, NoneOfTheFrontIsBeaten) {
  const SearchRequest request = request_of(kGpus);
  const SearchResult result = search(model("llama-3-8b"), request);
  ASSERT_GT(result.front.size(), 3u);
  for (const Evaluation& a : result.front) {
    for (const Evaluation& b : result.front) {
      const bool better = a.usd_per_hour < b.usd_per_hour && a.tpot < b.tpot &&
                          a.tokens_per_second > b.tokens_per_second;
      EXPECT_FALSE(better);
    }
  }
}

TEST(Search, ThroughputIsReachedWithReplicas) {
  SearchRequest request = request_of({"rtx-4090-24gb"});
  request.limits.tokens_per_second = 20000;
  const SearchResult result = search(model("llama-3-8b"), request);
  ASSERT_TRUE(result.smallest);
  EXPECT_GE(result.smallest->tokens_per_second, 20000);
  EXPECT_GT(result.smallest->strategy.replicas, 1);
}

TEST(Search, QualityKeepsFormatsOut) {
  SearchRequest request = request_of({"h100-sxm-80gb"});
  request.limits.quality = Quality::kLossless;
  const ModelSource source = model("llama-3-70b");
  const SearchResult strict = search(source, request);
  ASSERT_TRUE(strict.smallest);
  EXPECT_EQ(strict.smallest->strategy.devices(), 2);  // 141 GB in 16 bits
  request.limits.quality = Quality::kFourBit;
  EXPECT_EQ(search(source, request).smallest->strategy.devices(), 1);
}

TEST(Search, WhatCannotBeDoneSaysWhy) {
  SearchRequest request = request_of({"rtx-4090-24gb"});
  request.limits.most_devices = 1;
  request.limits.quality = Quality::kLossless;
  const SearchResult result = search(model("llama-3-70b"), request);
  EXPECT_FALSE(result.smallest);
  EXPECT_NE(result.binding.find("rtx-4090-24gb"), std::string::npos) << result.binding;
  request.limits.tpot = Seconds{1e-9};
  request.limits.quality = Quality::kFourBit;
  EXPECT_NE(search(model("llama-3-8b"), request).binding.find("none meets"), std::string::npos);
}

TEST(Search, AGibibyteMoreHasAPrice) {
  const SearchResult result = search(model("llama-3-8b"), request_of({"h100-sxm-80gb"}));
  const auto priced = std::find_if(
      result.shadow_prices.begin(), result.shadow_prices.end(),
      [](const ShadowPrice& price) { return price.what == "+1 GiB of device memory"; });
  ASSERT_NE(priced, result.shadow_prices.end());
  EXPECT_NE(priced->buys.find("more sequences"), std::string::npos);
}

TEST(Search, LimitsBelowZeroAndCpusAreRefused) {
  SearchRequest request = request_of({"h100-sxm-80gb"});
  request.limits.tpot = Seconds{-1};
  EXPECT_THROW(search(model("llama-3-8b"), request), Error);
  request = request_of({"cpu-generic"});
  EXPECT_THROW(search(model("llama-3-8b"), request), Error);
  request.devices.clear();
  EXPECT_THROW(search(model("llama-3-8b"), request), Error);
}

// Experts are shared by all tensor ranks or none; a cache with windows is not shared.
TEST(Search, ContextAndExpertRanksAreTriedWhereTheModelTakesThem) {
  SearchRequest request = request_of({"h100-sxm-80gb"});
  request.limits.most_devices = 8;
  const auto widest = [&](const char* card) {
    const StrategySpace space(model(card), request);
    std::pair<int, int> most{1, 1};
    for (const Strategy& s : space.strategies()) {
      EXPECT_TRUE(s.ep == 1 || s.ep == s.tp);
      EXPECT_LE(s.ranks(), 8);
      most = {std::max<int>(most.first, s.cp), std::max<int>(most.second, s.ep)};
    }
    return most;
  };
  EXPECT_EQ(widest("qwen3-30b-a3b"), std::pair(8, 8));
  EXPECT_EQ(widest("llama-3-8b"), std::pair(8, 1));
  EXPECT_EQ(widest("gemma-2-9b"), std::pair(1, 1));
  EXPECT_EQ(widest("gpt-oss-20b").first, 1) << "windows";
}

}  // namespace
}  // namespace vramplan
