#include "weights.h"

namespace vramplan::cuda_test {
namespace {

class Random : public CudaKernel {};

TEST_F(Random, ValuesAreUniformAndDependOnTheNameAlone) {
  for (const DType dtype : {DType::kF32, DType::kF16, DType::kBF16, DType::kF8E4M3}) {
    for_each_schedule([&] {
      Tensor a(dtype, 40, 250), b(dtype, 40, 250), other(dtype, 40, 250);
      cuda::fill_random({}, a.view(), 42, 0.5F);
      cuda::fill_random({}, b.view(), 42, 0.5F);
      cuda::fill_random({}, other.view(), 43, 0.5F);
      EXPECT_EQ(a.bytes(), b.bytes());
      EXPECT_NE(a.bytes(), other.bytes());
      double mean = 0, square = 0;
      for (const double x : a.values()) {
        EXPECT_LE(std::abs(x), 0.5);
        mean += x / 10000;
        square += x * x / 10000;
      }
      EXPECT_NEAR(mean, 0, 0.01);
      EXPECT_NEAR(square, 0.25 / 3, 0.003);
    });
  }
}

TEST_F(Random, BlocksOfEveryFormatStayInsideTheRange) {
  for (const DType format : kWeightTypes) {
    if (!is_block_quantised(format)) continue;
    for_each_schedule([&] {
      Tensor weight(format, 6, 512), out(DType::kF16, 6, 512);
      cuda::fill_random({}, weight.view(), 7, 2.0F);
      cuda::dequantise({}, out.view(), {weight.view(), 0});
      double most = 0, square = 0;
      for (const double x : out.values()) {
        most = std::max(most, std::abs(x));
        square += x * x / (6 * 512);
      }
      EXPECT_LE(most, 2.0) << name(format);
      EXPECT_GT(std::sqrt(square), 0.2) << name(format);
    });
  }
}

TEST_F(Random, FormatsItDoesNotFillAreRefused) {
  Tensor codes(DType::kI8, 1, 32);
  EXPECT_THROW(cuda::fill_random({}, codes.view(), 1, 1.0F), Error);
}

}  // namespace
}  // namespace vramplan::cuda_test
