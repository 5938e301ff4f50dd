#include "kernels/cpu/fp8_input.h"

#include <gtest/gtest.h>

#include <cmath>
#include <limits>

#include "kernels/cpu/cpu_ops.h"
#include "random_tensors.h"
#include "tests/kernels/published_weight.h"

namespace vramplan {
namespace {

TEST(Fp8Input, ARowIsRoundedToStepsOfItsLargest) {
  std::vector<float> x = random_floats(300, 4), y(300);
  x[17] = -9.0F;
  cpu::round_row_to_fp8(x.data(), 300, y.data());
  const double scale = 9.0 / 448;
  EXPECT_NEAR(static_cast<double>(y[17]), -9.0, 1e-6);
  for (std::size_t i = 0; i < 300; ++i) {
    const double in = static_cast<double>(x[i]), out = static_cast<double>(y[i]);
    // Half a step: 3 bits of mantissa, or the step of the smallest numbers.
    EXPECT_LE(std::abs(in - out), std::max(std::abs(in) / 16, scale / 1024) * 1.0001) << i;
  }
}

/// Every code, what lies in the middle between two of them, and beside it: the largest is 448, so
/// that the scale is 1.
TEST(Fp8Input, ValuesAreThoseOfTheCodes) {
  std::vector<float> x{448.0F};
  for (int code = 0; code < 0x7e; ++code) {
    const float low = cpu::f8_to_f32(static_cast<std::uint8_t>(code));
    const float high = cpu::f8_to_f32(static_cast<std::uint8_t>(code + 1));
    const float middle = (low + high) / 2;
    for (const float v : {low, middle, std::nextafter(middle, 0.0F), std::nextafter(middle, 500.0F),
                          low + (high - low) / 3}) {
      x.push_back(v);
      x.push_back(-v);
    }
  }
  std::vector<float> y(x.size());
  cpu::round_row_to_fp8(x.data(), static_cast<std::int64_t>(x.size()), y.data());
  for (std::size_t i = 0; i < x.size(); ++i) {
    ASSERT_EQ(y[i], cpu::f8_to_f32(cpu::f32_to_f8(x[i]))) << x[i];
  }
}

TEST(Fp8Input, RowsOfNothingStayFinite) {
  for (const float value : {0.0F, 1e-40F, 1e-37F}) {
    const std::vector<float> x(40, value);
    std::vector<float> y(40, 3.0F);
    cpu::round_row_to_fp8(x.data(), 40, y.data());
    for (const float v : y) EXPECT_EQ(v, 0.0F);
  }
}

TEST(Fp8Input, ANaNIsNotLost) {
  std::vector<float> x(40, 1.0F), y(40);
  x[3] = std::numeric_limits<float>::quiet_NaN();
  cpu::round_row_to_fp8(x.data(), 40, y.data());
  EXPECT_TRUE(std::isnan(y[3]));
  EXPECT_NEAR(y[4], 1.0F, 1e-6F);
}

/// The product is that of the rounded input; formats with a scale a block keep it as it is.
TEST(Fp8Input, LinearsOfFp8WeightsTakeIt) {
  for (const DType dtype : {DType::kFp8Tensor, DType::kFp8Channel, DType::kFp8Block}) {
    for (const std::int64_t tokens : {1, 17}) {
      SCOPED_TRACE(std::string(info(dtype).name) + " " + std::to_string(tokens));
      const auto ops = make_cpu_ops(2, DType::kF8E4M3);
      Published matrix(dtype, 48, 256);
      WeightView weight = matrix.weight();
      ops->pack(weight);
      std::vector<float> x = random_floats(tokens * 256, 3), rounded = x,
                         y(static_cast<std::size_t>(tokens * 48));
      for (std::int64_t t = 0; t < tokens && dtype != DType::kFp8Block; ++t) {
        cpu::round_row_to_fp8(x.data() + t * 256, 256, rounded.data() + t * 256);
      }
      std::vector<float> room(
          static_cast<std::size_t>(ops->linear_workspace(tokens, 256, dtype).n / 4));
      ops->linear(view(y, tokens, 48), view(x, tokens, 256), weight, {},
                  {room.data(), DType::kF32, 1, static_cast<std::int64_t>(room.size())});
      for (std::int64_t t = 0; t < tokens; ++t) {
        for (std::int64_t r = 0; r < 48; ++r) {
          double sum = 0, size = 0;
          for (std::int64_t c = 0; c < 256; ++c) {
            const double product =
                static_cast<double>(rounded[static_cast<std::size_t>(t * 256 + c)]) *
                static_cast<double>(matrix.values()[static_cast<std::size_t>(r * 256 + c)]);
            sum += product;
            size += std::abs(product);
          }
          ASSERT_NEAR(y[static_cast<std::size_t>(t * 48 + r)], sum, 1e-5 * size);
        }
      }
    }
  }
}

/// Plain fp8, in panels of 16 rows and beside them.
TEST(Fp8Input, PlainFp8WeightsTakeIt) {
  const auto ops = make_cpu_ops(1, DType::kF8E4M3);
  const std::int64_t in = 96, out = 40;
  std::vector<std::uint8_t> codes;
  for (const float v : random_floats(in * out, 8)) codes.push_back(cpu::f32_to_f8(v));
  std::vector<float> x = random_floats(in * 3, 2), rounded = x,
                     y(static_cast<std::size_t>(3 * out));
  for (std::int64_t t = 0; t < 3; ++t) {
    cpu::round_row_to_fp8(x.data() + t * in, in, rounded.data() + t * in);
  }
  std::vector<std::uint8_t> packed = codes;
  WeightView weight{{packed.data(), DType::kF8E4M3, out, in}, 0};
  ops->pack(weight);
  EXPECT_EQ(ops->linear_workspace(3, in, DType::kF8E4M3), Bytes{3 * in * 4});
  EXPECT_EQ(ops->linear_workspace(3, in, DType::kBF16), Bytes{});
  std::vector<float> room(static_cast<std::size_t>(3 * in));
  ops->linear(view(y, 3, out), view(x, 3, in), weight, {},
              {room.data(), DType::kF32, 1, static_cast<std::int64_t>(room.size())});
  for (std::int64_t t = 0; t < 3; ++t) {
    for (std::int64_t r = 0; r < out; ++r) {
      double sum = 0;
      for (std::int64_t c = 0; c < in; ++c) {
        sum += static_cast<double>(rounded[static_cast<std::size_t>(t * in + c)]) *
               static_cast<double>(cpu::f8_to_f32(codes[static_cast<std::size_t>(r * in + c)]));
      }
      ASSERT_NEAR(y[static_cast<std::size_t>(t * out + r)], sum, 1e-4) << t << " " << r;
    }
  }
}

}  // namespace
}  // namespace vramplan
