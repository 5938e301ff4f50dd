#include "planner/op_work.h"

#include <gtest/gtest.h>
#include <rapidcheck/gtest.h>

#include "modelcards/units.h"

namespace vramplan {
namespace {

TEST(OpWork, LinearReadsTheWeightsOnceWhateverTheTokens) {
  const OpWork one = linear_work(1, 4096, 1024, DType::kQ4_0, DType::kF32);
  EXPECT_DOUBLE_EQ(one.bytes, 1024.0 * 4096 / 32 * 18 + (4096 + 1024) * 4);
  EXPECT_DOUBLE_EQ(one.flops, 2.0 * 4096 * 1024);
  const OpWork many = linear_work(100, 4096, 1024, DType::kQ4_0, DType::kF32);
  EXPECT_DOUBLE_EQ(many.bytes - one.bytes, 99.0 * (4096 + 1024) * 4);
  EXPECT_DOUBLE_EQ(many.flops, 100 * one.flops);
}

TEST(OpWork, DecodeAttentionReadsTheCacheOnce) {
  const AttentionShape shape{32, 8, 128, 128, 0, DType::kF16, DType::kF32, false};
  const OpWork work = attention_work(shape, 1, 1000);
  EXPECT_EQ(work.op, OpKind::kAttentionDecode);
  EXPECT_DOUBLE_EQ(work.bytes, 1000.0 * 8 * 256 * 2 + 32 * 256 * 4);
  EXPECT_DOUBLE_EQ(work.flops, 2.0 * 1000 * 32 * 256);
}

TEST(OpWork, CausalAttentionSeesHalfTheSquare) {
  const AttentionShape shape{1, 1, 64, 64, 0, DType::kF16, DType::kF32, false};
  EXPECT_DOUBLE_EQ(attention_work(shape, 100, 100).flops, 2.0 * 128 * 100 * 101 / 2);
  // The second chunk also sees the first.
  EXPECT_DOUBLE_EQ(attention_work(shape, 100, 200).flops, 2.0 * 128 * (100 * 100 + 100 * 101 / 2));
}

TEST(OpWork, RingCollectivesMoveTheirShare) {
  EXPECT_DOUBLE_EQ(all_reduce_work(10, 100, DType::kBF16, 4).bytes, 10.0 * 100 * 2 * 1.5);
  EXPECT_DOUBLE_EQ(all_reduce_work(10, 100, DType::kBF16, 1).bytes, 0);
  EXPECT_DOUBLE_EQ(all_gather_work(2, 50, DType::kF32, 4).bytes, 2.0 * 50 * 4 * 3);
}

/// Query by query, the slow way.
double pairs_by_hand(std::int64_t queries, std::int64_t kv_length, std::int64_t window) {
  double pairs = 0;
  for (std::int64_t j = 0; j < queries; ++j) {
    const std::int64_t seen = kv_length - queries + j + 1;
    pairs += static_cast<double>(window > 0 ? std::min(seen, window) : seen);
  }
  return pairs;
}

RC_GTEST_PROP(OpWork, RepeatedPassesAreTheSumOfThePasses, ()) {
  const std::int64_t queries = *rc::gen::inRange<std::int64_t>(1, 40);
  const std::int64_t first = queries + *rc::gen::inRange<std::int64_t>(0, 100);
  const std::int64_t repeat = *rc::gen::inRange<std::int64_t>(1, 12);
  AttentionShape shape{4,
                       2,
                       16,
                       8,
                       *rc::gen::inRange<std::int64_t>(0, 120),
                       DType::kF16,
                       DType::kF32,
                       *rc::gen::arbitrary<bool>()};
  double bytes = 0, pairs = 0;
  for (std::int64_t i = 0; i < repeat; ++i) {
    const std::int64_t length = first + i * queries;
    bytes += attention_work(shape, queries, length).bytes;
    pairs += pairs_by_hand(queries, length, shape.window_tokens);
    const double read = static_cast<double>(
        shape.window_tokens > 0 ? std::min(length, shape.window_tokens - 1 + queries) : length);
    const double scores = shape.naive ? 16.0 * 4 * static_cast<double>(queries * length) : 0.0;
    RC_ASSERT(std::abs(attention_work(shape, queries, length).bytes -
                       (read * 2 * 24 * 2 + static_cast<double>(queries) * 4 * 24 * 4 + scores)) <
              1e-3);
  }
  const OpWork all = attention_work(shape, queries, first, repeat);
  RC_ASSERT(all.calls == repeat);
  RC_ASSERT(std::abs(all.bytes - bytes) < 1e-3);
  RC_ASSERT(std::abs(all.flops - 2 * pairs * 4 * 24) < 1e-3);
}

}  // namespace
}  // namespace vramplan
