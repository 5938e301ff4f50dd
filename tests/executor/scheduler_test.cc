#include "executor/scheduler.h"

#include <gtest/gtest.h>

#include <algorithm>

namespace vramplan {
namespace {

struct Fixture {
  explicit Fixture(std::int64_t blocks) : pool(*tier, Blocks{blocks}, 1_KiB) {}
  std::unique_ptr<Tier> tier = make_dry_tier(TierKind::kDevice, 1_GiB);
  BlockPool pool;
};

SchedulerOptions options(std::int64_t chunk, std::int64_t output) {
  return {TokensPerBlock{4}, chunk, output, {}, false};
}

TEST(Scheduler, PrefillsEachSequenceInChunksThenDecodesAllTogether) {
  Fixture f(10);
  Scheduler scheduler(f.pool, {{1, 2, 3, 4, 5}, {6, 7}}, options(3, 3));
  EXPECT_EQ(scheduler.prefill_pass_count(), 3);
  const Pass* pass = scheduler.next();
  EXPECT_EQ(pass->ids, (std::vector<std::int32_t>{1, 2, 3}));
  EXPECT_TRUE(pass->logit_rows.empty());
  scheduler.complete({});
  pass = scheduler.next();
  EXPECT_EQ(pass->ids, (std::vector<std::int32_t>{4, 5}));
  EXPECT_EQ(pass->positions, (std::vector<std::int32_t>{3, 4}));
  EXPECT_EQ(pass->logit_rows, (std::vector<std::int32_t>{1}));
  EXPECT_EQ(pass->slices[0].kv_length, 5);
  scheduler.complete(std::vector<std::int32_t>{10});
  pass = scheduler.next();
  EXPECT_EQ(pass->ids, (std::vector<std::int32_t>{6, 7}));
  EXPECT_EQ(pass->number, 3);
  scheduler.complete(std::vector<std::int32_t>{20});
  pass = scheduler.next();
  EXPECT_EQ(pass->phase, Phase::kDecode);
  EXPECT_EQ(pass->ids, (std::vector<std::int32_t>{10, 20}));
  EXPECT_EQ(pass->positions, (std::vector<std::int32_t>{5, 2}));
  EXPECT_EQ(pass->sampled, (std::vector<std::int64_t>{0, 1}));
  EXPECT_EQ(pass->slices[1].query_begin, 1);
  scheduler.complete(std::vector<std::int32_t>{11, 21});
  pass = scheduler.next();
  scheduler.complete(std::vector<std::int32_t>{12, 22});
  EXPECT_EQ(scheduler.next(), nullptr);
  EXPECT_EQ(scheduler.generated(0), (std::vector<std::int32_t>{10, 11, 12}));
}

TEST(Scheduler, AFinishedSequenceHoldsTheBlocksOfItsWholeContext) {
  for (std::int64_t prompt = 1; prompt <= 9; ++prompt) {
    for (std::int64_t output = 1; output <= 5; ++output) {
      Fixture f(10);
      Scheduler scheduler(f.pool, {std::vector<std::int32_t>(static_cast<std::size_t>(prompt), 1)},
                          options(4, output));
      while (const Pass* pass = scheduler.next()) {
        scheduler.complete(std::vector<std::int32_t>(pass->sampled.size(), 0));
      }
      EXPECT_EQ(f.pool.held(), blocks_for(Tokens{prompt + output}, TokensPerBlock{4}));
    }
  }
}

TEST(Scheduler, SlotsOfSequencesNeverMeet) {
  Fixture f(20);
  Scheduler scheduler(f.pool, {{1, 2, 3, 4, 5}, {6, 7}, {8, 9, 8, 9}}, options(2, 6));
  std::vector<std::int64_t> seen;
  while (const Pass* pass = scheduler.next()) {
    seen.insert(seen.end(), pass->slots.begin(), pass->slots.end());
    scheduler.complete(std::vector<std::int32_t>(pass->sampled.size(), 0));
  }
  std::sort(seen.begin(), seen.end());
  EXPECT_EQ(seen.size(), 5U + 2 + 4 + 3 * 5);
  EXPECT_EQ(std::adjacent_find(seen.begin(), seen.end()), seen.end());
}

TEST(Scheduler, TheLastStepAloneHoldsWhatAllStepsWouldHave) {
  Fixture all(20), ends(20);
  Scheduler a(all.pool, {{1, 2, 3}, {4}}, options(2, 9)),
      b(ends.pool, {{1, 2, 3}, {4}}, options(2, 9));
  std::int64_t last_a = 0, last_b = 0;
  int steps = 0;
  while (const Pass* pass = a.next()) {
    last_a = pass->slices[0].kv_length;
    a.complete(std::vector<std::int32_t>(pass->sampled.size(), 0));
  }
  while (const Pass* pass = b.next()) {
    last_b = pass->slices[0].kv_length;
    const bool decode = pass->phase == Phase::kDecode;
    b.complete(std::vector<std::int32_t>(pass->sampled.size(), 0));
    if (decode) b.skip_to_last_step();
    steps += decode;
  }
  EXPECT_EQ(steps, 2);
  EXPECT_EQ(last_a, last_b);
  EXPECT_EQ(all.pool.held(), ends.pool.held());
}

}  // namespace
}  // namespace vramplan
