#include "history_cache.h"

namespace vramplan::cuda_test {
namespace {

class AttentionPacked : public CudaKernel {};

void check(const HistoryCase& c) {
  const HistoryProblem problem(c);
  const Values expected = problem.expected();
  for_each_schedule([&] {
    Tensor out(c.dtype, problem.rows(), c.params.heads * c.shape.value_dim,
               std::vector<float>(expected.size(), 0.0F));
    const Bytes room = cuda::attention_decode_workspace(
        static_cast<std::int64_t>(c.slices.size()), c.params.heads, c.shape.value_dim, c.splits);
    Tensor workspace(DType::kF32, 1, room.n / 4);
    cuda::attention_decode_history({}, out.view(), problem.q.view(), problem.recent(),
                                   problem.slices(false), problem.history(), problem.slices(true),
                                   c.params, workspace.view());
    expect_close(out.values(), expected, 2 * tolerance_of(c.dtype), name(c.shape.dtype));
  });
}

TEST_F(AttentionPacked, SmallHistoryAndWindow) {
  for (const DType dtype : {DType::kKivi2, DType::kKivi4}) {
    check({{dtype, 1, 32, 32, 32}, {{64, 5}}, params_of(2), DType::kF32, 4});
  }
}

TEST_F(AttentionPacked, RaggedSlicesGroupsAndSplits) {
  for (const DType dtype : {DType::kKivi2, DType::kKivi4}) {
    for (const std::int64_t group : {1, 3, 5}) {
      check({{dtype, 2, 64, 64, 32}, {{256, 40}, {0, 7}, {32, 33}, {0, 0}}, params_of(2 * group)});
    }
    check({{dtype, 1, 64, 64, 64}, {{480, 1}}, params_of(4), DType::kF32, 20});
  }
}

TEST_F(AttentionPacked, DimensionsSoftcapsAndActivationTypes) {
  for (const DType dtype : kActivations) {
    check({{DType::kKivi2, 1, 128, 128, 32}, {{96, 20}}, params_of(4, 0.09F, 3.0F), dtype});
  }
  for (const DType dtype : {DType::kKivi2, DType::kKivi4}) {
    check({{dtype, 1, 256, 256, 32}, {{64, 20}}, params_of(3, 0.06F)});
  }
  check({{DType::kKivi2, 1, 96, 32, 32}, {{64, 20}}, params_of(2, 0.1F)});
}

/// Of the policy strided: rows of any length in every format.
TEST_F(AttentionPacked, HistoriesOfRows) {
  for (const DType dtype : {DType::kF32, DType::kF16, DType::kBF16, DType::kF8E4M3, DType::kI8,
                            DType::kQ8_0, DType::kQ4_0}) {
    check({{dtype, 2, 64, 32, 16}, {{40, 33}, {0, 7}, {8, 1}, {0, 0}}, params_of(4)});
  }
}

TEST_F(AttentionPacked, SplitsAreTheWindowsTwoAndAtLeastTwoMore) {
  EXPECT_EQ(cuda::attention_history_splits(1, 1, 1, 132), 4);
  EXPECT_EQ(cuda::attention_history_splits(1, 8, 131072, 132), 35);
  EXPECT_EQ(cuda::attention_history_splits(1, 1, 131072, 132), 64);
}

}  // namespace
}  // namespace vramplan::cuda_test
