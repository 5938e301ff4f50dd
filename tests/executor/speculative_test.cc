#include "executor/speculative.h"

#include <gtest/gtest.h>

#include <cmath>
#include <map>

#include "executor/rng.h"

namespace vramplan {
namespace {

using Tokens32 = std::vector<std::int32_t>;

TEST(NgramGuesses, AreWhatFollowedTheLongestAndLatestMatch) {
  EXPECT_EQ(ngram_guesses(Tokens32{1, 2, 3, 9, 8, 7, 1, 2, 3}, 2), (Tokens32{9, 8}));
  EXPECT_EQ(ngram_guesses(Tokens32{5, 3, 4, 5, 3, 6, 5, 3}, 1), (Tokens32{6})) << "the latest";
  EXPECT_EQ(ngram_guesses(Tokens32{1, 2, 3, 4, 9, 3, 5, 1, 2, 3}, 1), (Tokens32{4}))
      << "three alike before one";
  EXPECT_EQ(ngram_guesses(Tokens32{1, 2, 3}, 3), (Tokens32{3, 3, 3})) << "nothing is found";
  EXPECT_EQ(ngram_guesses(Tokens32{4, 4}, 3), (Tokens32{4, 4, 4}));
  EXPECT_EQ(ngram_guesses(Tokens32{7, 8, 7}, 4), (Tokens32{8, 7, 7, 7})) << "the end comes first";
  EXPECT_EQ(ngram_guesses(Tokens32{7}, 2), (Tokens32{7, 7}));
  EXPECT_TRUE(ngram_guesses(Tokens32{7, 7}, 0).empty());
}

TEST(KeepGuesses, GreedyTokensAreThoseOfTheModelAlone) {
  const auto only = [](std::int32_t token) { return Distribution{{token, 1.0}}; };
  const std::vector<Distribution> model = {only(4), only(5), only(6)};
  const auto zero = [] { return 0.999999; };
  EXPECT_EQ(keep_guesses(Tokens32{4, 5}, model, {}, zero), (Tokens32{4, 5, 6}));
  EXPECT_EQ(keep_guesses(Tokens32{4, 9}, model, {}, zero), (Tokens32{4, 5}));
  EXPECT_EQ(keep_guesses(Tokens32{9, 5}, model, {}, zero), (Tokens32{4}));
  const std::vector<Distribution> guesser = {only(4), only(9)};
  EXPECT_EQ(keep_guesses(Tokens32{4, 9}, model, guesser, zero), (Tokens32{4, 5}));
}

/// Pearson's statistic of counts against probabilities.
double chi_square(const std::map<std::int32_t, int>& counts, const Distribution& expected,
                  int draws) {
  double sum = 0;
  for (const auto& [token, probability] : expected) {
    const auto found = counts.find(token);
    const double seen = found == counts.end() ? 0 : found->second, mean = probability * draws;
    sum += (seen - mean) * (seen - mean) / mean;
  }
  return sum;
}

std::int32_t draw(const Distribution& distribution, double uniform) {
  double sum = 0;
  for (const auto& [token, probability] : distribution) {
    sum += probability;
    if (uniform < sum) return token;
  }
  return distribution.back().first;
}

struct Seen {
  std::map<std::int32_t, int> first, second;  // tokens of the two places; the second when reached
  int seconds = 0, kept = 0;
};

/// Two guesses a round, from a guesser unlike the model; `biased` skips the rule.
Seen play(const std::vector<Distribution>& model, const std::vector<Distribution>& guesser,
          bool sure, int rounds, bool biased = false) {
  SplitMix64 rng(42);
  Seen seen;
  for (int i = 0; i < rounds; ++i) {
    Tokens32 guesses;
    for (const Distribution& q : guesser) guesses.push_back(sure ? 1 : draw(q, rng.uniform()));
    const std::span<const Distribution> from =
        sure ? std::span<const Distribution>() : std::span<const Distribution>(guesser);
    const Tokens32 tokens =
        biased ? guesses : keep_guesses(guesses, model, from, [&] { return rng.uniform(); });
    ++seen.first[tokens[0]];
    seen.kept += static_cast<int>(tokens.size()) - 1;
    if (tokens.size() < 2) continue;
    ++seen.second[tokens[1]];
    ++seen.seconds;
  }
  return seen;
}

constexpr double kMostOfThree = 16.27;  // chi-square, 3 degrees of freedom, 0.001

TEST(KeepGuesses, TheDistributionIsTheModelsWhoeverGuessed) {
  const std::vector<Distribution> model = {{{0, 0.5}, {1, 0.3}, {2, 0.15}, {3, 0.05}},
                                           {{0, 0.1}, {1, 0.2}, {2, 0.3}, {3, 0.4}},
                                           {{0, 0.25}, {1, 0.25}, {2, 0.25}, {3, 0.25}}};
  const std::vector<Distribution> unlike = {{{0, 0.1}, {1, 0.2}, {2, 0.3}, {3, 0.4}},
                                            {{1, 0.9}, {2, 0.1}}};
  constexpr int kRounds = 40'000;
  for (const bool sure : {false, true}) {
    const Seen seen = play(model, unlike, sure, kRounds);
    EXPECT_LT(chi_square(seen.first, model[0], kRounds), kMostOfThree) << sure;
    EXPECT_GT(seen.seconds, kRounds / 10);
    EXPECT_LT(chi_square(seen.second, model[1], seen.seconds), kMostOfThree) << sure;
  }
  // The test can tell: guesses that are kept whatever the model says are not its tokens.
  EXPECT_GT(chi_square(play(model, unlike, false, kRounds, true).first, model[0], kRounds), 1000);
}

TEST(KeepGuesses, SoManyAreKeptAsTheTwoDistributionsShare) {
  const std::vector<Distribution> model = {{{0, 0.6}, {1, 0.4}}, {{0, 0.6}, {1, 0.4}}, {{0, 1.0}}};
  const std::vector<Distribution> guesser = {{{0, 0.2}, {1, 0.8}}, {{0, 0.2}, {1, 0.8}}};
  constexpr int kRounds = 20'000;
  const double share = 0.2 + 0.4;  // sum of min(p, q)
  const Seen seen = play(model, guesser, false, kRounds);
  EXPECT_NEAR(static_cast<double>(seen.kept) / kRounds, share + share * share, 0.02);
}

TEST(KeepGuesses, WithoutGuessesATokenIsDrawn) {
  const std::vector<Distribution> model = {{{3, 0.5}, {4, 0.5}}};
  EXPECT_EQ(keep_guesses({}, model, {}, [] { return 0.4; }), (Tokens32{3}));
  EXPECT_EQ(keep_guesses({}, model, {}, [] { return 0.6; }), (Tokens32{4}));
}

}  // namespace
}  // namespace vramplan
