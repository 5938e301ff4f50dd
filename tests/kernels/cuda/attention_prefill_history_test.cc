#include "history_cache.h"

namespace vramplan::cuda_test {
namespace {

class AttentionPrefillHistory : public CudaKernel {};

void check(const HistoryCase& c) {
  const HistoryProblem problem(c);
  const Values expected = problem.expected();
  for_each_schedule([&] {
    Tensor out(c.dtype, problem.rows(), c.params.heads * c.shape.value_dim,
               std::vector<float>(expected.size(), 0.0F));
    cuda::attention_prefill_history({}, out.view(), problem.q.view(), problem.recent(),
                                    problem.slices(false), problem.history(), problem.slices(true),
                                    c.params);
    expect_close(out.values(), expected, 2 * tolerance_of(c.dtype), name(c.shape.dtype));
  });
}

TEST_F(AttentionPrefillHistory, SmallHistoryAndWindow) {
  for (const DType dtype : {DType::kKivi2, DType::kKivi4}) {
    check({{dtype, 1, 32, 32, 32}, {{32, 5, 3}}, params_of(2)});
  }
}

TEST_F(AttentionPrefillHistory, RaggedSlicesOfPackedTiles) {
  for (const DType dtype : {DType::kKivi2, DType::kKivi4}) {
    check({{dtype, 2, 64, 64, 64}, {{96, 40, 19}, {0, 7, 7}, {64, 33, 1}}, params_of(4)});
  }
  check({{DType::kKivi2, 1, 96, 32, 32}, {{64, 20, 2}}, params_of(2, 0.1F, 3.0F)});
  check({{DType::kKivi4, 1, 128, 256, 32}, {{32, 20, 2}}, params_of(1, 0.09F)});
}

TEST_F(AttentionPrefillHistory, HistoriesOfRowsEndAnywhere) {
  for (const DType dtype : {DType::kF32, DType::kF16, DType::kBF16, DType::kF8E4M3, DType::kI8,
                            DType::kQ8_0, DType::kQ4_0}) {
    check({{dtype, 2, 64, 32, 16}, {{40, 33, 18}, {8, 2, 2}}, params_of(2)});
  }
}

TEST_F(AttentionPrefillHistory, EveryInstance) {
  for (const DType dtype : {DType::kF32, DType::kF16, DType::kBF16, DType::kF8E4M3, DType::kI8,
                            DType::kQ8_0, DType::kQ4_0, DType::kKivi2, DType::kKivi4}) {
    for (const std::int64_t dim : {64, 128, 256}) {
      check({{dtype, 1, 32, dim, 32}, {{32, 5, 2}}, params_of(1)});
    }
  }
}

TEST_F(AttentionPrefillHistory, EveryActivationType) {
  for (const DType dtype : kActivations) {
    check({{DType::kKivi4, 1, 32, 32, 32}, {{32, 17, 17}}, params_of(2), dtype});
  }
}

TEST_F(AttentionPrefillHistory, WideHeadsAreRefusedByName) {
  EXPECT_THROW(check({{DType::kF16, 1, 512, 512, 16}, {{8, 8, 2}}, params_of(1)}), Error);
}

}  // namespace
}  // namespace vramplan::cuda_test
