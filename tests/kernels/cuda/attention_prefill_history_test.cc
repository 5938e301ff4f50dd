#include "history_cache.h"

namespace vramplan::cuda_test {
namespace {

class AttentionPrefillHistory : public CudaKernel {};

void check(const HistoryCase& c, AttentionPath path = AttentionPath::kSimt) {
  const HistoryProblem problem(c);
  const Values expected = problem.expected();
  // Tensor cores round probabilities, and what codes stand for, to the f16 they multiply.
  double tolerance = 2 * tolerance_of(c.dtype);
  if (path == AttentionPath::kTensorCore) tolerance = c.dtype == DType::kBF16 ? 1.6e-2 : 4e-3;
  for_each_schedule([&] {
    Tensor out(c.dtype, problem.rows(), c.params.heads * c.shape.value_dim,
               std::vector<float>(expected.size(), 0.0F));
    cuda::attention_prefill_history({}, out.view(), problem.q.view(), problem.recent(),
                                    problem.slices(false, path), problem.history(),
                                    problem.slices(true, path), c.params);
    expect_close(out.values(), expected, tolerance, name(c.shape.dtype));
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

TEST_F(AttentionPrefillHistory, SmallTensorCoreCase) {
  for (const DType dtype : {DType::kKivi2, DType::kQ8_0}) {
    check({{dtype, 1, 64, 64, 32}, {{96, 70, 3}}, params_of(1)}, AttentionPath::kTensorCore);
  }
}

constexpr DType kTensorCoreHistories[] = {DType::kF16,   DType::kBF16, DType::kF8E4M3,
                                          DType::kI8,    DType::kQ8_0, DType::kQ4_0,
                                          DType::kKivi2, DType::kKivi4};

TEST_F(AttentionPrefillHistory, TensorCoresReadEveryHistory) {
  for (const DType dtype : kTensorCoreHistories) {
    for (const std::int64_t dim : {64, 128}) {
      check({{dtype, 1, dim, dim, 32}, {{96, 40, 3}}, params_of(1)}, AttentionPath::kTensorCore);
    }
  }
}

/// Histories that end inside a tile, and none; more queries than a block takes; a capped score.
TEST_F(AttentionPrefillHistory, TensorCoresTakeRaggedSlices) {
  check({{DType::kKivi4, 2, 64, 64, 64}, {{96, 90, 70}, {0, 7, 7}, {32, 33, 1}}, params_of(4)},
        AttentionPath::kTensorCore);
  check({{DType::kF8E4M3, 1, 64, 64, 16}, {{40, 33, 18}, {8, 2, 2}}, params_of(2, 0.1F, 3.0F)},
        AttentionPath::kTensorCore);
  check({{DType::kKivi2, 1, 64, 64, 32}, {{64, 17, 17}}, params_of(1), DType::kBF16},
        AttentionPath::kTensorCore);
}

TEST_F(AttentionPrefillHistory, OtherPathsAreRefusedByName) {
  const HistoryCase odd{{DType::kKivi4, 1, 32, 32, 32}, {{32, 5, 2}}, params_of(1)};
  EXPECT_THROW(check(odd, AttentionPath::kTensorCore), Error);
  const HistoryCase even{{DType::kKivi4, 1, 64, 64, 32}, {{32, 5, 2}}, params_of(1)};
  EXPECT_THROW(check(even, AttentionPath::kWarpgroup), Error);
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
