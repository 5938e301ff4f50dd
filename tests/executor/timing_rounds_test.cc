#include "executor/timing_rounds.h"

#include <gtest/gtest.h>

#include "modelcards/error.h"

namespace vramplan {
namespace {

Timings round_of(double ttft, double prefill, std::vector<double> steps) {
  Timings t;
  t.load = {0.1};
  t.ttft = {ttft};
  t.prefill = {prefill};
  t.prefill_tokens = 100;
  t.decode_steps = static_cast<std::int64_t>(steps.size());
  t.decode_tokens = 4 * t.decode_steps;
  for (const double step : steps) t.decode += Seconds{step};
  t.decode_step_seconds = std::move(steps);
  t.prefill_tokens_per_second = 100 / prefill;
  t.prefill_terms = {{"linear", 1, {prefill}}};
  t.decode_terms = {{"linear", 1, {t.decode.v}}};
  return t;
}

TEST(TimingRounds, OneSlowRoundChangesNothing) {
  const Timings t =
      median_of_rounds({round_of(0.5, 1.0, {0.10, 0.12}), round_of(5.0, 10.0, {0.90, 0.95}),
                        round_of(0.6, 1.2, {0.11, 0.13})});
  EXPECT_EQ(t.rounds, 3);
  EXPECT_DOUBLE_EQ(t.ttft.v, 0.6);
  EXPECT_DOUBLE_EQ(t.prefill.v, 1.2);
  EXPECT_DOUBLE_EQ(t.prefill_tokens_per_second, 100 / 1.2);
  EXPECT_EQ(t.decode_step_seconds.size(), 6U);
  EXPECT_DOUBLE_EQ(t.tpot.v, (0.12 + 0.13) / 2);
  EXPECT_DOUBLE_EQ(t.decode_tokens_per_second, 4 / t.tpot.v);
  EXPECT_EQ(t.prefill_tokens, 100) << "of one round";
  EXPECT_EQ(t.decode_steps, 2) << "of one round";
}

TEST(TimingRounds, TermsAreThoseOfTheMedianRound) {
  const Timings t =
      median_of_rounds({round_of(1, 3.0, {0.1}), round_of(1, 1.0, {0.3}), round_of(1, 2.0, {0.2})});
  ASSERT_EQ(t.prefill_terms.size(), 1U);
  EXPECT_DOUBLE_EQ(t.prefill_terms[0].seconds.v, 2.0);
  EXPECT_DOUBLE_EQ(t.decode_terms[0].seconds.v, 0.2);
}

TEST(TimingRounds, OneRoundIsItself) {
  const Timings t = median_of_rounds({round_of(0.5, 1.0, {0.10, 0.12, 0.2})});
  EXPECT_EQ(t.rounds, 1);
  EXPECT_DOUBLE_EQ(t.tpot.v, 0.12);
  EXPECT_DOUBLE_EQ(t.prefill.v, 1.0);
  EXPECT_EQ(median_of_rounds({}).decode_steps, 0);
}

TEST(TimingRounds, RoundsOfDifferentWorkAreABug) {
  EXPECT_THROW(median_of_rounds({round_of(1, 1, {0.1}), round_of(1, 1, {0.1, 0.1})}), Error);
}

}  // namespace
}  // namespace vramplan
