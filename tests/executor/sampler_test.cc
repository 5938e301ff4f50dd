#include "executor/sampler.h"

#include <gtest/gtest.h>
#include <rapidcheck/gtest.h>

#include <algorithm>
#include <cmath>
#include <limits>
#include <numeric>

#include "modelcards/error.h"

namespace vramplan {
namespace {

TEST(Sampler, GreedyTakesTheHighestAndTheLowestIdOfEquals) {
  const Sampler greedy(Sampling{});
  const std::vector<float> logits{1, 5, -2, 5, 4};
  EXPECT_EQ(greedy.sample(logits, 0, 0), 1);
}

TEST(Sampler, TheNucleusIsTheSmallestSetThatReachesTopP) {
  // Probabilities 0.5, 0.3, 0.15, 0.05.
  const std::vector<float> logits{std::log(0.15F), std::log(0.5F), std::log(0.05F), std::log(0.3F)};
  const auto ids = [&](double top_p) {
    std::vector<std::int32_t> out;
    for (const auto& [id, p] : nucleus(logits, 1, top_p)) out.push_back(id);
    return out;
  };
  EXPECT_EQ(ids(0.4), (std::vector<std::int32_t>{1}));
  EXPECT_EQ(ids(0.6), (std::vector<std::int32_t>{1, 3}));
  EXPECT_EQ(ids(0.9), (std::vector<std::int32_t>{1, 3, 0}));
  EXPECT_EQ(ids(1), (std::vector<std::int32_t>{1, 3, 0, 2}));
  EXPECT_EQ(ids(1e-9), (std::vector<std::int32_t>{1}));
  const auto kept = nucleus(logits, 1, 0.6);
  EXPECT_NEAR(kept[0].second, 0.625, 1e-6);
  EXPECT_NEAR(kept[1].second, 0.375, 1e-6);
}

TEST(Sampler, DrawsWithTheProbabilitiesOfTheNucleus) {
  const std::vector<float> logits{0.5F, 2.0F, 1.0F, -1.0F, 0.0F, 1.5F};
  const double temperature = 0.8, top_p = 0.9;
  const auto kept = nucleus(logits, temperature, top_p);
  const Sampler sampler(Sampling{temperature, top_p, 11});
  constexpr int kDraws = 40000;
  std::vector<int> count(logits.size(), 0);
  for (int i = 0; i < kDraws; ++i) {
    ++count[static_cast<std::size_t>(sampler.sample(logits, i / 100, i % 100))];
  }
  double chi_squared = 0;
  int drawn = 0;
  for (const auto& [id, p] : kept) {
    const double expected = p * kDraws;
    const double off = count[static_cast<std::size_t>(id)] - expected;
    chi_squared += off * off / expected;
    drawn += count[static_cast<std::size_t>(id)];
  }
  EXPECT_EQ(drawn, kDraws);      // nothing outside the nucleus
  EXPECT_LT(chi_squared, 18.5);  // 4 degrees of freedom: p = 0.001
}

TEST(Sampler, IsAFunctionOfSeedSequenceAndStep) {
  std::vector<float> logits(1000);
  for (std::size_t i = 0; i < logits.size(); ++i) logits[i] = std::sin(static_cast<float>(i));
  const Sampler a(Sampling{1, 1, 5}), b(Sampling{1, 1, 5}), c(Sampling{1, 1, 6});
  int same_seed = 0, other_seed = 0, other_sequence = 0;
  for (int step = 0; step < 50; ++step) {
    const std::int32_t token = a.sample(logits, 3, step);
    same_seed += token == b.sample(logits, 3, step);
    other_seed += token == c.sample(logits, 3, step);
    other_sequence += token == a.sample(logits, 4, step);
  }
  EXPECT_EQ(same_seed, 50);
  EXPECT_LT(other_seed, 5);
  EXPECT_LT(other_sequence, 5);
}

TEST(Sampler, NumbersThatCannotBeChosenFromAreErrorsThatNameTheStep) {
  constexpr float kInfinity = std::numeric_limits<float>::infinity();
  const Sampler greedy(Sampling{});
  for (const std::vector<float>& bad :
       {std::vector<float>{1, NAN, 2}, std::vector<float>{1, kInfinity},
        std::vector<float>{-kInfinity, -kInfinity}}) {
    try {
      greedy.sample(bad, 2, 17);
      FAIL();
    } catch (const Error& error) {
      EXPECT_EQ(error.code(), ErrorCode::kInternal);
      EXPECT_NE(error.message().find("sequence 2 at output token 17"), std::string::npos);
    }
  }
  const Sampler warm(Sampling{1, 1, 0});
  EXPECT_EQ(warm.sample(std::vector<float>{-kInfinity, 3}, 0, 0), 1);
}

TEST(Sampler, SettingsOutOfRangeAreUsageErrors) {
  for (const Sampling& bad : {Sampling{-1, 1, 0}, Sampling{NAN, 1, 0}, Sampling{1, 0, 0},
                              Sampling{1, 1.1, 0}, Sampling{1, NAN, 0}}) {
    EXPECT_THROW(Sampler{bad}, Error);
  }
}

RC_GTEST_PROP(Sampler, TheNucleusSumsToOneAndCannotBeSmaller, ()) {
  const auto raw =
      *rc::gen::nonEmpty(rc::gen::container<std::vector<int>>(rc::gen::inRange(-50, 50)));
  const double top_p = *rc::gen::inRange(1, 100) / 100.0;
  std::vector<float> logits(raw.begin(), raw.end());
  for (float& logit : logits) logit /= 10;
  const auto all = nucleus(logits, 1, 1);
  const auto kept = nucleus(logits, 1, top_p);
  RC_ASSERT(all.size() == logits.size());
  double renormalised = 0, covered = 0;
  for (const auto& [id, p] : kept) renormalised += p;
  for (std::size_t i = 0; i < kept.size(); ++i) {
    RC_ASSERT(kept[i].first == all[i].first);
    covered += all[i].second;
  }
  RC_ASSERT(std::fabs(renormalised - 1) < 1e-12);
  RC_ASSERT(covered >= top_p - 1e-12);
  RC_ASSERT(covered - all[kept.size() - 1].second < top_p);
}

}  // namespace
}  // namespace vramplan
