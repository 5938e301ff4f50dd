#include "kernels/cpu/quantise.h"

#include <gtest/gtest.h>

#include <bit>
#include <cmath>
#include <fstream>
#include <limits>
#include <set>
#include <sstream>
#include <string>
#include <vector>

#include "kernels/cpu/dequantise.h"
#include "modelcards/error.h"

namespace vramplan {
namespace {

struct Reference {
  DType dtype;
  std::vector<float> values;
  std::string bytes;  // as hex
};

/// Lines written by tests/reference/quantise_gguf.py.
std::vector<Reference> references() {
  std::ifstream file(std::string(VRAMPLAN_SOURCE_DIR) + "/tests/kernels/cpu/quantised_rows.txt");
  std::vector<Reference> out;
  for (std::string line; std::getline(file, line);) {
    std::istringstream fields(line);
    std::string name, values;
    Reference r{DType::kF32, {}, {}};
    fields >> name >> values >> r.bytes;
    r.dtype = dtype_from_name(name).value();
    for (std::size_t i = 0; i < values.size(); i += 9) {
      const auto bits = static_cast<std::uint32_t>(std::stoul(values.substr(i, 8), nullptr, 16));
      r.values.push_back(std::bit_cast<float>(bits));
    }
    out.push_back(r);
  }
  return out;
}

std::string hex_of(const std::vector<std::uint8_t>& bytes) {
  std::string text;
  for (const std::uint8_t byte : bytes) {
    for (const int nibble : {byte >> 4, byte & 15}) {
      text += "0123456789abcdef"[nibble];
    }
  }
  return text;
}

std::vector<std::uint8_t> quantised(DType dtype, const std::vector<float>& values) {
  const auto n = static_cast<std::int64_t>(values.size());
  std::vector<std::uint8_t> row(static_cast<std::size_t>(bytes_of(dtype, 1, n).n));
  cpu::quantise_row(dtype, values.data(), row.data(), n);
  return row;
}

TEST(Quantise, EqualsTheGgufPackageToTheLastByte) {
  std::set<DType> seen;
  for (const Reference& r : references()) {
    seen.insert(r.dtype);
    EXPECT_EQ(hex_of(quantised(r.dtype, r.values)), r.bytes) << info(r.dtype).name;
  }
  EXPECT_EQ(seen.size(), 7U);
}

TEST(Quantise, WritesWhatDequantisingReads) {
  std::vector<float> values, back(64);
  for (int i = 0; i < 64; ++i) values.push_back(0.01F * static_cast<float>(i * i % 41 - 20));
  for (int d = 0; d <= static_cast<int>(DType::kNvfp4Packed); ++d) {
    const auto dtype = static_cast<DType>(d);
    if (!cpu::is_rounded_format(dtype)) continue;
    const std::vector<std::uint8_t> row = quantised(dtype, values);
    cpu::dequantise_row(dtype, row.data(), back.data(), 64);
    // Of values within 0.2 a step of q4_0, which one end is cut by: 0.2 / 8; and f16's scale.
    for (std::size_t i = 0; i < 64; ++i) {
      EXPECT_NEAR(back[i], values[i], 0.0252F) << info(dtype).name << " " << i;
    }
  }
}

TEST(Quantise, OfBadNumbersMakesDefinedBytes) {
  for (const float bad :
       {std::numeric_limits<float>::quiet_NaN(), 1e-42F, std::numeric_limits<float>::infinity()}) {
    std::vector<float> values(32, bad);
    for (const DType dtype : {DType::kQ4_0, DType::kQ4_1, DType::kQ5_0, DType::kQ8_0}) {
      EXPECT_EQ(quantised(dtype, values), quantised(dtype, values)) << info(dtype).name;
    }
  }
}

TEST(Quantise, RefusesAFormatWhoseScalesAreSearchedFor) {
  for (const DType dtype : {DType::kQ4_K, DType::kIq4Nl, DType::kAwqI4, DType::kI8}) {
    EXPECT_FALSE(cpu::is_rounded_format(dtype));
    try {
      float value = 0;
      cpu::quantise_row(dtype, &value, &value, 1);
      FAIL() << "no error for " << info(dtype).name;
    } catch (const Error& error) {
      EXPECT_EQ(error.code(), ErrorCode::kUnsupported);
      EXPECT_NE(std::string(error.what()).find(info(dtype).name), std::string::npos);
    }
  }
}

}  // namespace
}  // namespace vramplan
