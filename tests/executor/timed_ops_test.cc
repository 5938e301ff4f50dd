#include "executor/timed_ops.h"

#include <gtest/gtest.h>

#include "executor/dry_ops.h"
#include "planner/op_work.h"

namespace vramplan {
namespace {

/// Every call takes a second for each operation kind's own number.
class Fixture : public ::testing::Test {
 protected:
  VirtualClock clock_;
  DryOps ops_{DeviceKind::kCpu, 1, DType::kI8, clock_,
              [](const DryWork& work) { return Seconds{1.0 + static_cast<double>(work.op)}; }};
  TimedOps timed_{ops_, clock_};
  TensorView x_{nullptr, DType::kF32, 3, 64}, out_{nullptr, DType::kF32, 3, 32};
};

using TimedOpsTest = Fixture;

TEST_F(TimedOpsTest, SumsTheSecondsOfEachOperationUnderThePlannersNames) {
  const WeightView q8{{nullptr, DType::kQ8_0, 32, 64}, 0}, f16{{nullptr, DType::kF16, 32, 64}, 0};
  timed_.linear(out_, x_, q8, {}, {});
  timed_.linear(out_, x_, q8, {}, {});
  timed_.linear(out_, x_, f16, {}, {});
  timed_.add(x_, x_);
  timed_.rmsnorm(x_, x_, {}, 1e-5F, false);
  const OpTimings timings = timed_.take();
  EXPECT_EQ(timings.size(), 4U);
  EXPECT_EQ(timings.at("linear q8_0").calls, 2);
  EXPECT_EQ(timings.at("linear q8_0").seconds,
            2 * (1.0 + static_cast<double>(DryOp::kLinearDecode)));
  EXPECT_EQ(timings.at("linear f16").calls, 1);
  EXPECT_EQ(timings.at(name_of(OpKind::kAdd)).seconds, 1.0 + static_cast<double>(DryOp::kAdd));
  EXPECT_EQ(timings.at(name_of(OpKind::kNorm)).calls, 1);
  EXPECT_TRUE(timed_.take().empty());
}

TEST_F(TimedOpsTest, AttentionOfSingleQueriesIsDecode) {
  KvLayerView kv;
  kv.kv_heads = 1;
  kv.head_dim = 32;
  kv.value_dim = 16;
  AttentionParams params;
  params.heads = 2;
  const SequenceSlice single[] = {{0, 1, 9, nullptr}, {1, 1, 4, nullptr}},
                      mixed[] = {{0, 1, 9, nullptr}, {1, 2, 4, nullptr}};
  timed_.attention(out_, x_, kv, single, params, {});
  EXPECT_EQ(timed_.take().begin()->first, name_of(OpKind::kAttentionDecode));
  timed_.attention(out_, x_, kv, mixed, params, {});
  EXPECT_EQ(timed_.take().begin()->first, name_of(OpKind::kAttentionPrefill));
}

TEST_F(TimedOpsTest, AnswersQuestionsAsTheOpsBelow) {
  EXPECT_EQ(timed_.linear_workspace(5, 64, DType::kQ4_1),
            ops_.linear_workspace(5, 64, DType::kQ4_1));
  EXPECT_GT(timed_.linear_workspace(5, 64, DType::kQ4_1).n, 0);
}

}  // namespace
}  // namespace vramplan
