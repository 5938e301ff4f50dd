#include "executor/beam_search.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <limits>
#include <set>

#include "executor/rng.h"
#include "modelcards/error.h"

namespace vramplan {
namespace {

/// Logits that depend on the newest token alone.
class Chain {
 public:
  explicit Chain(std::int64_t vocab, std::uint64_t seed = 3) : vocab_(vocab) {
    SplitMix64 rng(seed);
    for (std::int64_t i = 0; i < (vocab + 1) * vocab; ++i) {
      values_.push_back(static_cast<float>(4 * rng.uniform()));
    }
  }
  /// After `token`, or at the start.
  const float* row(std::int32_t token) const { return values_.data() + (token + 1) * vocab_; }
  double log_probability(std::int32_t before, std::int32_t token) const {
    double sum = 0;
    for (std::int64_t i = 0; i < vocab_; ++i) sum += std::exp(static_cast<double>(row(before)[i]));
    return static_cast<double>(row(before)[token]) - std::log(sum);
  }
  double log_probability(const std::vector<std::int32_t>& tokens) const {
    double sum = 0;
    for (std::size_t i = 0; i < tokens.size(); ++i) {
      sum += log_probability(i == 0 ? -1 : tokens[i - 1], tokens[i]);
    }
    return sum;
  }

  /// What a scheduler does with the steps: every beam's tokens, by place.
  std::vector<std::vector<std::int32_t>> run(BeamSearch& search) const {
    const auto beams = static_cast<std::size_t>(search.beam_count());
    std::vector<std::vector<std::int32_t>> places(beams);
    while (!search.done()) {
      std::vector<float> logits;
      for (const auto& tokens : places) {
        const float* from = row(tokens.empty() ? -1 : tokens.back());
        logits.insert(logits.end(), from, from + vocab_);
      }
      const std::vector<BeamStep> steps = search.advance(logits.data(), vocab_, vocab_);
      const auto before = places;
      for (std::size_t i = 0; i < beams; ++i) {
        const BeamStep step = steps[i];
        EXPECT_EQ(steps[static_cast<std::size_t>(step.parent)].parent, step.parent);
        places[i] = before[static_cast<std::size_t>(step.parent)];
        places[i].push_back(step.token);
      }
    }
    return places;
  }

 private:
  std::int64_t vocab_;
  std::vector<float> values_;
};

TEST(BeamSearch, WithABeamForEveryBeginningItFindsTheBestOfAll) {
  const Chain chain(30);
  BeamSearch search({30, 2, {}, 1});
  chain.run(search);
  double best = -1e300;
  for (std::int32_t a = 0; a < 30; ++a) {
    for (std::int32_t b = 0; b < 30; ++b) {
      best = std::max(best, chain.log_probability(std::vector<std::int32_t>{a, b}));
    }
  }
  ASSERT_EQ(search.best().size(), 30U);
  EXPECT_NEAR(search.best().front().score, best / 2, 1e-12);
}

TEST(BeamSearch, PlacesHoldTheTokensThatScoresAreOf) {
  const Chain chain(20);
  BeamSearch search({4, 9, {}, 1});
  const auto places = chain.run(search);
  std::set<std::vector<std::int32_t>> held(places.begin(), places.end()), answered;
  double before = std::numeric_limits<double>::infinity();
  const std::vector<Hypothesis> best = search.best();
  for (const Hypothesis& answer : best) {
    EXPECT_NEAR(answer.score, chain.log_probability(answer.tokens) / 9, 1e-12);
    EXPECT_LE(answer.score, before);
    before = answer.score;
    answered.insert(answer.tokens);
  }
  EXPECT_EQ(held, answered);
  EXPECT_EQ(answered.size(), 4U);
}

TEST(BeamSearch, OneBeamIsGreedy) {
  const Chain chain(20);
  BeamSearch search({1, 6, {}, 1});
  chain.run(search);
  const std::vector<Hypothesis> best = search.best();
  std::int32_t token = -1;
  for (const std::int32_t next : best.front().tokens) {
    const float* row = chain.row(token);
    EXPECT_EQ(next, std::max_element(row, row + 20) - row);
    token = next;
  }
}

/// Three tokens: 2 ends. From the start 0 and 2 have most; what follows decides.
TEST(BeamSearch, AnEndedAnswerIsWorthItsMeanAndStopsTheSearchWhenNothingCanBeat) {
  constexpr float kNever = -30;
  const auto lg = [](double p) { return static_cast<float>(std::log(p)); };
  const float start[] = {lg(0.5), kNever, lg(0.3), lg(0.2), kNever, kNever};
  const float after[] = {lg(0.1), kNever, lg(0.6), lg(0.3), kNever, kNever};
  std::vector<float> later;
  for (int beam = 0; beam < 2; ++beam) later.insert(later.end(), after, after + 6);
  BeamSearch search({2, 10, {2}, 1});
  search.advance(start, 6, 6);
  EXPECT_FALSE(search.done());
  search.advance(later.data(), 6, 6);
  const std::vector<Hypothesis> best = search.best();
  ASSERT_EQ(best.size(), 2U);
  EXPECT_EQ(best[0].tokens, (std::vector<std::int32_t>{0, 2}));
  EXPECT_NEAR(best[0].score, std::log(0.5 * 0.6) / 2, 1e-6);
  EXPECT_EQ(best[1].tokens, (std::vector<std::int32_t>{2}));  // a mean of -1.20
  // The best that goes on: 0 3 with 0.15, a mean of -0.95 and above -1.20.
  EXPECT_FALSE(search.done());
  search.advance(later.data(), 6, 6);  // 0 3 2 with 0.09: -0.80
  EXPECT_EQ(search.best()[0].tokens, (std::vector<std::int32_t>{0, 2}));
  EXPECT_EQ(search.best()[1].tokens, (std::vector<std::int32_t>{0, 3, 2}));
  // 0 3 3 has 0.045, a mean of -1.03: below both.
  EXPECT_TRUE(search.done());
}

TEST(BeamSearch, ASmallVocabularyAndBrokenLogitsAreRefused) {
  const float row[] = {0, 1, std::numeric_limits<float>::quiet_NaN()};
  BeamSearch wide({2, 3, {1}, 1}), broken({2, 3, {}, 1});
  EXPECT_THROW(wide.advance(row, 3, 3), Error);
  try {
    broken.advance(row, 3, 3);
    FAIL();
  } catch (const Error& error) {
    EXPECT_EQ(error.code(), ErrorCode::kInternal);
  }
}

}  // namespace
}  // namespace vramplan
