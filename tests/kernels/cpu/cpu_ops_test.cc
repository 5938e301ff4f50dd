#include "kernels/cpu/cpu_ops.h"

#include <gtest/gtest.h>

#include "kernels/workspace.h"
#include "random_tensors.h"

namespace vramplan {
namespace {

TEST(CpuOps, AddAndGatherRows) {
  const auto ops = make_cpu_ops(2);
  std::vector<float> x = random_floats(300 * 70, 1), y = random_floats(300 * 70, 2);
  std::vector<float> sum = x;
  ops->add(view(sum, 300, 70), view(y, 300, 70));
  for (std::size_t i = 0; i < x.size(); ++i) ASSERT_EQ(sum[i], x[i] + y[i]);
  const std::vector<std::int32_t> rows = {299, 0, 299, 17};
  std::vector<float> out(4 * 70);
  ops->gather_rows(view(out, 4, 70), view(x, 300, 70), rows);
  for (std::size_t i = 0; i < out.size(); ++i) {
    ASSERT_EQ(out[i], x[static_cast<std::size_t>(rows[i / 70]) * 70 + i % 70]);
  }
}

TEST(CpuOps, ScratchIsTheRuleOfTheWorkspaceHeader) {
  const auto ops = make_cpu_ops(3);
  EXPECT_EQ(ops->linear_workspace(5, 576, DType::kQ4_1), Bytes{5 * 18 * 40});
  EXPECT_EQ(ops->linear_workspace(512, 576, DType::kF16), Bytes{});
  EXPECT_EQ(ops->linear_workspace(512, 576, DType::kF32), Bytes{});
  const auto unrounded = make_cpu_ops(3, DType::kF32);
  EXPECT_EQ(unrounded->linear_workspace(5, 576, DType::kQ4_1), Bytes{3 * 4 * 576 * 4});
  EXPECT_EQ(unrounded->linear_workspace(512, 576, DType::kF16), Bytes{});
  const SequenceSlice slices[] = {{0, 1, 100, nullptr}, {1, 7, 50, nullptr}, {8, 1, 3, nullptr}};
  KvLayerView kv;
  kv.value_dim = 64;
  AttentionParams params;
  params.heads = 9;
  EXPECT_EQ(ops->attention_workspace(slices, kv, params), Bytes{2 * 9 * 3 * 66 * 4});
  params.naive = true;
  EXPECT_EQ(ops->attention_workspace(slices, kv, params), Bytes{9 * 7 * 50 * 4});
}

TEST(CpuOps, EmptyInputsAreNoError) {
  const auto ops = make_cpu_ops(2);
  std::vector<float> none, w(64, 1.0F);
  ops->add(view(none, 0, 64), view(none, 0, 64));
  ops->rmsnorm(view(none, 0, 64), view(none, 0, 64), view(w, 1, 64), 1e-5F, false);
  WeightView weight;
  weight.tensor = view(w, 1, 64);
  ops->linear(view(none, 0, 1), view(none, 0, 64), weight, {}, {});
}

TEST(CpuOps, RefusesInputsOfAnotherFormat) { EXPECT_THROW(make_cpu_ops(1, DType::kF16), Error); }
TEST(CpuOps, RefusesZeroThreads) { EXPECT_THROW(make_cpu_ops(0), Error); }

}  // namespace
}  // namespace vramplan
