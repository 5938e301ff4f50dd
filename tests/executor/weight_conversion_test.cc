#include "executor/weight_conversion.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <cstring>
#include <string>
#include <vector>

#include "kernels/cpu/dequantise.h"
#include "kernels/cpu/quantise.h"
#include "modelcards/error.h"

namespace vramplan {
namespace {

/// Reads that are as large as asked for, remembered.
class WatchedFile final : public File {
 public:
  explicit WatchedFile(std::string bytes) : inner_(memory_file("watched", std::move(bytes))) {}
  const std::string& name() const override { return inner_->name(); }
  Bytes size() const override { return inner_->size(); }
  void read_at(Bytes offset, std::span<std::byte> out) const override {
    largest_ = std::max(largest_, out.size());
    inner_->read_at(offset, out);
  }
  std::size_t largest() const { return largest_; }

 private:
  std::unique_ptr<File> inner_;
  mutable std::size_t largest_ = 0;
};

std::vector<float> values_of(std::int64_t count) {
  std::vector<float> values;
  for (std::int64_t i = 0; i < count; ++i) {
    values.push_back(0.001F * static_cast<float>(i * i % 1009 - 500));
  }
  return values;
}

std::string encoded(DType dtype, const std::vector<float>& values, std::int64_t columns) {
  const auto rows = static_cast<std::int64_t>(values.size()) / columns;
  const std::int64_t row_bytes = bytes_of(dtype, 1, columns).n;
  std::string bytes(static_cast<std::size_t>(rows * row_bytes), '\0');
  for (std::int64_t r = 0; r < rows; ++r) {
    cpu::quantise_row(dtype, &values[static_cast<std::size_t>(r * columns)],
                      bytes.data() + r * row_bytes, columns);
  }
  return bytes;
}

std::string converted(const File& file, const StoredMatrix& from, DType to) {
  std::string made(static_cast<std::size_t>(bytes_of(to, from.rows, from.columns).n), '\0');
  std::int64_t told = 0, read = 0;
  convert_rows(
      file, from, to,
      [&](std::int64_t first, std::int64_t) {
        return reinterpret_cast<std::byte*>(made.data()) + first;
      },
      [&](std::int64_t first, std::int64_t bytes, std::int64_t file_bytes) {
        EXPECT_EQ(first, told);
        told += bytes;
        read += file_bytes;
      });
  EXPECT_EQ(told, static_cast<std::int64_t>(made.size()));
  EXPECT_EQ(read, bytes_of(from.dtype, from.rows, from.columns).n);
  return made;
}

TEST(WeightConversion, EveryPairOfFormatsIsDequantisedAndRounded) {
  constexpr std::int64_t kRows = 5, kColumns = 64;
  const std::vector<float> values = values_of(kRows * kColumns);
  for (const DType from : {DType::kF32, DType::kF16, DType::kBF16, DType::kQ4_1, DType::kQ8_0}) {
    const std::string stored = encoded(from, values, kColumns);
    const auto file = memory_file("f", std::string(48, 'x') + stored);
    std::vector<float> seen(values.size());
    for (std::int64_t r = 0; r < kRows; ++r) {
      cpu::dequantise_row(from, stored.data() + r * bytes_of(from, 1, kColumns).n,
                          &seen[static_cast<std::size_t>(r * kColumns)], kColumns);
    }
    for (const DType to : {DType::kF32, DType::kF16, DType::kBF16, DType::kF8E4M3, DType::kQ4_0,
                           DType::kQ4_1, DType::kQ5_0, DType::kQ5_1, DType::kQ8_0}) {
      ASSERT_TRUE(converts_to(to));
      EXPECT_EQ(converted(*file, {from, Bytes{48}, kRows, kColumns}, to),
                encoded(to, seen, kColumns))
          << info(from).name << " to " << info(to).name;
    }
  }
}

TEST(WeightConversion, WhatIsHeldIsBoundedWhateverTheMatrix) {
  constexpr std::int64_t kRows = 3000, kColumns = 96;
  const std::vector<float> values = values_of(kRows * kColumns);
  const WatchedFile file(encoded(DType::kF32, values, kColumns));
  EXPECT_EQ(converted(file, {DType::kF32, Bytes{0}, kRows, kColumns}, DType::kQ4_0),
            encoded(DType::kQ4_0, values, kColumns));
  EXPECT_LE(file.largest(), static_cast<std::size_t>(kConversionRead.n));
  EXPECT_GT(file.largest(), static_cast<std::size_t>(kConversionRead.n) * 9 / 10);
}

TEST(WeightConversion, WhatNoKernelReadsOrNoRoundingMakesIsRefused) {
  EXPECT_FALSE(converts_to(DType::kQ4_K));
  EXPECT_FALSE(converts_to(DType::kAwqI4));
  const auto file = memory_file("f", std::string(1024, '\0'));
  EXPECT_THROW(converted(*file, {DType::kIq4Nl, Bytes{0}, 1, 32}, DType::kF16), Error);
  EXPECT_THROW(converted(*file, {DType::kF16, Bytes{0}, 1, 256}, DType::kQ4_K), Error);
}

TEST(WeightConversion, AFileThatEndsEarlyIsAnError) {
  const auto file = memory_file("f", std::string(100, '\0'));
  EXPECT_THROW(converted(*file, {DType::kF32, Bytes{0}, 1, 32}, DType::kQ8_0), Error);
}

}  // namespace
}  // namespace vramplan
