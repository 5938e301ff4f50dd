#include "paged_cache.h"

namespace vramplan::cuda_test {
namespace {

class AttentionMass : public CudaKernel {};

/// Output and masses against the definition; masses are the same whole numbers in any order.
void check(const AttentionCase& c) {
  const AttentionProblem problem(c);
  const Values expected = problem.expected();
  const std::vector<double> attention = problem.expected_mass();
  std::vector<std::int64_t> first;
  for_each_schedule([&] {
    Tensor out(c.dtype, problem.rows(), c.params.heads * c.cache_shape.value_dim);
    cuda::DeviceSlices slices = problem.slices();
    // What was there before stays.
    const Array<std::int64_t> mass(std::vector<std::int64_t>(attention.size(), 1000));
    slices.block_mass = mass.data();
    cuda::attention_mass({}, out.view(), problem.q.view(), problem.cache.view(), slices,
                         problem.params());
    expect_close(out.values(), expected, tolerance_of(c.dtype), describe(c));
    const std::vector<std::int64_t> got = mass.read();
    for (std::size_t i = 0; i < got.size(); ++i) {
      const double wanted = attention[i] * 4294967296.0;
      EXPECT_NEAR(static_cast<double>(got[i] - 1000), wanted, 1e-4 * wanted + 1000)
          << describe(c) << " block " << i;
    }
    if (first.empty()) first = got;
    EXPECT_EQ(got, first);
  });
}

TEST_F(AttentionMass, RaggedSlicesOfEveryCache) {
  for (const DType kv : kCaches) {
    check({{kv, 2, 64, 64, 16}, {{5, 5}, {1, 40}, {19, 50}}, params_of(4)});
  }
  for (const DType kv : kCodedCaches) {
    check({{kv, 1, 32, 64, 8}, {{3, 40}, {1, 1}}, params_of(3)});
  }
}

TEST_F(AttentionMass, EveryInstance) {
  for (const DType kv : kEveryCache) {
    for (const std::int64_t dim : {64, 128, 256}) {
      check({{kv, 1, 32, dim, 8}, {{2, 19}}, params_of(1)});
    }
  }
}

TEST_F(AttentionMass, SmallCase) { check({{DType::kF16, 1, 32, 32, 8}, {{3, 40}}, params_of(2)}); }

TEST_F(AttentionMass, BlocksOfAnySizeAndSlicesWithoutQueries) {
  check({{DType::kF32, 1, 16, 24, 4}, {{20, 45}, {0, 3}}, params_of(2, 0.25F, 5.0F)});
  check({{DType::kF16, 1, 128, 96, 64}, {{2, 130}}, params_of(1, 0.09F), DType::kBF16});
  check({{DType::kF16, 1, 32, 160, 3}, {{2, 40}}, params_of(1)});
}

TEST_F(AttentionMass, WideHeadsAreRefusedByName) {
  EXPECT_THROW(check({{DType::kF16, 1, 576, 512, 16}, {{2, 20}}, params_of(1)}), Error);
}

}  // namespace
}  // namespace vramplan::cuda_test
