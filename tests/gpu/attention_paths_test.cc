#include "paged_cache.h"

// Tensor cores against SIMT on the device, at sizes that are too slow for a double reference. When
// these pass on a device, VRAMPLAN_TENSOR_CORES may be switched on.
namespace vramplan::cuda_test {
namespace {

class AttentionPaths : public CudaKernel {};

double tolerance(DType kv) { return kv == DType::kBF16 ? 1.2e-2 : 2e-3; }

TEST_F(AttentionPaths, DecodeOfLongContexts) {
  for (const DType kv : {DType::kF16, DType::kBF16, DType::kF8E4M3}) {
    const AttentionCase c{
        {kv, 2, 128, 128, 16}, {{1, 8000}, {1, 4097}, {1, 1}, {1, 3000}}, params_of(16, 0.088F)};
    const AttentionProblem problem(c);
    for (const std::int64_t splits : {1, 7, 32}) {
      const Bytes room = cuda::attention_decode_workspace(4, 16, 128, splits);
      Tensor workspace(DType::kF32, 1, room.n / 4);
      Tensor simt(DType::kF32, 4, 16 * 128), tensor(DType::kF32, 4, 16 * 128);
      cuda::attention_decode({}, simt.view(), problem.q.view(), problem.cache.view(),
                             problem.slices(AttentionPath::kSimt), c.params, workspace.view());
      cuda::attention_decode({}, tensor.view(), problem.q.view(), problem.cache.view(),
                             problem.slices(AttentionPath::kTensorCore), c.params,
                             workspace.view());
      expect_close(tensor.values(), simt.values(), tolerance(kv), describe(c));
    }
  }
}

TEST_F(AttentionPaths, PrefillOfLongPrompts) {
  for (const DType kv : {DType::kF16, DType::kBF16, DType::kF8E4M3}) {
    for (const std::int64_t dim : {64, 128, 256}) {
      const AttentionCase c{
          {kv, 1, dim, dim, 16}, {{1000, 1000}, {300, 2000}}, params_of(4, 0.088F)};
      const AttentionProblem problem(c);
      Tensor simt(DType::kF32, 1300, 4 * dim), tensor(DType::kF32, 1300, 4 * dim);
      cuda::attention_prefill({}, simt.view(), problem.q.view(), problem.cache.view(),
                              problem.slices(AttentionPath::kSimt), c.params);
      cuda::attention_prefill({}, tensor.view(), problem.q.view(), problem.cache.view(),
                              problem.slices(AttentionPath::kTensorCore), c.params);
      expect_close(tensor.values(), simt.values(), tolerance(kv), describe(c));
    }
  }
}

}  // namespace
}  // namespace vramplan::cuda_test
