#include "planner/preemption.h"

#include <gtest/gtest.h>

namespace vramplan {
namespace {

Decisions two(Preempt preempt, std::int64_t pool) {
  Decisions d;
  d.preempt = preempt;
  d.batch = 2;
  d.context = Tokens{9};
  d.output = Tokens{5};
  d.block = TokensPerBlock{4};
  d.kv_blocks = Blocks{pool};
  return d;
}

/// Prompts of 4 tokens take 2 blocks each with the slot of the next. Step 4 is the first that takes
/// the slot of a ninth token, in a third block.
TEST(Preemption, AHandCountOfTwoSequences) {
  const PreemptionForecast enough = replay_preemption(two(Preempt::kSwap, 6));
  EXPECT_EQ(enough.counts, PreemptionCounts{});
  EXPECT_EQ(enough.most_held, Blocks{6});
  EXPECT_EQ(enough.steps, 4);
  EXPECT_EQ(enough.step_tokens, 8);

  const PreemptionForecast swap = replay_preemption(two(Preempt::kSwap, 5));
  EXPECT_EQ(swap.counts.preempted, 1);
  EXPECT_EQ(swap.counts.moved, Blocks{4});
  EXPECT_EQ(swap.most_swapped, Blocks{2});
  EXPECT_EQ(swap.steps, 5);
  const PreemptionForecast again = replay_preemption(two(Preempt::kRecompute, 5));
  EXPECT_EQ(again.counts.recomputed, Tokens{7});
  EXPECT_EQ(again.counts.moved, Blocks{0});
  EXPECT_EQ(again.most_running, 2);

  // With room for one the other waits its turn: nobody gives anything away.
  const PreemptionForecast one = replay_preemption(two(Preempt::kSwap, 3));
  EXPECT_EQ(one.counts.preempted, 0);
  EXPECT_EQ(one.most_running, 1);
  EXPECT_EQ(one.steps, 8);
}

TEST(Preemption, APoolIsCutToWhatIsEverHeld) {
  const Decisions d = with_pool(two(Preempt::kSwap, 0), Blocks{4});
  EXPECT_EQ(d.kv_blocks, replay_preemption(d).most_held);
}

TEST(Preemption, SecondsAreThoseOfTheLinkOrOfComputing) {
  PreemptionForecast forecast;
  forecast.counts.moved = Blocks{10};
  const PreemptionPrices prices{Bytes{1000}, 1e4, 0.5, 2.0};
  EXPECT_DOUBLE_EQ(preemption_seconds(forecast, prices).v, 10 * (0.5 + 0.1));
  forecast.counts = {1, Blocks{0}, Tokens{7}};
  EXPECT_DOUBLE_EQ(preemption_seconds(forecast, prices).v, 14.0);
}

}  // namespace
}  // namespace vramplan
