#include <gtest/gtest.h>
#include <rapidcheck/gtest.h>

#include "executor/scheduler.h"
#include "planner/preemption.h"

namespace vramplan {
namespace {

Decisions decisions_of(Preempt preempt, std::int64_t batch, std::int64_t prompt,
                       std::int64_t output, std::int64_t block) {
  Decisions d;
  d.preempt = preempt;
  d.batch = batch;
  d.context = Tokens{prompt + output};
  d.output = Tokens{output};
  d.block = TokensPerBlock{block};
  return d;
}

struct Passed {
  PreemptionCounts counts;
  Blocks most_held, most_swapped;
  std::vector<std::vector<std::int32_t>> output;
};

/// The scheduler over pools without memory; a token names its sequence and its place.
Passed run_of(const Decisions& d, std::int64_t chunk) {
  const auto tier = make_dry_tier(TierKind::kDevice, 1_GiB);
  BlockPool pool(*tier, d.kv_blocks, 1_KiB), host(*tier, d.swap_blocks, 0_B);
  SchedulerOptions options;
  options.block = d.block;
  options.prefill_chunk = chunk;
  options.output = d.output.n;
  options.preempt = d.preempt;
  const auto prompt = static_cast<std::size_t>((d.context - d.output).n);
  Passed run;
  {
    Scheduler scheduler(
        {{&pool, {}, &host}},
        std::vector(static_cast<std::size_t>(d.batch), std::vector<std::int32_t>(prompt, 1)),
        options);
    while (const Pass* pass = scheduler.next()) {
      pool.check_integrity();
      host.check_integrity();
      std::vector<std::int32_t> tokens;
      for (const std::int64_t sequence : pass->sampled) {
        const auto made = static_cast<std::int64_t>(scheduler.generated(sequence).size());
        tokens.push_back(static_cast<std::int32_t>(1000 * sequence + made));
      }
      scheduler.complete(tokens);
    }
    run.counts = scheduler.preemption();
    for (std::int64_t i = 0; i < d.batch; ++i) run.output.push_back(scheduler.generated(i));
  }
  EXPECT_EQ(pool.held(), Blocks{0});
  EXPECT_EQ(host.held(), Blocks{0});
  run.most_held = pool.most_held();
  run.most_swapped = host.most_held();
  return run;
}

RC_GTEST_PROP(SchedulerPreempt, TakesWhatTheReplayCounts, ()) {
  const auto draw = [](std::int64_t low, std::int64_t high) {
    return *rc::gen::inRange<std::int64_t>(low, high + 1);
  };
  Decisions d = decisions_of(draw(0, 1) == 0 ? Preempt::kSwap : Preempt::kRecompute, draw(1, 6),
                             draw(1, 40), draw(1, 40), draw(1, 9));
  const Blocks one = blocks_for(d.context, d.block);
  d = with_pool(d, one + Blocks{draw(0, one.n * (d.batch - 1))});
  const PreemptionForecast forecast = replay_preemption(d);
  const Passed run = run_of(d, draw(1, 50));
  RC_ASSERT(run.counts == forecast.counts);
  RC_ASSERT(run.most_held == d.kv_blocks);
  RC_ASSERT(run.most_swapped == d.swap_blocks);
  for (std::int64_t i = 0; i < d.batch; ++i) {
    const auto& tokens = run.output[static_cast<std::size_t>(i)];
    RC_ASSERT(static_cast<std::int64_t>(tokens.size()) == d.output.n);
    for (std::size_t t = 0; t < tokens.size(); ++t) {
      RC_ASSERT(tokens[t] == static_cast<std::int32_t>(1000 * i + static_cast<std::int64_t>(t)));
    }
  }
}

TEST(SchedulerPreempt, TheLastComerGivesItsBlocksAwayAndComesBackWithThem) {
  // Two sequences of 4 + 5 tokens in blocks of 4 want 3 blocks each; there are 5.
  Decisions d = decisions_of(Preempt::kSwap, 2, 4, 5, 4);
  d.kv_blocks = d.swap_blocks = Blocks{5};
  const Passed run = run_of(d, 8);
  EXPECT_EQ(run.counts.preempted, 1);
  EXPECT_EQ(run.counts.moved, Blocks{2 * 2});  // 7 tokens in 2 blocks, there and back
  EXPECT_EQ(run.most_swapped, Blocks{2});
  d.preempt = Preempt::kRecompute;
  const Passed again = run_of(d, 8);
  EXPECT_EQ(again.counts.recomputed, Tokens{7});
  EXPECT_EQ(again.output, run.output);
}

TEST(SchedulerPreempt, KnownPrefixesGoBeforeASequenceHasTo) {
  const auto tier = make_dry_tier(TierKind::kDevice, 1_GiB);
  BlockPool pool(*tier, Blocks{4}, 1_KiB);
  SchedulerOptions options;
  options.block = TokensPerBlock{4};
  options.prefill_chunk = 16;
  options.output = 2;
  options.prefix_cache = true;
  // The first is done and gone but for its two known blocks; the second needs three of four.
  options.preempt = Preempt::kRecompute;
  Scheduler scheduler({{&pool, {}}},
                      {std::vector<std::int32_t>(9, 1), std::vector<std::int32_t>(9, 2)}, options);
  while (const Pass* pass = scheduler.next()) {
    scheduler.complete(std::vector<std::int32_t>(pass->sampled.size(), 5));
  }
  EXPECT_EQ(scheduler.generated(1).size(), 2U);
  EXPECT_EQ(scheduler.preemption().preempted, 0);
  EXPECT_LE(scheduler.prefixes()->block_count(), 3);
}

}  // namespace
}  // namespace vramplan
