#include "executor/padded_pass.h"

#include <gtest/gtest.h>

namespace vramplan {
namespace {

const std::int32_t kTable[] = {5, 6};

/// Two sequences that decode behind a residual window; a block of the second leaves it.
struct Step {
  std::vector<std::int32_t> ids{7, 8}, positions{40, 99}, logit_rows{0, 1};
  std::vector<std::int64_t> slots{160, 3};
  std::vector<SequenceSlice> old{{0, 0, 32, kTable}, {1, 32, 64, kTable}},
      newest{{0, 1, 9, kTable}, {1, 1, 36, kTable}};
  std::vector<KvPack> packs{{6, 32}};
  std::vector<GroupInput> groups{{{}, old, {}, {}}, {slots, newest, {}, packs}};
  PassInput input() const { return {ids, positions, groups, logit_rows, true}; }
};

TEST(PaddedPass, AddsRowsThatWriteNothingAndPacksOfNoBlock) {
  const Step step;
  PaddedPass padded;
  const PassInput pass = padded.of(step.input(), 4);
  EXPECT_TRUE(pass.decode);
  EXPECT_EQ(std::vector<std::int32_t>(pass.ids.begin(), pass.ids.end()),
            (std::vector<std::int32_t>{7, 8, 0, 0}));
  EXPECT_EQ(std::vector<std::int32_t>(pass.logit_rows.begin(), pass.logit_rows.end()),
            (std::vector<std::int32_t>{0, 1, 2, 3}));
  ASSERT_EQ(pass.groups.size(), 2U);
  EXPECT_TRUE(pass.groups[0].slots.empty());
  EXPECT_TRUE(pass.groups[0].packs.empty());
  const GroupInput& recent = pass.groups[1];
  EXPECT_EQ(std::vector<std::int64_t>(recent.slots.begin(), recent.slots.end()),
            (std::vector<std::int64_t>{160, 3, -1, -1}));
  ASSERT_EQ(recent.packs.size(), 4U);
  EXPECT_EQ(recent.packs[0].recent_block, 6);
  for (std::size_t i = 1; i < 4; ++i) EXPECT_LT(recent.packs[i].recent_block, 0);
  ASSERT_EQ(recent.slices.size(), 4U);
  EXPECT_EQ(recent.slices[3].query_begin, 3);
  EXPECT_EQ(recent.slices[3].kv_length, 1);
  EXPECT_EQ(pass.groups[0].slices[3].kv_length, 0);
}

TEST(PaddedPass, OfTheSameSizeStillHasAPackASequence) {
  Step step;
  step.packs.clear();
  step.groups[1].packs = step.packs;
  PaddedPass padded;
  EXPECT_EQ(padded.of(step.input(), 2).groups[1].packs.size(), 2U);
}

TEST(PaddedPass, SinkPositionsArePaddedWhereThereAreSinks) {
  const std::vector<std::int32_t> ids{1}, positions{9}, rows{0}, sinks{5};
  const std::vector<std::int64_t> slots{9};
  const std::vector<SequenceSlice> slices{{0, 1, 10, kTable}};
  const std::vector<GroupInput> groups{{slots, slices, sinks, {}}};
  PaddedPass padded;
  const PassInput pass = padded.of({ids, positions, groups, rows, true}, 2);
  EXPECT_EQ(pass.groups[0].sink_positions.size(), 2U);
  EXPECT_EQ(pass.groups[0].sink_positions[0], 5);
}

/// Two sequences of three, of which one has two guesses and the other none, as a step of three rows
/// of each.
TEST(PaddedPass, GuessesLeaveRowsEmptyThatBelongToNoSequence) {
  const std::vector<std::int32_t> ids{1, 2, 3, 4}, positions{7, 8, 9, 3}, rows{0, 1, 2, 3};
  const std::vector<std::int64_t> slots{87, 88, 89, 99};
  const std::vector<SequenceSlice> slices{{0, 3, 10, kTable}, {3, 1, 4, kTable}};
  const std::vector<GroupInput> groups{{slots, slices, {}, {}}};
  PaddedPass padded;
  const PassInput pass = padded.of_guesses({ids, positions, groups, rows, true}, 3, 3);
  EXPECT_EQ(pass.step_queries, 3);
  EXPECT_EQ(pass.ids.size(), 9U);
  EXPECT_EQ(pass.logit_rows.size(), 9U);
  EXPECT_EQ(pass.logit_rows[3], 3);
  for (std::size_t row = 4; row < 9; ++row) EXPECT_LT(pass.groups[0].slots[row], 0);
  ASSERT_EQ(pass.groups[0].slices.size(), 3U);
  EXPECT_EQ(pass.groups[0].slices[1].query_count, 1);
  EXPECT_EQ(pass.groups[0].slices[2].query_count, 0);
  EXPECT_EQ(pass.groups[0].slices[2].kv_length, 0);
}

/// A draft wants the logits of each sequence's last row only.
TEST(PaddedPass, ADraftHasOneRowOfLogitsASequence) {
  const std::vector<std::int32_t> ids{1, 2}, positions{7, 8}, rows{1};
  const std::vector<std::int64_t> slots{87, 88};
  const std::vector<SequenceSlice> slices{{0, 2, 9, kTable}};
  const std::vector<GroupInput> groups{{slots, slices, {}, {}}};
  PaddedPass padded;
  const PassInput pass = padded.of_guesses({ids, positions, groups, rows, true}, 3, 2);
  EXPECT_EQ(pass.ids.size(), 6U);
  ASSERT_EQ(pass.logit_rows.size(), 3U);
  EXPECT_EQ(pass.logit_rows[0], 1);
  EXPECT_EQ(pass.logit_rows[2], 5);
  // Steps of one token are padded as any other.
  const std::vector<SequenceSlice> one{{0, 1, 9, kTable}};
  const std::vector<GroupInput> last{{std::span(slots).first(1), one, {}, {}}};
  const PassInput single =
      padded.of_guesses({std::span(ids).first(1), std::span(positions).first(1), last,
                         std::span(rows).first(1), true},
                        3, 1);
  EXPECT_EQ(single.ids.size(), 3U);
  EXPECT_EQ(single.groups[0].slices[2].query_count, 1);
}

}  // namespace
}  // namespace vramplan
