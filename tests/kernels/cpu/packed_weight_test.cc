#include "kernels/cpu/packed_weight.h"

#include <gtest/gtest.h>

#include <cmath>

#include "kernels/cpu/cpu_ops.h"
#include "random_tensors.h"
#include "tests/kernels/published_weight.h"

namespace vramplan {
namespace {

TEST(PackedWeight, EveryPublishedLayoutIsReadAsItIsWritten) {
  for (const DType dtype : kPackedWeights) {
    SCOPED_TRACE(info(dtype).name);
    ASSERT_TRUE(is_packed_weight(dtype));
    Published matrix(dtype, 136, 256);
    std::vector<float> out(4 * 256);
    for (std::int64_t row = 0; row < 136; row += 4) {
      cpu::dequantise_packed(matrix.weight().tensor, row, 4, out.data());
      for (std::size_t i = 0; i < out.size(); ++i) {
        ASSERT_EQ(out[i], matrix.values()[static_cast<std::size_t>(row) * 256 + i])
            << row << " " << i;
      }
    }
  }
}

TEST(PackedWeight, LinearMultipliesWithThem) {
  for (const DType dtype : kPackedWeights) {
    for (const std::int64_t tokens : {1, 5}) {
      for (const DType inputs : {DType::kI8, DType::kF32}) {
        SCOPED_TRACE(info(dtype).name);
        const auto ops = make_cpu_ops(2, inputs);
        Published matrix(dtype, 24, 256);
        WeightView weight = matrix.weight();
        ops->pack(weight);
        std::vector<float> x = random_floats(tokens * 256, 3),
                           y(static_cast<std::size_t>(tokens * 24));
        const Bytes scratch = ops->linear_workspace(tokens, 256, dtype);
        EXPECT_EQ(scratch.n, 2 * 4 * 256 * 4);  // threads, rows, columns, f32
        std::vector<float> room(static_cast<std::size_t>(scratch.n / 4));
        ops->linear(view(y, tokens, 24), view(x, tokens, 256), weight, {},
                    {room.data(), DType::kF32, 1, static_cast<std::int64_t>(room.size())});
        for (std::int64_t t = 0; t < tokens; ++t) {
          for (std::int64_t r = 0; r < 24; ++r) {
            double sum = 0, size = 0;
            for (std::int64_t c = 0; c < 256; ++c) {
              const double product =
                  static_cast<double>(x[static_cast<std::size_t>(t * 256 + c)]) *
                  static_cast<double>(matrix.values()[static_cast<std::size_t>(r * 256 + c)]);
              sum += product;
              size += std::abs(product);
            }
            ASSERT_NEAR(y[static_cast<std::size_t>(t * 24 + r)], sum, 1e-5 * size);
          }
        }
      }
    }
  }
}

TEST(PackedWeight, ShapesAndFormatsWithoutAReaderAreNamed) {
  EXPECT_THROW(packed_parts(DType::kAwqI4, 12, 128), Error);
  EXPECT_THROW(packed_parts(DType::kNf4, 16, 128), Error);
  EXPECT_FALSE(is_packed_weight(DType::kNf4));
  EXPECT_FALSE(is_packed_weight(DType::kQ4_0));
}

}  // namespace
}  // namespace vramplan
