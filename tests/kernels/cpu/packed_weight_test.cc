#include "kernels/cpu/packed_weight.h"

#include <gtest/gtest.h>

#include <array>
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

/// Formats that lie by columns, read many rows at once: the same values in panels of 16 rows.
TEST(PackedWeight, PanelsHoldTheValuesOfTheRows) {
  for (const DType dtype : kPackedWeights) {
    if (!cpu::lies_by_columns(dtype)) continue;
    SCOPED_TRACE(info(dtype).name);
    Published matrix(dtype, 160, 256);
    for (const cpu::PanelPart& part :
         {cpu::PanelPart{0, 128, 0, 256}, {24, 16, 8, 40}, {96, 64, 120, 136}}) {
      std::vector<float> out(static_cast<std::size_t>(part.rows * part.count));
      cpu::dequantise_panels(matrix.weight().tensor, part, out.data());
      for (std::int64_t r = 0; r < part.rows; ++r) {
        for (std::int64_t c = 0; c < part.count; ++c) {
          const auto at = static_cast<std::size_t>((r / 16 * part.count + c) * 16 + r % 16);
          const std::int64_t from = (part.row + r) * 256 + part.column + c;
          ASSERT_EQ(out[at], matrix.values()[static_cast<std::size_t>(from)]) << r << " " << c;
        }
      }
    }
  }
}

/// Rows that are no multiple of 16, columns in several parts, threads that share a matrix.
TEST(PackedWeight, LinearByColumnsAddsItsPartsUp) {
  for (const DType dtype : {DType::kAwqI4, DType::kGptqI4G32}) {
    for (const auto& [rows, tokens, threads] :
         {std::array<std::int64_t, 3>{520, 1, 2}, {264, 9, 1}, {136, 40, 3}, {8, 2, 1}}) {
      SCOPED_TRACE(std::string(info(dtype).name) + " " + std::to_string(rows));
      const auto ops = make_cpu_ops(static_cast<int>(threads));
      Published matrix(dtype, rows, 384);
      std::vector<float> x = random_floats(tokens * 384, 3), bias = random_floats(rows, 5),
                         y(static_cast<std::size_t>(tokens * rows), 7.0F);
      std::vector<float> room(
          static_cast<std::size_t>(ops->linear_workspace(tokens, 384, dtype).n / 4));
      ops->linear(view(y, tokens, rows), view(x, tokens, 384), matrix.weight(), view(bias, 1, rows),
                  {room.data(), DType::kF32, 1, static_cast<std::int64_t>(room.size())});
      for (std::int64_t t = 0; t < tokens; ++t) {
        for (std::int64_t r = 0; r < rows; ++r) {
          double sum = static_cast<double>(bias[static_cast<std::size_t>(r)]), size = 1;
          for (std::int64_t c = 0; c < 384; ++c) {
            const double product =
                static_cast<double>(x[static_cast<std::size_t>(t * 384 + c)]) *
                static_cast<double>(matrix.values()[static_cast<std::size_t>(r * 384 + c)]);
            sum += product;
            size += std::abs(product);
          }
          ASSERT_NEAR(y[static_cast<std::size_t>(t * rows + r)], sum, 1e-5 * size) << t << " " << r;
        }
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
