#include "executor/replica_merge.h"

#include <gtest/gtest.h>

#include "modelcards/error.h"

namespace vramplan {
namespace {

Ledger rows(std::int64_t weights, std::int64_t cache) {
  Ledger ledger;
  const auto add = [&](Category category, const char* name, std::int64_t bytes) {
    ledger.add({0, TierKind::kDevice, category, name, Phase::kLoad, Bytes{bytes}, "probe"});
  };
  add(Category::kWeights, "head", weights);
  add(Category::kKvCache, "blocks", cache);
  add(Category::kRuntime, "arena padding", 3);
  add(Category::kRuntime, "process base", 9);
  return ledger;
}

TEST(ReplicaMerge, OneCopyStaysOneAndTheRestAddsUp) {
  const Ledger all = added_up({rows(100, 10), rows(100, 20), rows(100, 30)});
  ASSERT_EQ(all.rows().size(), 4U);
  EXPECT_EQ(all.rows()[0].bytes, 100_B);
  EXPECT_EQ(all.rows()[1].bytes, 60_B);
  EXPECT_EQ(all.rows()[2].bytes, 3_B);
  EXPECT_EQ(all.rows()[3].bytes, 9_B);
  EXPECT_THROW(added_up({rows(100, 10), rows(101, 10)}), Error);
  EXPECT_THROW(added_up({rows(100, 10), Ledger{}}), Error);
}

TEST(ReplicaMerge, TimesAreMeansAndRatesAreSums) {
  Timings a, b;
  a.decode_steps = b.decode_steps = 2;
  a.decode_tokens = b.decode_tokens = 2;
  a.tpot = {1};
  b.tpot = {3};
  a.decode_step_seconds = {1, 1};
  b.decode_step_seconds = {3, 5};
  a.decode_tokens_per_second = 1;
  b.decode_tokens_per_second = 0.5;
  a.decode_terms = {{"linear", 1, {1}}, {"norm", 1, {0.5}}};
  b.decode_terms = {{"norm", 1, {1.5}}, {"linear", 1, {2}}};
  const Timings all = together({a, b});
  EXPECT_EQ(all.tpot.v, 2);
  EXPECT_EQ(all.decode_tokens, 4);
  EXPECT_EQ(all.decode_tokens_per_second, 1.5);
  EXPECT_EQ(all.decode_step_seconds, (std::vector<double>{2, 3}));
  EXPECT_EQ(all.decode_terms[0].seconds.v, 1.5);
  EXPECT_EQ(all.decode_terms[1].seconds.v, 1);
  b.decode_steps = 3;
  EXPECT_THROW(together({a, b}), Error);
}

TEST(ReplicaMerge, SamplesCountTheWeightsOnceAndTheParentBeside) {
  const std::vector<MemorySample> one{{{0}, Phase::kLoad, "loaded", 110_B, 200_B}};
  const auto all = together({one, one, one}, 100_B, 50_B);
  ASSERT_EQ(all.size(), 1U);
  EXPECT_EQ(all[0].taken, 130_B);
  EXPECT_EQ(all[0].resident, 650_B);
}

}  // namespace
}  // namespace vramplan
