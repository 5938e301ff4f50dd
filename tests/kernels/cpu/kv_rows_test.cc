#include <gtest/gtest.h>

#include <cmath>
#include <cstring>

#include "kernels/cpu/half.h"
#include "kernels/cpu/kv_cache.h"
#include "kernels/cpu/kv_tile.h"
#include "random_tensors.h"
#include "tests/reference/fixture.h"

namespace vramplan {
namespace {

using Row = std::vector<std::byte>;

Row encoded(DType dtype, const std::vector<float>& x) {
  const auto n = static_cast<std::int64_t>(x.size());
  Row row(static_cast<std::size_t>(kv_row_bytes(dtype, n).n + 8), std::byte{0x5a});
  cpu::store_kv_row(dtype, x.data(), n, row.data());
  for (std::size_t i = row.size() - 8; i < row.size(); ++i) EXPECT_EQ(row[i], std::byte{0x5a});
  row.resize(row.size() - 8);
  return row;
}

TEST(KvRows, Float8CodesAreTorchs) {
  const auto fixture = reference::read_json("kv_rows.json");
  const auto& values = fixture.at("f8_values");
  for (unsigned code = 0; code < 256; ++code) {
    const float value = cpu::f8_to_f32(static_cast<std::uint8_t>(code));
    if (values.at(code).is_null()) {
      EXPECT_TRUE(std::isnan(value)) << code;
      continue;
    }
    EXPECT_EQ(value, values.at(code).get<float>()) << code;
    EXPECT_EQ(cpu::f32_to_f8(value), code);
  }
  EXPECT_EQ(cpu::f32_to_f8(1e9F), 0x7e);
  EXPECT_EQ(cpu::f32_to_f8(-INFINITY), 0xfe);
  EXPECT_EQ(cpu::f32_to_f8(NAN) & 0x7f, 0x7f);
}

TEST(KvRows, BytesAreThoseOfTorchAndGguf) {
  for (const auto& entry : reference::read_json("kv_rows.json").at("rows")) {
    const auto x = entry.at("x").get<std::vector<float>>();
    for (const DType dtype : {DType::kF8E4M3, DType::kQ8_0, DType::kQ4_0}) {
      const char* name = dtype == DType::kF8E4M3 ? "f8_e4m3" : info(dtype).name;
      const auto expected = entry.at(name).get<std::vector<int>>();
      const Row row = encoded(dtype, x);
      ASSERT_EQ(row.size(), expected.size());
      for (std::size_t i = 0; i < row.size(); ++i)
        ASSERT_EQ(std::to_integer<int>(row[i]), expected[i]) << name << " byte " << i;
    }
  }
}

TEST(KvRows, Int8IsWithinHalfAStepOfTheRowsLargest) {
  const std::vector<float> x = random_floats(77, 3);
  const Row row = encoded(DType::kI8, x);
  EXPECT_EQ(row.size(), 81U);
  float most = 0;
  for (const float v : x) most = std::fmax(most, std::fabs(v));
  for (std::int64_t i = 0; i < 77; ++i) {
    EXPECT_NEAR(cpu::kv_element(DType::kI8, row.data(), 77, i), x[static_cast<std::size_t>(i)],
                most / 254 * 1.0001F);
  }
  std::vector<float> zeros(77, 0.0F);
  const Row zero = encoded(DType::kI8, zeros);
  EXPECT_EQ(cpu::kv_element(DType::kI8, zero.data(), 77, 5), 0.0F);
}

TEST(KvRows, WidenedRowsAreTheElementsBitForBitAndPaddedWithZeros) {
  for (const DType dtype : {DType::kF32, DType::kF16, DType::kBF16, DType::kF8E4M3, DType::kI8,
                            DType::kQ8_0, DType::kQ4_0}) {
    for (const std::int64_t n : {64, 96, 20}) {
      if (n % 32 != 0 && info(dtype).block_elements > 1) continue;
      const Row row = encoded(dtype, random_floats(n, static_cast<unsigned>(n), 3.0F));
      std::vector<float> wide(static_cast<std::size_t>(cpu::padded(n)), NAN);
      cpu::widen_row(dtype, row.data(), n, wide.data());
      for (std::int64_t i = 0; i < cpu::padded(n); ++i) {
        const float expected = i < n ? cpu::kv_element(dtype, row.data(), n, i) : 0.0F;
        ASSERT_EQ(wide[static_cast<std::size_t>(i)], expected) << info(dtype).name << " " << i;
      }
    }
  }
}

TEST(KvRows, ANaNStaysVisible) {
  std::vector<float> x = random_floats(64, 9);
  x[40] = NAN;
  for (const DType dtype : {DType::kF32, DType::kF16, DType::kBF16, DType::kF8E4M3, DType::kI8,
                            DType::kQ8_0, DType::kQ4_0}) {
    const Row row = encoded(dtype, x);
    EXPECT_TRUE(std::isnan(cpu::kv_element(dtype, row.data(), 64, 40))) << info(dtype).name;
    std::vector<float> wide(64);
    cpu::widen_row(dtype, row.data(), 64, wide.data());
    EXPECT_TRUE(std::isnan(wide[40])) << info(dtype).name;
  }
}

TEST(KvRows, RefusesFormatsAndWidthsByName) {
  EXPECT_THROW(cpu::require_supported_kv(DType::kQ4_K, 256), Error);
  EXPECT_THROW(cpu::require_supported_kv(DType::kQ8_0, 80), Error);
  EXPECT_NO_THROW(cpu::require_supported_kv(DType::kI8, 80));
}

}  // namespace
}  // namespace vramplan
