#include "paged_cache.h"

namespace vramplan::cuda_test {
namespace {

class AttentionDecode : public CudaKernel {};

Bytes room(const AttentionCase& c, std::int64_t splits) {
  return cuda::attention_decode_workspace(static_cast<std::int64_t>(c.shapes.size()),
                                          c.params.heads, c.cache_shape.value_dim, splits);
}

void check(const AttentionCase& c, std::int64_t splits, AttentionPath path = AttentionPath::kSimt) {
  const AttentionProblem problem(c);
  const Values expected = problem.expected();
  double tolerance = tolerance_of(c.dtype);
  if (path == AttentionPath::kTensorCore) {
    tolerance = c.cache_shape.dtype == DType::kBF16 ? 1.2e-2 : 2e-3;
    if (c.dtype == DType::kBF16) tolerance = 1.6e-2;
  }
  for_each_schedule([&] {
    Tensor out(c.dtype, problem.rows(), c.params.heads * c.cache_shape.value_dim);
    Tensor workspace(DType::kF32, 1, room(c, splits).n / 4);
    cuda::attention_decode({}, out.view(), problem.q.view(), problem.cache.view(),
                           problem.slices(path), problem.params(), workspace.view());
    expect_close(out.values(), expected, tolerance,
                 describe(c) + ", splits " + std::to_string(splits));
  });
}

const std::vector<SliceShape> kRagged = {{1, 1}, {1, 70}, {1, 33}, {1, 300}};

TEST_F(AttentionDecode, RaggedSlicesOfEveryCacheAndSplit) {
  for (const DType kv : kCaches) {
    for (const std::int64_t splits : {1, 3}) {
      check({{kv, 2, 64, 64, 16}, kRagged, params_of(4)}, splits);
    }
  }
}

TEST_F(AttentionDecode, CodedCachesOfEveryWidthOfALane) {
  for (const DType kv : kCodedCaches) {
    check({{kv, 2, 64, 64, 16}, {{1, 70}, {1, 1}}, params_of(4)}, 2);
    check({{kv, 1, 32, 128, 8}, {{1, 40}}, params_of(2)}, 1);
    check({{kv, 1, 96, 160, 8}, {{1, 20}}, params_of(1)}, 1);
    check({{kv, 1, 64, 288, 8}, {{1, 12}}, params_of(2), DType::kBF16}, 1);
  }
}

TEST_F(AttentionDecode, EveryHeadGroup) {
  for (const std::int64_t group : {1, 2, 3, 5, 8, 9}) {
    check({{DType::kF16, 2, 32, 32, 8}, {{1, 50}}, params_of(2 * group)}, 2);
  }
}

TEST_F(AttentionDecode, EveryDimension) {
  check({{DType::kF32, 1, 8, 8, 4}, {{1, 21}}, params_of(3)}, 1);
  check({{DType::kBF16, 1, 128, 128, 16}, {{1, 40}}, params_of(4)}, 1);
  check({{DType::kF16, 1, 256, 256, 16}, {{1, 40}}, params_of(2)}, 2);
  check({{DType::kF8E4M3, 1, 192, 128, 16}, {{1, 40}}, params_of(2)}, 2);
  check({{DType::kF16, 1, 576, 512, 16}, {{1, 20}}, params_of(5, 0.04F)}, 1);
  check({{DType::kF16, 1, 80, 80, 16}, {{1, 40}}, params_of(2)}, 1);
}

/// Every kernel there is: formats by heads of a group by elements of a lane.
TEST_F(AttentionDecode, EveryInstance) {
  for (const DType kv : kEveryCache) {
    for (const std::int64_t group : {1, 2, 4, 8}) {
      for (const std::int64_t dim : {64, 128, 256, 512}) {
        check({{kv, 1, dim, dim, 8}, {{1, 11}}, params_of(group, 0.05F)}, 1);
      }
    }
  }
}

TEST_F(AttentionDecode, WindowsSoftcapsAndActivationTypes) {
  for (const DType dtype : kActivations) {
    check({{DType::kF16, 1, 64, 64, 8}, {{1, 90}, {1, 5}}, params_of(2, 0.2F, 3.0F, 40), dtype}, 2);
  }
}

TEST_F(AttentionDecode, MoreSplitsThanTokens) {
  check({{DType::kF32, 1, 16, 16, 4}, {{1, 3}, {1, 40}}, params_of(1)}, 16);
}

TEST_F(AttentionDecode, PaddedRowsGetZerosOrNothing) {
  const AttentionCase c{{DType::kF16, 1, 32, 32, 8}, {{1, 12}, {0, 0}, {1, 20}}, params_of(2)};
  check(c, 1);
  check(c, 2);
}

TEST_F(AttentionDecode, WithoutWorkspaceThereIsOneSplit) {
  const AttentionCase c{{DType::kF32, 1, 16, 16, 4}, {{1, 300}}, params_of(1)};
  const AttentionProblem problem(c);
  Tensor out(DType::kF32, 1, 16);
  cuda::attention_decode({}, out.view(), problem.q.view(), problem.cache.view(), problem.slices(),
                         c.params, {});
  expect_close(out.values(), problem.expected(), 1e-5, "no workspace");
}

/// Windows that hold the sinks, that begin behind them, and rows too short for either.
TEST_F(AttentionDecode, SinksAreSeenWithTheirOwnQueries) {
  for (const std::int64_t splits : {4, 7}) {
    check({{DType::kF16, 2, 32, 32, 8}, {{1, 90}, {1, 3}, {1, 41}, {0, 0}}, sinks_of(6, 4, 40)},
          splits);
    check({{DType::kF32, 1, 16, 24, 4}, {{1, 60}, {1, 50}}, sinks_of(1, 37, 10)}, splits);
  }
  check({{DType::kI8, 1, 32, 32, 8}, {{1, 70}}, sinks_of(2, 4, 64), DType::kBF16}, 4);
}

TEST_F(AttentionDecode, SinksOnTensorCores) {
  check({{DType::kF16, 1, 64, 64, 8}, {{1, 90}, {1, 3}}, sinks_of(3, 4, 40)}, 4,
        AttentionPath::kTensorCore);
}

TEST_F(AttentionDecode, TensorCoresGiveTheSameRows) {
  for (const DType kv : {DType::kF16, DType::kBF16, DType::kF8E4M3}) {
    check({{kv, 2, 64, 64, 16}, kRagged, params_of(8)}, 2, AttentionPath::kTensorCore);
    check({{kv, 1, 128, 128, 16}, {{1, 100}}, params_of(4, 0.09F)}, 1, AttentionPath::kTensorCore);
  }
  for (const DType kv : {DType::kF16, DType::kBF16, DType::kF8E4M3}) {
    check({{kv, 1, 256, 256, 16}, {{1, 70}}, params_of(kv == DType::kF16 ? 20 : 2, 0.06F)}, 2,
          AttentionPath::kTensorCore);
  }
  check({{DType::kBF16, 1, 64, 64, 8}, {{1, 90}}, params_of(3, 0.125F, 4.0F, 30), DType::kBF16}, 1,
        AttentionPath::kTensorCore);
}

TEST_F(AttentionDecode, SmallTensorCoreCase) {
  for (const DType kv : {DType::kF16, DType::kF8E4M3}) {
    check({{kv, 1, 64, 64, 8}, {{1, 40}}, params_of(2)}, 1, AttentionPath::kTensorCore);
  }
}

TEST_F(AttentionDecode, SplitsGrowWithTheDeviceAndTheContext) {
  EXPECT_EQ(cuda::attention_splits(1, 8, 32768, 132), 33);  // 264 / 8
  EXPECT_EQ(cuda::attention_splits(64, 8, 2048, 132), 1);
  EXPECT_EQ(cuda::attention_splits(1, 1, 1000, 132), 4);  // no part below 256 tokens
  EXPECT_EQ(cuda::attention_splits(1, 1, 1 << 20, 132), 64);
  EXPECT_EQ(cuda::attention_decode_workspace(2, 32, 128, 3), Bytes{2 * 32 * 3 * 130 * 4});
}

}  // namespace
}  // namespace vramplan::cuda_test
