#include "planner/mix_search.h"

#include <gtest/gtest.h>
#include <rapidcheck/gtest.h>

#include <cmath>

namespace vramplan {
namespace {

using Option = std::pair<std::int64_t, double>;

std::vector<MixGroup> groups_of(const std::vector<std::vector<Option>>& options) {
  std::vector<MixGroup> groups;
  for (std::size_t g = 0; g < options.size(); ++g) {
    const auto begin = static_cast<std::int64_t>(g);
    groups.push_back({begin, begin + 1, {}});
    for (const auto& [bytes, loss] : options[g]) {
      groups.back().options.push_back({"f16", Bytes{bytes}, loss});
    }
  }
  return groups;
}

/// Every choice there is.
std::vector<Option> all_of(const std::vector<MixGroup>& groups) {
  std::vector<Option> sums = {{0, 0.0}};
  for (const MixGroup& group : groups) {
    std::vector<Option> next;
    for (const auto& [bytes, loss] : sums) {
      for (const MixOption& o : group.options) next.emplace_back(bytes + o.bytes.n, loss + o.loss);
    }
    sums = std::move(next);
  }
  return sums;
}

RC_GTEST_PROP(MixSearch, TheFrontHasTheSmallestChoiceForEveryFloor, ()) {
  std::vector<std::vector<Option>> options(*rc::gen::inRange<std::size_t>(1, 6));
  for (auto& group : options) {
    const int count = *rc::gen::inRange(1, 5);
    for (int i = 0; i < count; ++i) {
      group.emplace_back(*rc::gen::inRange(-20, 20), 0.125 * *rc::gen::inRange(0, 9));
    }
  }
  const std::vector<MixGroup> groups = groups_of(options);
  const std::vector<MixChoice> front = mix_front(groups);
  RC_ASSERT(!front.empty());
  for (std::size_t i = 0; i < front.size(); ++i) {
    if (i > 0) RC_ASSERT(front[i].bytes > front[i - 1].bytes && front[i].loss < front[i - 1].loss);
    Option sum{0, 0.0};
    for (std::size_t g = 0; g < groups.size(); ++g) {
      const MixOption& option = groups[g].options[front[i].options[g]];
      sum.first += option.bytes.n;
      sum.second += option.loss;
    }
    RC_ASSERT(sum == Option(front[i].bytes.n, front[i].loss));
  }
  const double floor = 0.125 * *rc::gen::inRange(0, 40);
  std::int64_t best = 1000;
  for (const auto& [bytes, loss] : all_of(groups)) {
    if (loss <= floor) best = std::min(best, bytes);
  }
  std::int64_t got = 1000;
  for (const MixChoice& choice : front) {
    if (choice.loss <= floor) got = std::min(got, choice.bytes.n);
  }
  RC_ASSERT(got == best);
}

/// Loss falls by 1 from one of the front to the next; a run loses `factor` times what is predicted.
struct Line {
  explicit Line(std::size_t points) {
    for (std::size_t i = 0; i < points; ++i) {
      front.push_back(
          {Bytes{static_cast<std::int64_t>(i)}, static_cast<double>(points - 1 - i), {}});
    }
  }
  MixFound find(double nats, double factor, int most_runs) const {
    return find_mix(front, {false, nats}, most_runs, [&](const MixChoice& choice) {
      return MixLoss{factor * choice.loss, 0};
    });
  }
  std::vector<MixChoice> front;
};

TEST(MixSearch, ARunThatMissesTheFloorSendsTheSearchBack) {
  const Line line(101);
  for (const double factor : {0.3, 0.9, 1.0, 1.1, 2.5, 40.0}) {
    const MixFound found = line.find(20.5, factor, 12);
    ASSERT_TRUE(found.best.has_value()) << factor;
    const MixRun& best = found.runs[*found.best];
    EXPECT_TRUE(best.keeps);
    // The largest loss that the floor lets through, and no other.
    EXPECT_EQ(best.choice.loss, std::floor(std::min(100.0, 20.5 / factor))) << factor;
    EXPECT_LE(found.runs.size(), 12U);
  }
}

TEST(MixSearch, WithFewRunsTheSmallestThatWasSeenToKeepIsGiven) {
  const Line line(1001);
  const MixFound one = line.find(20, 1.0, 1);
  ASSERT_EQ(one.runs.size(), 1U);
  EXPECT_EQ(one.best, 0U);
  EXPECT_EQ(one.runs[0].choice.loss, 20);
  const MixFound none = line.find(20, 1.5, 1);
  EXPECT_FALSE(none.best.has_value());
  EXPECT_EQ(none.runs.size(), 1U);
}

TEST(MixSearch, WhereEvenTheBestMissesNothingIsFound) {
  const std::vector<MixChoice> front = {{Bytes{1}, 5, {}}, {Bytes{2}, 3, {}}};
  const auto found = find_mix(front, {false, 0.1}, 8, [](const MixChoice& choice) {
    return MixLoss{choice.loss, 0};
  });
  EXPECT_FALSE(found.best.has_value());
  EXPECT_LE(found.runs.size(), 2U);
}

TEST(MixSearch, FloorsAreNatsOrPercentOfPerplexity) {
  const QualityFloor kl = parse_quality_floor("kl:0.02", "--quality-floor");
  EXPECT_FALSE(kl.perplexity);
  EXPECT_DOUBLE_EQ(kl.nats, 0.02);
  EXPECT_TRUE(kl.keeps({0.02, 5}));
  EXPECT_FALSE(kl.keeps({0.021, -1}));
  const QualityFloor one = parse_quality_floor("perplexity:+1%", "--quality-floor");
  EXPECT_DOUBLE_EQ(one.nats, std::log1p(0.01));
  EXPECT_TRUE(one.keeps({1, 0.0099}));
  EXPECT_FALSE(one.keeps({0, 0.01}));
  EXPECT_EQ(text_of(kl), "kl:0.02");
  EXPECT_EQ(text_of(one), "perplexity:+1%");
  for (const char* text :
       {"", "kl", "kl:", "kl:0", "kl:-1", "kl:nan", "kl:inf", "kl:11", "kl:0.02x", "ppl:1",
        "perplexity:1%", "perplexity:+1", "perplexity:+%", "perplexity:+0%", "perplexity:+1e9%"}) {
    try {
      parse_quality_floor(text, "--quality-floor");
      ADD_FAILURE() << text;
    } catch (const Error& error) {
      EXPECT_EQ(error.code(), ErrorCode::kUsage);
      EXPECT_EQ(error.field(), "--quality-floor");
    }
  }
}

TEST(MixSearch, AChoiceNamesTheLayersOfItsGroups) {
  std::vector<MixGroup> groups = {{0, 2, {{"f16", {}, 0}, {"int8", {}, 0}}},
                                  {2, 3, {{"kivi2", {}, 0}}}};
  const auto layers = layers_of(groups, {{}, 0, {1, 0}});
  ASSERT_EQ(layers.size(), 2U);
  EXPECT_EQ(layers[0], (LayerWord{0, 2, "int8"}));
  EXPECT_EQ(layers[1], (LayerWord{2, 3, "kivi2"}));
}

}  // namespace
}  // namespace vramplan
