#include "paged_cache.h"

// Tensor cores against SIMT on the device, at sizes that are too slow for a double reference: every
// element type, head dimension and kind of mask of each pair. When these pass on a device,
// VRAMPLAN_TENSOR_CORES may be switched on.
namespace vramplan::cuda_test {
namespace {

class AttentionPaths : public CudaKernel {};

/// Probabilities are rounded to the 16 bits that are multiplied.
double tolerance(const AttentionCase& c) {
  if (c.dtype == DType::kBF16) return 1.6e-2;
  return c.cache_shape.dtype == DType::kBF16 ? 1.2e-2 : 2e-3;
}

void compare_decode(const AttentionCase& c, const std::vector<std::int64_t>& splits_tried) {
  const AttentionProblem problem(c);
  const auto slices = static_cast<std::int64_t>(c.shapes.size());
  const std::int64_t width = c.params.heads * c.cache_shape.value_dim;
  for (const std::int64_t splits : splits_tried) {
    const Bytes room =
        cuda::attention_decode_workspace(slices, c.params.heads, c.cache_shape.value_dim, splits);
    Tensor workspace(DType::kF32, 1, room.n / 4);
    Tensor simt(c.dtype, slices, width), tensor(c.dtype, slices, width);
    cuda::attention_decode({}, simt.view(), problem.q.view(), problem.cache.view(),
                           problem.slices(AttentionPath::kSimt), c.params, workspace.view());
    cuda::attention_decode({}, tensor.view(), problem.q.view(), problem.cache.view(),
                           problem.slices(AttentionPath::kTensorCore), c.params, workspace.view());
    expect_close(tensor.values(), simt.values(), tolerance(c), describe(c));
  }
}

void compare_prefill(const AttentionCase& c, AttentionPath path) {
  const AttentionProblem problem(c);
  const std::int64_t width = c.params.heads * c.cache_shape.value_dim;
  Tensor simt(c.dtype, problem.rows(), width), tensor(c.dtype, problem.rows(), width);
  cuda::attention_prefill({}, simt.view(), problem.q.view(), problem.cache.view(),
                          problem.slices(AttentionPath::kSimt), c.params);
  cuda::attention_prefill({}, tensor.view(), problem.q.view(), problem.cache.view(),
                          problem.slices(path), c.params);
  expect_close(tensor.values(), simt.values(), tolerance(c), describe(c));
}

constexpr DType kTensorCoreCaches[] = {DType::kF16, DType::kBF16, DType::kF8E4M3};
constexpr std::int64_t kTensorCoreDims[] = {64, 128, 256};

TEST_F(AttentionPaths, DecodeOfLongContexts) {
  for (const DType kv : kTensorCoreCaches) {
    for (const std::int64_t dim : kTensorCoreDims) {
      compare_decode(
          {{kv, 2, dim, dim, 16}, {{1, 8000}, {1, 4097}, {1, 1}, {1, 3000}}, params_of(16, 0.088F)},
          {1, 7, 32});
    }
  }
}

TEST_F(AttentionPaths, DecodeWithWindowsCapsAndMoreHeadsThanATile) {
  for (const DType kv : kTensorCoreCaches) {
    compare_decode({{kv, 1, 128, 128, 32}, {{1, 3001}, {1, 40}}, params_of(20, 0.09F)}, {1, 9});
    compare_decode({{kv, 3, 64, 64, 8}, {{1, 2000}}, params_of(9, 0.125F, 20.0F, 500)}, {1, 4});
  }
  for (const DType dtype : {DType::kF16, DType::kBF16}) {
    compare_decode({{DType::kBF16, 2, 128, 128, 64}, {{1, 999}}, params_of(8, 0.09F), dtype}, {3});
  }
}

TEST_F(AttentionPaths, PrefillOfLongPrompts) {
  for (const DType kv : kTensorCoreCaches) {
    for (const std::int64_t dim : kTensorCoreDims) {
      compare_prefill({{kv, 1, dim, dim, 16}, {{1000, 1000}, {300, 2000}}, params_of(4, 0.088F)},
                      AttentionPath::kTensorCore);
    }
  }
}

TEST_F(AttentionPaths, PrefillWithWindowsCapsAndSixteenBitActivations) {
  for (const DType kv : kTensorCoreCaches) {
    for (const DType dtype : kActivations) {
      compare_prefill({{kv, 2, 64, 64, 8}, {{700, 1500}}, params_of(4, 0.125F, 0, 300), dtype},
                      AttentionPath::kTensorCore);
      compare_prefill({{kv, 1, 128, 128, 32}, {{260, 400}}, params_of(2, 0.09F, 15.0F), dtype},
                      AttentionPath::kTensorCore);
    }
  }
}

TEST_F(AttentionPaths, PrefillOnWarpgroups) {
  const std::string why = why_no_warpgroups();
  if (!why.empty()) GTEST_SKIP() << why;
  for (const DType kv : {DType::kF16, DType::kBF16}) {
    for (const std::int64_t dim : {64, 128}) {
      for (const std::int64_t block : {16, 64, 256}) {
        compare_prefill(
            {{kv, 2, dim, dim, block}, {{1000, 1000}, {300, 4000}, {1, 77}}, params_of(8, 0.088F)},
            AttentionPath::kWarpgroup);
      }
      compare_prefill({{kv, 1, dim, dim, 8}, {{900, 3000}}, params_of(4, 0.088F, 0, 700)},
                      AttentionPath::kWarpgroup);
      compare_prefill(
          {{kv, 1, dim, dim, 32}, {{500, 700}}, params_of(4, 0.088F, 20.0F), DType::kBF16},
          AttentionPath::kWarpgroup);
    }
  }
}

}  // namespace
}  // namespace vramplan::cuda_test
