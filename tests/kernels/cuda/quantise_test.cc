#include "harness.h"
#include "tests/kernels/published_weight.h"

namespace vramplan::cuda_test {
namespace {

class Quantise : public CudaKernel {};

void check(DType dtype, std::int64_t rows, std::int64_t columns) {
  const Tensor in(dtype, rows, columns, normal(rows * columns, 7, 3.0F));
  const Values values = in.values();
  for_each_schedule([&] {
    Tensor codes(DType::kF8E4M3, rows, columns), scales(DType::kF32, 1, rows);
    cuda::quantise_rows({}, codes.view(), static_cast<float*>(scales.view().data), in.view());
    const Values code = codes.values(), scale = scales.values();
    for (std::int64_t r = 0; r < rows; ++r) {
      double most = 0;
      for (std::int64_t c = 0; c < columns; ++c) {
        most = std::max(most, std::abs(at(values, r * columns + c)));
      }
      ASSERT_NEAR(at(scale, r), most / 448, 1e-6 * most);
      double largest = 0;
      for (std::int64_t c = 0; c < columns; ++c) {
        const double x = at(values, r * columns + c), y = at(code, r * columns + c) * at(scale, r);
        // Half a step: 3 bits of mantissa, or the step of the smallest numbers.
        ASSERT_LE(std::abs(x - y), std::max(std::abs(x) / 16, at(scale, r) / 1024) * 1.0001);
        largest = std::max(largest, std::abs(at(code, r * columns + c)));
      }
      EXPECT_EQ(largest, 448.0);
    }
  });
}

TEST_F(Quantise, RowsOfEveryActivationAndLength) {
  for (const DType dtype : kActivations) {
    check(dtype, 3, 1);
    check(dtype, 2, 31);
    check(dtype, 5, 1000);
  }
}

TEST_F(Quantise, ARowOfZerosHasScaleOne) {
  const Tensor in(DType::kF32, 2, 40, std::vector<float>(80, 0.0F));
  Tensor codes(DType::kF8E4M3, 2, 40), scales(DType::kF32, 1, 2);
  cuda::quantise_rows({}, codes.view(), static_cast<float*>(scales.view().data), in.view());
  for (const double code : codes.values()) EXPECT_EQ(code, 0.0);
  for (const double scale : scales.values()) EXPECT_EQ(scale, 1.0);
}

/// So small that their scale would not be a normal number: codes of it could be NaN.
TEST_F(Quantise, ARowOfTheSmallestNumbersIsZeros) {
  const Tensor in(DType::kF32, 1, 33, std::vector<float>(33, 1e-37F));
  Tensor codes(DType::kF8E4M3, 1, 33), scales(DType::kF32, 1, 1);
  cuda::quantise_rows({}, codes.view(), static_cast<float*>(scales.view().data), in.view());
  for (const double code : codes.values()) EXPECT_EQ(code, 0.0);
  EXPECT_EQ(at(scales.values(), 0), 1.0);
}

TEST_F(Quantise, TheFactorsOfWeightRowsComeWithTheCodes) {
  const Tensor in(DType::kF32, 2, 64, normal(128, 4));
  for (const DType format : {DType::kF8E4M3, DType::kFp8Tensor, DType::kFp8Channel}) {
    const std::int64_t rows = 520;
    Memory memory(static_cast<std::size_t>(bytes_of(format, rows, 64).n));
    Values expected(static_cast<std::size_t>(rows), 1.0);
    if (format != DType::kF8E4M3) {
      const Published matrix(format, rows, 64);
      memory.write(matrix.stored().data(), matrix.stored().size());
      for (std::int64_t i = 0; i < rows * 64; ++i) {
        const auto at = static_cast<std::size_t>(i);
        const float code = simt::e4m3_to_f32(matrix.stored()[at]);
        const float factor = matrix.values()[at] / code;  // of codes that are not 0
        if (code != 0.0F) expected[static_cast<std::size_t>(i / 64)] = static_cast<double>(factor);
      }
    }
    for_each_schedule([&] {
      Tensor codes(DType::kF8E4M3, 2, 64), scales(DType::kF32, 1, 2), factors(DType::kF32, 1, rows);
      cuda::quantise_rows({}, codes.view(), static_cast<float*>(scales.view().data), in.view(),
                          static_cast<float*>(factors.view().data),
                          {memory.data(), format, rows, 64});
      expect_close(factors.values(), expected, 1e-6, name(format));
      for (const double code : codes.values()) ASSERT_LE(std::abs(code), 448.0);
    });
  }
}

}  // namespace
}  // namespace vramplan::cuda_test
