#include "kernels/cpu/dequantise.h"

#include <gtest/gtest.h>

#include <bit>
#include <cmath>
#include <fstream>
#include <limits>
#include <set>
#include <sstream>
#include <string>
#include <vector>

#include "kernels/cpu/half.h"

namespace vramplan {
namespace {

struct Reference {
  DType dtype;
  std::vector<std::uint8_t> bytes;
  std::vector<std::uint32_t> bits;
};

/// Lines written by tests/reference/quant_blocks_gguf.py.
std::vector<Reference> references() {
  std::ifstream file(std::string(VRAMPLAN_SOURCE_DIR) + "/tests/kernels/cpu/quant_blocks.txt");
  std::vector<Reference> out;
  for (std::string line; std::getline(file, line);) {
    std::istringstream fields(line);
    std::string name, hex, values;
    fields >> name >> hex >> values;
    Reference r{dtype_from_name(name).value(), {}, {}};
    for (std::size_t i = 0; i + 1 < hex.size(); i += 2) {
      r.bytes.push_back(static_cast<std::uint8_t>(std::stoul(hex.substr(i, 2), nullptr, 16)));
    }
    for (std::size_t i = 0; i < values.size(); i += 9) {
      r.bits.push_back(static_cast<std::uint32_t>(std::stoul(values.substr(i, 8), nullptr, 16)));
    }
    out.push_back(r);
  }
  return out;
}

TEST(Dequantise, EqualsTheGgufPackageToTheLastBit) {
  std::set<DType> seen;
  for (const Reference& r : references()) {
    seen.insert(r.dtype);
    std::vector<float> out(r.bits.size());
    ASSERT_EQ(bytes_of(r.dtype, 1, static_cast<std::int64_t>(out.size())).n,
              static_cast<std::int64_t>(r.bytes.size()));
    cpu::dequantise_row(r.dtype, r.bytes.data(), out.data(), static_cast<std::int64_t>(out.size()));
    for (std::size_t i = 0; i < out.size(); ++i) {
      // 0 and -0 are the same value: the difference of two equal products may have either sign.
      const float expected = std::bit_cast<float>(r.bits[i]);
      ASSERT_EQ(out[i], expected) << info(r.dtype).name << " element " << i;
    }
  }
  EXPECT_EQ(seen.size(), 10U);
}

TEST(Dequantise, ReadsDenseRows) {
  const std::uint16_t f16[] = {0x3c00, 0xc000, 0x0001, 0x7bff, 0x8000, 0x7c00};
  const float expected[] = {1.0F,     -2.0F, 5.9604644775390625e-8F,
                            65504.0F, -0.0F, std::numeric_limits<float>::infinity()};
  float out[6];
  cpu::dequantise_row(DType::kF16, f16, out, 6);
  for (int i = 0; i < 6; ++i) EXPECT_EQ(out[i], expected[i]);
  const std::uint16_t bf16[] = {0x3f80, 0xc040};
  cpu::dequantise_row(DType::kBF16, bf16, out, 2);
  EXPECT_EQ(out[0], 1.0F);
  EXPECT_EQ(out[1], -3.0F);
}

TEST(Dequantise, RefusesAFormatItDoesNotReadByName) {
  for (const DType dtype : {DType::kI8, DType::kI32, DType::kAwqI4}) {
    try {
      float out = 0;
      cpu::dequantise_row(dtype, &out, &out, 1);
      FAIL() << "no error";
    } catch (const Error& error) {
      EXPECT_EQ(error.code(), ErrorCode::kUnsupported);
      EXPECT_NE(error.message().find(info(dtype).name), std::string::npos);
    }
  }
}

TEST(Half, EveryF16SurvivesTheRoundTrip) {
  for (std::uint32_t h = 0; h < 65536; ++h) {
    const auto half = static_cast<std::uint16_t>(h);
    const float value = cpu::f16_to_f32(half);
    if (std::isnan(value)) {
      EXPECT_TRUE(std::isnan(cpu::f16_to_f32(cpu::f32_to_f16(value))));
    } else {
      ASSERT_EQ(cpu::f32_to_f16(value), half);
    }
  }
}

TEST(Half, RoundsToNearestEven) {
  EXPECT_EQ(cpu::f32_to_f16(1.0F + 1.0F / 2048), 0x3c00);  // half way: to even
  EXPECT_EQ(cpu::f32_to_f16(1.0F + 3.0F / 2048), 0x3c02);
  EXPECT_EQ(cpu::f32_to_f16(65519.0F), 0x7bff);
  EXPECT_EQ(cpu::f32_to_f16(65520.0F), 0x7c00);
  EXPECT_EQ(cpu::f32_to_f16(-2.98e-8F), 0x8000);  // below half of the least
  EXPECT_EQ(cpu::f32_to_bf16(std::bit_cast<float>(0x3f808000U)), 0x3f80);
  EXPECT_EQ(cpu::f32_to_bf16(std::bit_cast<float>(0x3f818000U)), 0x3f82);
}

}  // namespace
}  // namespace vramplan
