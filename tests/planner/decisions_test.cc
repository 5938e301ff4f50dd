#include "planner/decisions.h"

#include <gtest/gtest.h>
#include <rapidcheck/gtest.h>

namespace vramplan {
namespace {

RC_GTEST_PROP(Decisions, StagesCoverTheLayersAndDifferByOneAtMost, ()) {
  const int pp = *rc::gen::inRange(1, 40);
  const std::int64_t layers = *rc::gen::inRange<std::int64_t>(pp, 200);
  std::int64_t end = 0, longest = 0, shortest = layers;
  for (int stage = 0; stage < pp; ++stage) {
    const LayerRange range = layers_of_stage(layers, pp, stage);
    RC_ASSERT(range.begin == end);
    end = range.end;
    longest = std::max(longest, range.end - range.begin);
    shortest = std::min(shortest, range.end - range.begin);
  }
  RC_ASSERT(end == layers);
  RC_ASSERT(longest - shortest <= 1);
}

TEST(Decisions, NamesAreTheWordsOfTheFlags) {
  EXPECT_STREQ(name_of(KvFormat::kF32), "f32");
  EXPECT_STREQ(name_of(KvFormat::kBF16), "bf16");
  EXPECT_STREQ(name_of(AttentionAlgorithm::kNaive), "naive");
  EXPECT_EQ(dtype_of(KvFormat::kF16), DType::kF16);
}

}  // namespace
}  // namespace vramplan
