#include "executor/scheduler.h"

#include <gtest/gtest.h>

#include <algorithm>

namespace vramplan {
namespace {

struct Fixture {
  explicit Fixture(std::int64_t blocks) : pool(*tier, Blocks{blocks}, 1_KiB) {}
  std::vector<Scheduler::Cache> caches() { return {{&pool, {}}}; }
  std::unique_ptr<Tier> tier = make_dry_tier(TierKind::kDevice, 1_GiB);
  BlockPool pool;
};

SchedulerOptions options(std::int64_t chunk, std::int64_t output) {
  return {TokensPerBlock{4}, chunk, output, {}, false};
}

TEST(Scheduler, PrefillsEachSequenceInChunksThenDecodesAllTogether) {
  Fixture f(10);
  Scheduler scheduler(f.caches(), {{1, 2, 3, 4, 5}, {6, 7}}, options(3, 3));
  EXPECT_EQ(scheduler.prefill_pass_count(), 3);
  const Pass* pass = scheduler.next();
  EXPECT_EQ(pass->ids, (std::vector<std::int32_t>{1, 2, 3}));
  EXPECT_TRUE(pass->logit_rows.empty());
  scheduler.complete({});
  pass = scheduler.next();
  EXPECT_EQ(pass->ids, (std::vector<std::int32_t>{4, 5}));
  EXPECT_EQ(pass->positions, (std::vector<std::int32_t>{3, 4}));
  EXPECT_EQ(pass->logit_rows, (std::vector<std::int32_t>{1}));
  EXPECT_EQ(pass->groups[0].slices[0].kv_length, 5);
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
  EXPECT_EQ(pass->groups[0].slices[1].query_begin, 1);
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
      Scheduler scheduler(f.caches(),
                          {std::vector<std::int32_t>(static_cast<std::size_t>(prompt), 1)},
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
  Scheduler scheduler(f.caches(), {{1, 2, 3, 4, 5}, {6, 7}, {8, 9, 8, 9}}, options(2, 6));
  std::vector<std::int64_t> seen;
  while (const Pass* pass = scheduler.next()) {
    seen.insert(seen.end(), pass->groups[0].slots.begin(), pass->groups[0].slots.end());
    scheduler.complete(std::vector<std::int32_t>(pass->sampled.size(), 0));
  }
  std::sort(seen.begin(), seen.end());
  EXPECT_EQ(seen.size(), 5U + 2 + 4 + 3 * 5);
  EXPECT_EQ(std::adjacent_find(seen.begin(), seen.end()), seen.end());
}

TEST(Scheduler, ABeamThatTakesOverCopiesWhatDiffersIntoItsOwnBlocks) {
  Fixture f(20);
  SchedulerOptions beams = options(16, 9);
  beams.samples = 3;
  Scheduler scheduler(f.caches(), {{1, 2, 3, 4, 5}}, beams);
  const std::vector<std::int64_t> stay{0, 1, 2};
  scheduler.next();
  scheduler.complete(std::vector<std::int32_t>{10, 20, 30}, stay);
  for (int step = 0; step < 4; ++step) {  // 9 tokens in the cache: the whole block 0 is shared
    const Pass* pass = scheduler.next();
    EXPECT_EQ(pass->groups[0].copies.size(), step == 0 ? 2U : 0U);
    scheduler.complete(std::vector<std::int32_t>{11, 21, 31}, stay);
  }
  EXPECT_EQ(f.pool.held(), Blocks{1 + 3 * 2});
  const Pass* pass = scheduler.next();
  const std::vector<std::int32_t> first(pass->groups[0].slices[0].block_table,
                                        pass->groups[0].slices[0].block_table + 3);
  const std::vector<std::int32_t> last(pass->groups[0].slices[2].block_table,
                                       pass->groups[0].slices[2].block_table + 3);
  scheduler.complete(std::vector<std::int32_t>{12, 22, 13}, std::vector<std::int64_t>{0, 1, 0});
  EXPECT_EQ(scheduler.generated(2), (std::vector<std::int32_t>{10, 11, 11, 11, 11, 13}));
  pass = scheduler.next();
  EXPECT_EQ(first[0], last[0]);
  ASSERT_EQ(pass->groups[0].copies.size(), 2U);
  for (std::size_t i = 0; i < 2; ++i) {
    EXPECT_EQ(pass->groups[0].copies[i].from, first[i + 1]);
    EXPECT_EQ(pass->groups[0].copies[i].to, last[i + 1]);
  }
  scheduler.finish(0);
  scheduler.finish(1);
  scheduler.finish(2);
  scheduler.complete(std::vector<std::int32_t>{1, 1, 1}, stay);
  EXPECT_EQ(scheduler.next(), nullptr);
  f.pool.check_integrity();
}

TEST(Scheduler, TheLastStepAloneHoldsWhatAllStepsWouldHave) {
  Fixture all(20), ends(20);
  Scheduler a(all.caches(), {{1, 2, 3}, {4}}, options(2, 9)),
      b(ends.caches(), {{1, 2, 3}, {4}}, options(2, 9));
  std::int64_t last_a = 0, last_b = 0;
  int steps = 0;
  while (const Pass* pass = a.next()) {
    last_a = pass->groups[0].slices[0].kv_length;
    a.complete(std::vector<std::int32_t>(pass->sampled.size(), 0));
  }
  while (const Pass* pass = b.next()) {
    last_b = pass->groups[0].slices[0].kv_length;
    const bool decode = pass->phase == Phase::kDecode;
    b.complete(std::vector<std::int32_t>(pass->sampled.size(), 0));
    if (decode) b.skip_to_last_step();
    steps += decode;
  }
  EXPECT_EQ(steps, 2);
  EXPECT_EQ(last_a, last_b);
  EXPECT_EQ(all.pool.held(), ends.pool.held());
}

/// A group with a window beside one that keeps all: same rows, other places.
TEST(Scheduler, AWindowedGroupHoldsNoMoreThanAQueryCanSee) {
  Fixture all(20), window(20);
  std::vector<Scheduler::Cache> caches = all.caches();
  caches.push_back({&window.pool, {{}, Tokens{6}}});
  Scheduler scheduler(caches, {{1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11}}, options(4, 20));
  std::int64_t position = 0;
  while (const Pass* pass = scheduler.next()) {
    const Pass::Group& kept = pass->groups[1];
    position += kept.slices[0].query_count;
    EXPECT_EQ(kept.slots.size(), pass->ids.size());
    // The window of the pass's first query and the pass itself, and what shares the first block.
    const std::int64_t queries = kept.slices[0].query_count;
    EXPECT_GE(kept.slices[0].kv_length, std::min(position, 6 - 1 + queries));
    EXPECT_LT(kept.slices[0].kv_length, 6 - 1 + queries + 4);
    EXPECT_LE(window.pool.held().n, 4);
    scheduler.complete(std::vector<std::int32_t>(pass->sampled.size(), 0));
  }
  EXPECT_EQ(all.pool.held(), Blocks{8});
  EXPECT_EQ(window.pool.held(), Blocks{2});  // a query at 30 would see 25 to 30
  window.pool.check_integrity();
}

TEST(Scheduler, SkippingStepsHoldsTheMostBlocksOfTheWindowToo) {
  for (std::int64_t prompt = 1; prompt <= 9; ++prompt) {
    Fixture run(40), skip(40);
    const auto schedule = [&](Fixture& f, bool ends_only) {
      Scheduler scheduler({{&f.pool, {Tokens{2}, Tokens{5}}}},
                          {std::vector<std::int32_t>(static_cast<std::size_t>(prompt), 1), {1, 2}},
                          options(3, 17));
      while (const Pass* pass = scheduler.next()) {
        const bool decode = pass->phase == Phase::kDecode;
        scheduler.complete(std::vector<std::int32_t>(pass->sampled.size(), 0));
        if (decode && ends_only) scheduler.skip_to_last_step();
      }
    };
    schedule(run, false);
    schedule(skip, true);
    EXPECT_EQ(run.pool.most_held(), skip.pool.most_held()) << prompt;
    EXPECT_LT(run.pool.most_held().n, 2 * 4 + 1);
  }
}

/// A window of 64 in blocks of 32 before a history of every second token in blocks of 16.
TEST(Scheduler, ABlockLeavesTheResidualWindowBeforeItWouldOverflow) {
  Fixture old(20), newest(2);
  SchedulerOptions chunks = options(32, 12);
  chunks.block = TokensPerBlock{16};
  chunks.kv_stride = 2;
  Scheduler scheduler(
      {{&old.pool, {}},
       {&newest.pool, {.sinks = {}, .window = Tokens{64}, .budget = {}, .recent = true}}},
      {std::vector<std::int32_t>(120, 1)}, chunks);
  std::int64_t cached = 0, packed = 0;
  while (const Pass* pass = scheduler.next()) {
    const Pass::Group& history = pass->groups[0];
    const Pass::Group& window = pass->groups[1];
    const auto tokens = static_cast<std::int64_t>(pass->ids.size());
    for (const KvPack& pack : window.packs) {
      // Rows of the history follow one another; the block is not written again before it is read.
      EXPECT_EQ(pack.first_slot,
                history.slices[0].block_table[packed / 2 / 16] * 16LL + packed / 2 % 16);
      packed += 32;
    }
    cached += tokens;
    EXPECT_EQ(packed, packed_tokens(Tokens{cached}, Tokens{64}).n);
    EXPECT_TRUE(history.slots.empty());
    EXPECT_EQ(history.slices[0].kv_length, packed / 2);
    EXPECT_EQ(history.slices[0].query_count, static_cast<std::int64_t>(window.packs.size()) * 16);
    EXPECT_EQ(window.slices[0].kv_length, cached - packed)
        << "no token between the two, none twice";
    EXPECT_EQ(window.slices[0].query_count, tokens);
    ASSERT_EQ(window.slots.size(), pass->ids.size());
    for (std::int64_t i = 0; i < tokens; ++i) {
      const std::int64_t at = cached - tokens + i - packed;
      EXPECT_EQ(window.slots[static_cast<std::size_t>(i)],
                window.slices[0].block_table[at / 32] * 32LL + at % 32);
    }
    scheduler.complete(std::vector<std::int32_t>(pass->sampled.size(), 0));
  }
  EXPECT_EQ(cached, 120 + 11);  // the last token is never written
  EXPECT_EQ(packed, 96);
  EXPECT_EQ(old.pool.most_held(), Blocks{3});
  EXPECT_EQ(newest.pool.most_held(), Blocks{2});
}

/// Blocks of 4: the first 10 tokens lie in 3 blocks, the newest 50 in 13 and the one being filled.
TEST(Scheduler, EvictionByMassSparesTheFirstTokensAndTheNewest) {
  Fixture f(40);
  Scheduler scheduler({{&f.pool, {.sinks = {}, .window = {}, .budget = Tokens{80}}}},
                      {std::vector<std::int32_t>(200, 1)}, options(8, 12));
  std::vector<std::int32_t> first, newest;
  std::int64_t evicted = 0, known = 0;
  while (const Pass* pass = scheduler.next()) {
    const SequenceSlice& slice = pass->groups[0].slices[0];
    const std::int64_t blocks = (slice.kv_length + 3) / 4;
    const auto* const table = slice.block_table;
    if (first.empty() && blocks >= 3) first.assign(table, table + 3);
    EXPECT_TRUE(std::equal(first.begin(), first.end(), table));
    for (const std::int32_t block : newest) {
      EXPECT_NE(std::find(table, table + blocks, block), table + blocks);
    }
    known += static_cast<std::int64_t>(pass->ids.size());
    evicted = known - slice.kv_length;
    // The protected ones get the least of all.
    for (std::int64_t i = 0; i < blocks; ++i) {
      slice.block_mass[i] = i < 3 || i >= blocks - 14 ? 1 : 1000;
    }
    const std::int64_t full = slice.kv_length / 4;
    newest.assign(table + std::max<std::int64_t>(0, full - 13), table + full);
    scheduler.complete(std::vector<std::int32_t>(pass->sampled.size(), 0));
  }
  EXPECT_GE(evicted, 200 + 11 - 84);
}

}  // namespace
}  // namespace vramplan
