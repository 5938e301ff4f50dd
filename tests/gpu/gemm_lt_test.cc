#include "kernels/cuda/gemm_lt.h"

#include <array>

#include "harness.h"

// cuBLASLt's fp8 products against our SIMT kernel on the same codes.
namespace vramplan::cuda_test {
namespace {

class Fp8Gemm : public CudaKernel {
 protected:
  void SetUp() override {
    CudaKernel::SetUp();
    if (IsSkipped()) return;
    int device = 0, major = 0, minor = 0;
    cudaGetDevice(&device);
    cudaDeviceGetAttribute(&major, cudaDevAttrComputeCapabilityMajor, device);
    cudaDeviceGetAttribute(&minor, cudaDevAttrComputeCapabilityMinor, device);
    if (10 * major + minor < 89) GTEST_SKIP() << "fp8 products need compute capability 8.9";
  }
};

TEST_F(Fp8Gemm, AreThoseOfTheSimtKernel) {
  const auto gemm = cuda::make_gemm_lt();
  Tensor workspace(DType::kF32, 1, 8 << 20);
  for (const auto& [tokens, in, out] : {std::array<std::int64_t, 3>{16, 64, 32},
                                        {128, 512, 256},
                                        {33, 1024, 48},
                                        {700, 4096, 128}}) {
    const Tensor x(DType::kF32, tokens, in, normal(tokens * in, 1));
    Tensor codes(DType::kF8E4M3, tokens, in), scales(DType::kF32, 1, tokens);
    cuda::quantise_rows({}, codes.view(), static_cast<float*>(scales.view().data), x.view());
    const Tensor weight(DType::kF8E4M3, out, in, normal(out * in, 2));
    std::vector<float> factors = normal(out, 3);
    const Tensor weight_scales(DType::kF32, 1, out, factors);
    // The twin: codes as f32 activations, then both factors.
    std::vector<float> plain;
    for (const double code : codes.values()) plain.push_back(static_cast<float>(code));
    const Tensor wide(DType::kF32, tokens, in, plain);
    Tensor sums(DType::kF32, tokens, out);
    cuda::linear({}, sums.view(), wide.view(), {weight.view(), 0}, {});
    Values expected = sums.values();
    const Values row = scales.values(), column = weight_scales.values();
    for (std::int64_t i = 0; i < tokens * out; ++i) {
      expected[static_cast<std::size_t>(i)] *= at(row, i / out) * at(column, i % out);
    }
    for (const DType dtype : {DType::kBF16, DType::kF16}) {
      Tensor y(dtype, tokens, out);
      cuda::Gemm call{y.view(), codes.view(), weight.view(), out, workspace.view()};
      call.in_scales = static_cast<const float*>(scales.view().data);
      call.weight_scales = static_cast<const float*>(weight_scales.view().data);
      gemm->run({}, call);
      // The tensor cores keep 14 bits of a sum between two steps.
      expect_close(
          y.values(), expected, tolerance_of(dtype) + 2e-3,
          std::to_string(tokens) + " x " + std::to_string(in) + " x " + std::to_string(out));
    }
  }
}

TEST_F(Fp8Gemm, OddShapesAreRefused) {
  const auto gemm = cuda::make_gemm_lt();
  Tensor in(DType::kF8E4M3, 16, 24), weight(DType::kF8E4M3, 16, 24), out(DType::kBF16, 16, 16);
  Tensor scales(DType::kF32, 1, 16), workspace(DType::kF32, 1, 1024);
  cuda::Gemm call{out.view(), in.view(), weight.view(), 16, workspace.view()};
  call.in_scales = call.weight_scales = static_cast<const float*>(scales.view().data);
  EXPECT_THROW(gemm->run({}, call), Error);
}

}  // namespace
}  // namespace vramplan::cuda_test
