#include "modelcards/dtype.h"

#include <array>

namespace vramplan {
namespace {

// Elements and bytes per block, and type numbers: GGUF specification (ggml type table).
constexpr std::array<DTypeInfo, 36> kTable{{
    {"f32", 1, 4, 0},      {"f16", 1, 2, 1},      {"bf16", 1, 2, 30},    {"fp8", 1, 1, -1},
    {"int8", 1, 1, 24},    {"i32", 1, 4, 26},     {"q4_0", 32, 18, 2},   {"q4_1", 32, 20, 3},
    {"q5_0", 32, 22, 6},   {"q5_1", 32, 24, 7},   {"q8_0", 32, 34, 8},   {"q2_k", 256, 84, 10},
    {"q3_k", 256, 110, 11}, {"q4_k", 256, 144, 12}, {"q5_k", 256, 176, 13}, {"q6_k", 256, 210, 14},
    {"q8_k", 256, 292, 15}, {"iq1_s", 256, 50, 19}, {"iq1_m", 256, 56, 29}, {"iq2_xxs", 256, 66, 16},
    {"iq2_xs", 256, 74, 17}, {"iq2_s", 256, 82, 22}, {"iq3_xxs", 256, 98, 18},
    {"iq3_s", 256, 110, 21}, {"iq4_nl", 32, 18, 20}, {"iq4_xs", 256, 136, 23},
    {"tq1_0", 256, 54, 34}, {"tq2_0", 256, 66, 35}, {"mxfp4", 32, 17, 39}, {"nvfp4", 64, 36, 40},
    {"i16", 1, 2, 25},     {"i64", 1, 8, 27},     {"f64", 1, 8, 28},     {"fp8_e5m2", 1, 1, -1},
    {"fp8_e8m0", 1, 1, -1}, {"f4", 2, 1, -1},
}};

}  // namespace

const DTypeInfo& info(DType dtype) { return kTable[static_cast<std::size_t>(dtype)]; }

std::optional<DType> dtype_from_name(const std::string& name) {
  std::string wanted = name;
  for (char& c : wanted) c = (c >= 'A' && c <= 'Z') ? static_cast<char>(c + 32) : c;
  if (wanted == "fp32" || wanted == "float32") wanted = "f32";
  if (wanted == "fp16" || wanted == "float16") wanted = "f16";
  if (wanted == "bfloat16") wanted = "bf16";
  if (wanted == "f8" || wanted == "fp8_e4m3" || wanted == "f8_e4m3") wanted = "fp8";
  if (wanted == "i8") wanted = "int8";
  for (std::size_t i = 0; i < kTable.size(); ++i) {
    if (wanted == kTable[i].name) return static_cast<DType>(i);
  }
  return std::nullopt;
}

std::optional<DType> dtype_from_ggml(std::uint32_t ggml_type) {
  for (std::size_t i = 0; i < kTable.size(); ++i) {
    if (kTable[i].ggml_type >= 0 && static_cast<std::uint32_t>(kTable[i].ggml_type) == ggml_type) {
      return static_cast<DType>(i);
    }
  }
  return std::nullopt;
}

bool is_block_quantised(DType dtype) { return info(dtype).block_elements > 1; }

Bytes bytes_of(DType dtype, std::int64_t rows, std::int64_t columns) {
  const DTypeInfo& d = info(dtype);
  if (rows < 0 || columns < 0 || columns % d.block_elements != 0) {
    throw Error(ErrorCode::kBadCard, "a row of " + std::to_string(columns) + " elements cannot be " +
                                         d.name + ": blocks have " + std::to_string(d.block_elements))
        .help("choose a format whose block divides the row, such as f16 or q8_0");
  }
  const std::int64_t blocks = columns / d.block_elements;
  return {detail::checked_mul(detail::checked_mul(rows, blocks), d.block_bytes)};
}

}  // namespace vramplan
