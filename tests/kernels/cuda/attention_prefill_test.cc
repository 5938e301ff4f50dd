#include "paged_cache.h"

namespace vramplan::cuda_test {
namespace {

class AttentionPrefill : public CudaKernel {};

void check(const AttentionCase& c, AttentionPath path = AttentionPath::kSimt) {
  const AttentionProblem problem(c);
  const Values expected = problem.expected();
  // Tensor cores round probabilities to the 16 bits they multiply.
  double tolerance = tolerance_of(c.dtype);
  if (path != AttentionPath::kSimt) {
    tolerance = c.cache_shape.dtype == DType::kBF16 ? 1.2e-2 : 2e-3;
    if (c.dtype == DType::kBF16) tolerance = 1.6e-2;
  }
  for_each_schedule([&] {
    Tensor out(c.dtype, problem.rows(), c.params.heads * c.cache_shape.value_dim);
    cuda::attention_prefill({}, out.view(), problem.q.view(), problem.cache.view(),
                            problem.slices(path), problem.params());
    expect_close(out.values(), expected, tolerance, describe(c));
  });
}

TEST_F(AttentionPrefill, RaggedSlicesOfEveryCache) {
  for (const DType kv : kCaches) {
    check({{kv, 2, 64, 64, 16}, {{5, 5}, {1, 40}, {19, 50}}, params_of(4)});
  }
}

TEST_F(AttentionPrefill, CodedCaches) {
  for (const DType kv : kCodedCaches) {
    check({{kv, 2, 64, 32, 16}, {{5, 5}, {2, 40}}, params_of(4)});
  }
}

TEST_F(AttentionPrefill, EveryActivationType) {
  for (const DType dtype : kActivations) {
    check({{DType::kF16, 1, 32, 32, 8}, {{17, 17}}, params_of(2), dtype});
  }
}

/// Every kernel there is: formats by parts of a value row, without and with sinks.
TEST_F(AttentionPrefill, EveryInstance) {
  for (const DType kv : kEveryCache) {
    for (const std::int64_t dim : {64, 128, 256, 512}) {
      check({{kv, 1, 32, dim, 8}, {{3, 11}}, params_of(1)});
      if (dim < 512) check({{kv, 1, 32, dim, 8}, {{2, 24}}, sinks_of(1, 4, 12)});
    }
  }
}

TEST_F(AttentionPrefill, WindowsSoftcapsAndOtherValueDims) {
  check({{DType::kF32, 1, 16, 24, 4}, {{20, 45}, {3, 3}}, params_of(3, 0.25F, 5.0F, 7)});
  check({{DType::kF32, 2, 128, 96, 4}, {{2, 33}}, params_of(2, 0.1F, 0, 16)});
  check({{DType::kBF16, 1, 80, 256, 16}, {{2, 20}}, params_of(1)});
  check({{DType::kF16, 1, 576, 512, 16}, {{2, 20}}, params_of(1, 0.04F)});
}

TEST_F(AttentionPrefill, SinksAreSeenWithTheirOwnQueries) {
  check({{DType::kF16, 2, 32, 32, 8}, {{20, 90}, {5, 5}, {1, 41}}, sinks_of(4, 4, 40)});
  check({{DType::kF32, 1, 16, 24, 4}, {{19, 60}, {40, 40}}, sinks_of(1, 37, 10)});
  check({{DType::kQ8_0, 1, 32, 32, 8}, {{3, 70}}, sinks_of(2, 4, 64), DType::kF16});
}

/// Sinks that end inside a tile and behind one, windows that begin inside the sinks, slices shorter
/// than the sinks.
TEST_F(AttentionPrefill, TensorCoresSeeSinksWithTheirOwnQueries) {
  check({{DType::kF16, 2, 64, 64, 8}, {{20, 90}, {5, 5}, {1, 41}}, sinks_of(2, 4, 40)},
        AttentionPath::kTensorCore);
  check({{DType::kBF16, 1, 128, 128, 16}, {{19, 160}, {70, 70}}, sinks_of(1, 67, 30, 0.09F)},
        AttentionPath::kTensorCore);
  check({{DType::kF8E4M3, 1, 64, 64, 16}, {{70, 130}}, sinks_of(1, 4, 16), DType::kF16},
        AttentionPath::kTensorCore);
}

TEST_F(AttentionPrefill, SmallTensorCoreCaseWithSinks) {
  check({{DType::kF16, 1, 64, 64, 8}, {{3, 150}}, sinks_of(1, 4, 100)}, AttentionPath::kTensorCore);
}

TEST_F(AttentionPrefill, EveryInstanceOfSinksOnTensorCores) {
  for (const DType kv : {DType::kF16, DType::kBF16, DType::kF8E4M3}) {
    for (const std::int64_t dim : {64, 128}) {
      check({{kv, 1, dim, dim, 16}, {{2, 40}}, sinks_of(1, 4, 12, 0.06F)},
            AttentionPath::kTensorCore);
    }
  }
}

TEST_F(AttentionPrefill, TensorCoresAreRefusedForSinksOfWideHeads) {
  EXPECT_THROW(check({{DType::kF16, 1, 256, 256, 8}, {{3, 70}}, sinks_of(2, 4, 16)},
                     AttentionPath::kTensorCore),
               Error);
}

TEST_F(AttentionPrefill, WarpgroupsAreRefusedForSinksWhenAskedFor) {
  EXPECT_THROW(check({{DType::kF16, 1, 64, 64, 8}, {{3, 70}}, sinks_of(2, 4, 16)},
                     AttentionPath::kWarpgroup),
               Error);
}

TEST_F(AttentionPrefill, ASliceWithoutQueriesWritesNothing) {
  check({{DType::kF32, 1, 16, 16, 4}, {{3, 9}, {0, 12}, {2, 2}}, params_of(1)});
}

TEST_F(AttentionPrefill, TensorCoresGiveTheSameRows) {
  for (const DType kv : {DType::kF16, DType::kBF16, DType::kF8E4M3}) {
    check({{kv, 1, 64, 64, 16}, {{70, 100}, {3, 3}}, params_of(2)}, AttentionPath::kTensorCore);
  }
  for (const DType kv : {DType::kF16, DType::kBF16, DType::kF8E4M3}) {
    check({{kv, 1, 128, 128, 16}, {{5, 70}}, params_of(1, 0.09F)}, AttentionPath::kTensorCore);
    check({{kv, 1, 256, 256, 16}, {{2, 40}}, params_of(1, 0.06F)}, AttentionPath::kTensorCore);
  }
  check({{DType::kBF16, 1, 64, 64, 8}, {{20, 90}}, params_of(1, 0.125F, 4.0F, 30), DType::kBF16},
        AttentionPath::kTensorCore);
}

TEST_F(AttentionPrefill, SmallTensorCoreCase) {
  for (const DType kv : {DType::kF16, DType::kF8E4M3}) {
    check({{kv, 1, 64, 64, 8}, {{3, 80}}, params_of(1)}, AttentionPath::kTensorCore);
  }
}

/// What runs on warpgroups of sm_90a; skips in words where there are none.
class AttentionPrefillWarpgroups : public AttentionPrefill {
 protected:
  void SetUp() override {
    AttentionPrefill::SetUp();
    const std::string why = why_no_warpgroups();
    if (!IsSkipped() && !why.empty()) GTEST_SKIP() << why;
  }
};

TEST_F(AttentionPrefillWarpgroups, GiveTheSameRows) {
  check({{DType::kF16, 1, 64, 64, 16}, {{140, 200}, {3, 3}}, params_of(2)},
        AttentionPath::kWarpgroup);
  check({{DType::kBF16, 2, 128, 128, 32}, {{5, 300}}, params_of(2, 0.09F)},
        AttentionPath::kWarpgroup);
  check({{DType::kF16, 1, 128, 128, 16}, {{3, 140}}, params_of(1, 0.09F)},
        AttentionPath::kWarpgroup);
}

TEST_F(AttentionPrefillWarpgroups, TakeBlocksOfEverySizeThatMakesTiles) {
  for (const std::int64_t block : {8, 64, 128, 256}) {
    check({{DType::kF16, 2, 64, 64, block}, {{9, 290}, {0, 7}, {2, 128}}, params_of(2)},
          AttentionPath::kWarpgroup);
  }
}

TEST_F(AttentionPrefillWarpgroups, HideWhatWindowsHideAndCapScores) {
  check({{DType::kF16, 1, 64, 64, 16}, {{150, 500}}, params_of(1, 0.125F, 0, 130)},
        AttentionPath::kWarpgroup);
  check({{DType::kBF16, 1, 64, 64, 8}, {{20, 390}}, params_of(1, 0.125F, 4.0F, 30), DType::kBF16},
        AttentionPath::kWarpgroup);
}

TEST_F(AttentionPrefillWarpgroups, ReadEveryActivationType) {
  for (const DType dtype : kActivations) {
    check({{DType::kBF16, 1, 128, 128, 16}, {{3, 130}}, params_of(1, 0.09F), dtype},
          AttentionPath::kWarpgroup);
  }
}

/// Both stages twice and once more, two groups, part of a tile: every barrier matters.
TEST_F(AttentionPrefillWarpgroups, SmallCase) {
  check({{DType::kF16, 1, 64, 64, 8}, {{70, 560}}, params_of(1)}, AttentionPath::kWarpgroup);
}

TEST_F(AttentionPrefillWarpgroups, RefuseShapesTheyDoNotHave) {
  for (const CacheShape& shape :
       {CacheShape{DType::kF32, 1, 64, 64, 16}, CacheShape{DType::kF8E4M3, 1, 64, 64, 16},
        CacheShape{DType::kF16, 1, 256, 256, 16}, CacheShape{DType::kF16, 1, 64, 64, 4}}) {
    EXPECT_THROW(check({shape, {{1, 1}}, params_of(1)}, AttentionPath::kWarpgroup), Error);
  }
}

TEST_F(AttentionPrefill, ShapesWithoutTensorCoresAreRefusedWhenAskedFor) {
  const AttentionCase c{{DType::kF32, 1, 64, 64, 16}, {{1, 1}}, params_of(1)};
  EXPECT_THROW(check(c, AttentionPath::kTensorCore), Error);
  const AttentionCase odd{{DType::kF32, 1, 12, 12, 4}, {{1, 1}}, params_of(1)};
  EXPECT_THROW(check(odd), Error);
}

}  // namespace
}  // namespace vramplan::cuda_test
