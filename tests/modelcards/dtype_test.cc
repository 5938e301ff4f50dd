#include "modelcards/dtype.h"

#include <gtest/gtest.h>

#include <set>

namespace vramplan {
namespace {

constexpr auto kLast = DType::kNvfp4Packed;

TEST(DTypeTable, NamesAndGgmlNumbersReadBackToTheSameType) {
  std::set<std::string> names;
  for (int i = 0; i <= static_cast<int>(kLast); ++i) {
    const auto dtype = static_cast<DType>(i);
    const DTypeInfo& format = info(dtype);
    EXPECT_TRUE(names.insert(format.name).second) << format.name;
    EXPECT_EQ(dtype_from_name(format.name), dtype);
    if (format.ggml_type >= 0) {
      EXPECT_EQ(dtype_from_ggml(static_cast<std::uint32_t>(format.ggml_type)), dtype);
    }
    EXPECT_GT(format.block_bytes, 0);
  }
  EXPECT_FALSE(dtype_from_ggml(4));  // withdrawn
  EXPECT_FALSE(dtype_from_ggml(0xffffffffU));
  EXPECT_FALSE(dtype_from_name("q9_z"));
}

// Bytes of one row of 4096 elements, from the block table by hand.
TEST(DTypeTable, RowsHaveTheBytesOfTheirBlocks) {
  EXPECT_EQ(bytes_of(DType::kF32, 1, 4096).n, 16384);
  EXPECT_EQ(bytes_of(DType::kQ4_1, 1, 4096).n, 2560);
  EXPECT_EQ(bytes_of(DType::kQ8_K, 1, 4096).n, 4672);
  EXPECT_EQ(bytes_of(DType::kIq1S, 1, 4096).n, 800);
  EXPECT_EQ(bytes_of(DType::kIq1M, 1, 4096).n, 896);
  EXPECT_EQ(bytes_of(DType::kIq2Xxs, 1, 4096).n, 1056);
  EXPECT_EQ(bytes_of(DType::kIq2Xs, 1, 4096).n, 1184);
  EXPECT_EQ(bytes_of(DType::kIq2S, 1, 4096).n, 1312);
  EXPECT_EQ(bytes_of(DType::kIq3Xxs, 1, 4096).n, 1568);
  EXPECT_EQ(bytes_of(DType::kIq3S, 1, 4096).n, 1760);
  EXPECT_EQ(bytes_of(DType::kIq4Nl, 1, 4096).n, 2304);
  EXPECT_EQ(bytes_of(DType::kIq4Xs, 1, 4096).n, 2176);
  EXPECT_EQ(bytes_of(DType::kTq1_0, 1, 4096).n, 864);
  EXPECT_EQ(bytes_of(DType::kTq2_0, 1, 4096).n, 1056);
  EXPECT_EQ(bytes_of(DType::kMxfp4, 1, 4096).n, 2176);
  EXPECT_EQ(bytes_of(DType::kNvfp4, 1, 4096).n, 2304);
  EXPECT_EQ(bytes_of(DType::kF64, 1, 4096).n, 32768);
  EXPECT_EQ(bytes_of(DType::kF4, 3, 4096).n, 6144);
  EXPECT_THROW(bytes_of(DType::kMxfp4, 1, 33), Error);
  EXPECT_THROW(bytes_of(DType::kF32, std::int64_t{1} << 40, std::int64_t{1} << 40), Error);
}

}  // namespace
}  // namespace vramplan
