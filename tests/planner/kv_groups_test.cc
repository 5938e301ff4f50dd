#include "planner/kv_groups.h"

#include <gtest/gtest.h>
#include <rapidcheck/gtest.h>

#include <algorithm>

#include "cards.h"

namespace vramplan {
namespace {

using namespace test;

/// The passes of planner/README.md, block by block: no arithmetic shared with the formula.
class Replay {
 public:
  Replay(const KvKeep& keep, const Decisions& d)
      : keep_(keep), d_(d), sequences_(static_cast<std::size_t>(d.batch)) {}

  std::int64_t most() {
    const std::int64_t prompt = (d_.context - d_.output).n;
    for (Sequence& s : sequences_) {
      while (s.cached < prompt) {
        const std::int64_t count = std::min(prompt - s.cached, d_.prefill_chunk.n);
        take(s, s.cached + count + (s.cached + count == prompt ? 1 : 0));
        longest_ = std::max(longest_, kept(s, s.cached + count));
        s.cached += count;
        release(s);
      }
    }
    for (std::int64_t step = 1; step < d_.output.n; ++step) {
      for (Sequence& s : sequences_) take(s, s.cached + 2);
      for (Sequence& s : sequences_) {
        decode_longest_ = std::max(decode_longest_, kept(s, s.cached + 1));
        ++s.cached;
        release(s);
      }
    }
    return most_;
  }
  std::int64_t longest() const { return longest_; }
  std::int64_t decode_longest() const { return decode_longest_; }

 private:
  struct Sequence {
    std::int64_t cached = 0;
    std::vector<bool> held;  // by block
  };
  void take(Sequence& s, std::int64_t tokens) {
    while (static_cast<std::int64_t>(s.held.size()) * d_.block.n < tokens) {
      s.held.push_back(true);
      most_ = std::max(most_, ++now_);
    }
  }
  /// With a budget: which block goes does not matter to how many there are.
  void release_over_budget(Sequence& s) {
    for (std::size_t b = 0; b < s.held.size(); ++b) {
      std::int64_t begun = 0;
      for (std::size_t i = 0; i < s.held.size(); ++i) {
        const bool has_tokens = static_cast<std::int64_t>(i) * d_.block.n < s.cached;
        begun += s.held[i] && has_tokens ? 1 : 0;
      }
      if (begun * d_.block.n < keep_.budget.n + d_.block.n) return;
      if (!s.held[b]) continue;
      s.held[b] = false;
      --now_;
    }
  }
  void release(Sequence& s) {
    if (keep_.budget.n > 0) return release_over_budget(s);
    for (std::size_t b = 0; b < s.held.size(); ++b) {
      const std::int64_t first = static_cast<std::int64_t>(b) * d_.block.n;
      bool seen = first < keep_.sinks.n;
      for (std::int64_t t = first; t < first + d_.block.n; ++t) {
        seen = seen || t > s.cached - keep_.window.n;
      }
      if (seen || !s.held[b]) continue;
      s.held[b] = false;
      --now_;
    }
  }
  std::int64_t kept(const Sequence& s, std::int64_t end) const {
    std::int64_t count = 0;
    for (std::int64_t t = 0; t < end; ++t)
      count += s.held[static_cast<std::size_t>(t / d_.block.n)] ? 1 : 0;
    return count;
  }

