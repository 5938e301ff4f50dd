#include "weights.h"

namespace vramplan::cuda_test {
namespace {

class Dequantise : public CudaKernel {};

TEST_F(Dequantise, EveryFormatToSixteenBits) {
  for (const DType format : kCudaWeights) {
    for (const DType dtype : {DType::kF16, DType::kBF16}) {
      const std::int64_t n = whole_blocks(format, 288);
      const DeviceWeight weight(format, 5, n, 1);
      for_each_schedule([&] {
        Tensor out(dtype, 5, n);
        cuda::dequantise({}, out.view(), weight.view());
        expect_close(out.values(), weight.values, tolerance_of(dtype) / 2,
                     name(format) + " to " + name(dtype));
      });
    }
  }
}

TEST_F(Dequantise, RowsThatEndInsideASubBlock) {
  for (const DType format : {DType::kF32, DType::kBF16, DType::kF8E4M3}) {
    for (const std::int64_t n : {std::int64_t{33}, std::int64_t{50}, std::int64_t{52}}) {
      const DeviceWeight weight(format, 3, n, 2);
      for_each_schedule([&] {
        Tensor out(DType::kF16, 3, n);
        cuda::dequantise({}, out.view(), weight.view());
        expect_close(out.values(), weight.values, 1e-3, name(format) + " " + std::to_string(n));
      });
    }
  }
}

TEST_F(Dequantise, OtherOutputsAreRefused) {
  const DeviceWeight weight(DType::kQ4_0, 1, 32, 3);
  Tensor out(DType::kF32, 1, 32);
  EXPECT_THROW(cuda::dequantise({}, out.view(), weight.view()), Error);
}

}  // namespace
}  // namespace vramplan::cuda_test
