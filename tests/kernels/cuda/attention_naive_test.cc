#include "paged_cache.h"

namespace vramplan::cuda_test {
namespace {

class AttentionNaive : public CudaKernel {};

TEST_F(AttentionNaive, RaggedSlicesWindowsAndSoftcaps) {
  for (const DType kv : kCaches) {
    for (const std::int64_t window : {0, 9}) {
      const AttentionCase c{{kv, 2, 16, 24, 8},
                            {{5, 5}, {1, 150}, {7, 20}, {0, 3}},
                            params_of(4, 0.25F, window > 0 ? 2.0F : 0.0F, window)};
      const AttentionProblem problem(c);
      const cuda::DeviceSlices slices = problem.slices();
      for_each_schedule([&] {
        Tensor out(DType::kF32, problem.rows(), 4 * 24);
        Tensor scores(DType::kF32, 4 * slices.most_queries, slices.most_kv);
        cuda::attention_naive({}, out.view(), problem.q.view(), problem.cache.view(), slices,
                              problem.params(), scores.view());
        expect_close(out.values(), problem.expected(), 1e-5, describe(c));
      });
    }
  }
}

TEST_F(AttentionNaive, SmallCase) {
  for (const DType kv : {DType::kF16, DType::kI8, DType::kQ8_0, DType::kQ4_0}) {
    const AttentionCase c{{kv, 1, 32, 32, 4}, {{2, 70}}, params_of(1)};
    const AttentionProblem problem(c);
    for_each_schedule([&] {
      Tensor out(DType::kF32, 2, 32), scores(DType::kF32, 2, problem.slices().most_kv);
      cuda::attention_naive({}, out.view(), problem.q.view(), problem.cache.view(),
                            problem.slices(), problem.params(), scores.view());
      expect_close(out.values(), problem.expected(), 1e-5, describe(c));
    });
  }
}

TEST_F(AttentionNaive, SinksAreSeenWithTheirOwnQueries) {
  for (const AttentionParams& params : {sinks_of(2, 3, 9), sinks_of(2, 30, 4)}) {
    const AttentionCase c{{DType::kF32, 1, 16, 16, 4}, {{5, 40}, {6, 6}}, params};
    const AttentionProblem problem(c);
    const cuda::DeviceSlices slices = problem.slices();
    for_each_schedule([&] {
      Tensor out(DType::kF32, problem.rows(), 2 * 16);
      Tensor scores(DType::kF32, 2 * slices.most_queries, slices.most_kv);
      cuda::attention_naive({}, out.view(), problem.q.view(), problem.cache.view(), slices,
                            problem.params(), scores.view());
      expect_close(out.values(), problem.expected(), 1e-5, describe(c));
    });
  }
}

}  // namespace
}  // namespace vramplan::cuda_test