  KvKeep keep_;
  Decisions d_;
  std::vector<Sequence> sequences_;
  std::int64_t now_ = 0, most_ = 0, longest_ = 0, decode_longest_ = 0;
};

RC_GTEST_PROP(KvGroups, TheMostBlocksAreThoseOfAReplay, ()) {
  Decisions d = decisions_of();
  d.context = Tokens{*rc::gen::inRange<std::int64_t>(2, 200)};
  d.output = Tokens{*rc::gen::inRange<std::int64_t>(1, d.context.n)};
  d.batch = *rc::gen::inRange<std::int64_t>(1, 4);
  d.block = TokensPerBlock{*rc::gen::inRange<std::int64_t>(1, 20)};
  d.prefill_chunk = Tokens{*rc::gen::inRange<std::int64_t>(1, 80)};
  KvKeep keep{Tokens{*rc::gen::inRange<std::int64_t>(0, 30)},
              Tokens{*rc::gen::inRange<std::int64_t>(1, 90)}};
  if (*rc::gen::inRange(0, 2) == 1) {  // at least two blocks: the newest is never given back
    keep = {{}, {}, Tokens{d.block.n + *rc::gen::inRange<std::int64_t>(1, 90)}};
  }
  Replay replay(keep, d);
  const std::int64_t most = replay.most();
  RC_ASSERT(kept_blocks(keep, d).n == most);
  RC_ASSERT(most <= table_blocks(d, keep).n * d.batch);
  // Every chunk but the last alone, then the last: the longest of both.
  const std::int64_t prompt = (d.context - d.output).n, chunk = std::min(d.prefill_chunk.n, prompt);
  const std::int64_t full = ceil_div(prompt, chunk) - 1;
  std::int64_t longest = most_kept_length(keep, d.block, {prompt - full * chunk, prompt, prompt});
  if (full > 0)
    longest = std::max(longest, most_kept_length(keep, d.block, {chunk, chunk, full * chunk}));
  RC_ASSERT(longest == replay.longest());
  if (d.output.n > 1) {
    RC_ASSERT(most_kept_length(keep, d.block, {1, prompt + 1, d.context.n - 1}) ==
              replay.decode_longest());
  }
}

TEST(KvGroups, AHandCountOfAWindow) {
  Decisions d = decisions_of();
  d.context = 1024_tokens;
  d.output = 24_tokens;
  d.prefill_chunk = 100_tokens;
  // Chunk 9 begins at 900 and sees from 869 on, in block 54; it ends at 1000, and the first answer
  // has slot 1000 in block 62.
  EXPECT_EQ(kept_blocks({{}, 32_tokens}, d).n, 62 - 54 + 1);
  // Four sinks keep block 0.
  EXPECT_EQ(kept_blocks({4_tokens, 32_tokens}, d).n, 62 - 54 + 1 + 1);
  EXPECT_EQ(kept_blocks({}, d).n, 64);
  EXPECT_EQ(kept_blocks({{}, 5000_tokens}, d).n, 64);
  EXPECT_EQ(table_blocks(d, {{}, 32_tokens}).n, ceil_div(132, 16) + 1);
}

TEST(KvGroups, AVeryLongContextIsCountedInAMoment) {
  Decisions d = decisions_of();
  d.context = Tokens{std::int64_t{1} << 40};
  d.output = Tokens{1 << 30};
  d.prefill_chunk = Tokens{511};
  d.block = TokensPerBlock{1 << 20};
  // A window of 4096 may lie in two blocks of a million tokens.
  EXPECT_EQ(kept_blocks({{}, 4096_tokens}, d).n, 2);
}

TEST(KvGroups, LayersThatKeepTheSameAreOneGroup) {
  ModelCard card = llama("mixed", {6, 64, 4, 2, 16, 128, 100});
  for (const int i : {0, 2, 3}) {
    card.layers[static_cast<std::size_t>(i)].mixer.kind = MixerKind::kSlidingWindow;
    card.layers[static_cast<std::size_t>(i)].mixer.window_tokens = i == 3 ? 8 : 40;
  }
  Decisions d = decisions_of();
  d.kv_policy = KvPolicy::kWindow;
  const std::int64_t layer = 2 * 2 * 16 * 2;
  const auto groups = kv_group_bytes(rank_model(card, d, {}, 0), d);
  ASSERT_EQ(groups.size(), 3U);
  EXPECT_TRUE(groups[0].keep.all());
  EXPECT_EQ(groups[0].per_token.n, 3 * layer);
  EXPECT_EQ(groups[1].keep.window, 8_tokens);
  EXPECT_EQ(groups[1].per_token.n, layer);
  EXPECT_EQ(groups[2].per_token.n, 2 * layer);
  EXPECT_EQ(window_pools(card, d).size(), 2U);
  d.kv_policy = KvPolicy::kKeepAll;
  EXPECT_EQ(kv_group_bytes(rank_model(card, d, {}, 0), d).size(), 1U);
  EXPECT_TRUE(window_pools(card, d).empty());
}

}  // namespace
}  // namespace vramplan
