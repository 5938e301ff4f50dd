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

// One matrix of 4096 x 4096, each part by hand.
TEST(DTypeTable, PackedMatricesCarryWhatDecodesThem) {
  constexpr std::int64_t kRows = 4096, kColumns = 4096, kAll = kRows * kColumns;
  EXPECT_EQ(bytes_of(DType::kAwqI4, kRows, kColumns).n, kAll / 2 + kAll / 128 * 2 + kAll / 128 / 2);
  EXPECT_EQ(bytes_of(DType::kGptqI4, kRows, kColumns).n,
            kAll / 2 + kAll / 128 * 2 + kAll / 128 / 2 + 4 * kColumns);
  EXPECT_EQ(bytes_of(DType::kFp8Block, kRows, kColumns).n, kAll + 32 * 32 * 4);
  EXPECT_EQ(bytes_of(DType::kFp8Channel, kRows, kColumns).n, kAll + kRows * 2);
  EXPECT_EQ(bytes_of(DType::kPackedI4, kRows, kColumns).n, kAll / 2 + kAll / 128 * 2 + 16);
  EXPECT_EQ(bytes_of(DType::kNf4, kRows, kColumns).n, kAll / 2 + kAll / 64 * 4 + 64);
  EXPECT_EQ(bytes_of(DType::kNf4Double, kRows, kColumns).n,
            kAll / 2 + kAll / 64 + kAll / 64 / 256 * 4 + 64 + 1024 + 4);
  EXPECT_EQ(bytes_of(DType::kNvfp4Packed, kRows, kColumns).n, kAll / 2 + kAll / 16 + 8);
  // Stacked matrices have their own constants.
  EXPECT_EQ(bytes_of(DType::kFp8Tensor, 3 * 64, 64, 3).n, 3 * (64 * 64 + 8));
  EXPECT_THROW(bytes_of(DType::kAwqI4, 64, 64), Error);
}

}  // namespace
}  // namespace vramplan
