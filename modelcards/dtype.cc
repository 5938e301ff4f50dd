#include "modelcards/dtype.h"

#include <array>

namespace vramplan {
namespace {

// Elements and bytes per block, and type numbers: GGUF specification (ggml type table).
constexpr std::array<DTypeInfo, 59> kTable{{
    {"f32", 1, 4, 0},
    {"f16", 1, 2, 1},
    {"bf16", 1, 2, 30},
    {"fp8", 1, 1, -1},
    {"int8", 1, 1, 24},
    {"i32", 1, 4, 26},
    {"q4_0", 32, 18, 2},
    {"q4_1", 32, 20, 3},
    {"q5_0", 32, 22, 6},
    {"q5_1", 32, 24, 7},
    {"q8_0", 32, 34, 8},
    {"q2_k", 256, 84, 10},
    {"q3_k", 256, 110, 11},
    {"q4_k", 256, 144, 12},
    {"q5_k", 256, 176, 13},
    {"q6_k", 256, 210, 14},
    {"q8_k", 256, 292, 15},
    {"iq1_s", 256, 50, 19},
    {"iq1_m", 256, 56, 29},
    {"iq2_xxs", 256, 66, 16},
    {"iq2_xs", 256, 74, 17},
    {"iq2_s", 256, 82, 22},
    {"iq3_xxs", 256, 98, 18},
    {"iq3_s", 256, 110, 21},
    {"iq4_nl", 32, 18, 20},
    {"iq4_xs", 256, 136, 23},
    {"tq1_0", 256, 54, 34},
    {"tq2_0", 256, 66, 35},
    {"mxfp4", 32, 17, 39},
    {"nvfp4", 64, 36, 40},
    {"i16", 1, 2, 25},
    {"i64", 1, 8, 27},
    {"f64", 1, 8, 28},
    {"fp8_e5m2", 1, 1, -1},
    {"fp8_e8m0", 1, 1, -1},
    {"f4", 2, 1, -1},
    // Of packed formats: the group, and its bytes rounded up.
    {"int4", 2, 1, -1},
    {"kivi2", 32, 12, -1},
    {"kivi4", 32, 20, -1},
    {"fp8-tensor", 1, 1, -1},
    {"fp8-channel", 1, 1, -1},
    {"fp8-block", 1, 1, -1},
    {"int8-channel", 1, 1, -1},
    {"awq-int4", 128, 67, -1},
    {"awq-int4-g64", 64, 35, -1},
    {"awq-int4-g32", 32, 19, -1},
    {"gptq-int4", 128, 67, -1},
    {"gptq-int4-g64", 64, 35, -1},
    {"gptq-int4-g32", 32, 19, -1},
    {"gptq-int8", 128, 131, -1},
    {"packed-int4", 128, 66, -1},
    {"packed-int4-g64", 64, 34, -1},
    {"packed-int4-g32", 32, 18, -1},
    {"packed-int4-channel", 2, 1, -1},
    {"nf4", 64, 36, -1},
    {"nf4-double", 64, 33, -1},
    {"bnb-int8", 1, 1, -1},
    {"mxfp4-packed", 32, 17, -1},
    {"nvfp4-packed", 16, 9, -1},
}};

constexpr PackedRule awq(std::int64_t group) { return {4, group, 2, 4, 0, 0, 0}; }
constexpr PackedRule gptq(std::int64_t bits, std::int64_t group) {
  return {bits, group, 2, bits, 4, 0, 0};
}
// weight_shape: two 64-bit integers a matrix.
constexpr PackedRule packed_int4(std::int64_t group) { return {4, group, 2, 0, 0, 16, 0}; }

// In the order of the enumeration from kFp8Tensor on. AWQ: scales f16 and zeros of 4 bits a group
// (AutoAWQ, WQLinear). GPTQ: the same and g_idx (GPTQModel, QuantLinear). Packed int4 and the fp8
// and int8 channel formats: compressed-tensors (pack-quantized, float-quantized, int-quantized).
// fp8-tensor: weight_scale and input_scale f32. fp8-block: weight_scale_inv f32 of 128 x 128
// (DeepSeek-V3). nf4: absmax f32 per 64, a code of 16 f32; double: absmax of 8 bits, f32 per 256 of
// them, a code of 256 f32 and an offset (bitsandbytes, QuantState). bnb-int8: SCB f32 a row. mxfp4:
// E8M0 per 32 (OCP MX 1.0). nvfp4: E4M3 per 16, weight_scale_2 and input_scale f32 (ModelOpt).
constexpr std::array<PackedRule, 20> kPacked{{
    {8, PackedRule::kPerMatrix, 0, 0, 0, 8, 0},
    {8, PackedRule::kPerRow, 2, 0, 0, 0, 0},
    {8, PackedRule::kPerBlock, 4, 0, 0, 0, 0},
    {8, PackedRule::kPerRow, 2, 0, 0, 0, 0},
    awq(128),
    awq(64),
    awq(32),
    gptq(4, 128),
    gptq(4, 64),
    gptq(4, 32),
    gptq(8, 128),
    packed_int4(128),
    packed_int4(64),
    packed_int4(32),
    packed_int4(PackedRule::kPerRow),
    {4, 64, 4, 0, 0, 64, 0},
    {4, 64, 1, 0, 0, 64 + 1024 + 4, 256},
    {8, PackedRule::kPerRow, 4, 0, 0, 0, 0},
    {4, 32, 1, 0, 0, 0, 0},
    {4, 16, 1, 0, 0, 8, 0},
}};

Bytes packed_bytes(const PackedRule& rule, std::int64_t rows, std::int64_t columns) {
  const std::int64_t elements = detail::checked_mul(rows, columns);
  Bytes out{ceil_div(detail::checked_mul(elements, rule.bits), 8)};
  std::int64_t groups = 0;
  if (rule.group > 0) groups = elements / rule.group;
  if (rule.group == PackedRule::kPerRow) groups = rows;
  if (rule.group == PackedRule::kPerBlock) {
    groups = detail::checked_mul(ceil_div(rows, 128), ceil_div(columns, 128));
  }
  out += Bytes{rule.scale_bytes} * groups;
  out += Bytes{ceil_div(detail::checked_mul(groups, rule.zero_bits), 8)};
  out += Bytes{rule.column_bytes} * columns + Bytes{rule.matrix_bytes};
  if (rule.scales_per_scale > 0) out += Bytes{4} * ceil_div(groups, rule.scales_per_scale);
  return out;
}

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

bool is_block_quantised(DType dtype) {
  return info(dtype).block_elements > 1 && packed_rule(dtype) == nullptr;
}

const PackedRule* packed_rule(DType dtype) {
  if (dtype < DType::kFp8Tensor) return nullptr;
  return &kPacked[static_cast<std::size_t>(dtype) - static_cast<std::size_t>(DType::kFp8Tensor)];
}

Bytes bytes_of(DType dtype, std::int64_t rows, std::int64_t columns, std::int64_t matrices) {
  const DTypeInfo& d = info(dtype);
  if (rows < 0 || columns < 0 || columns % d.block_elements != 0) {
    throw Error(ErrorCode::kBadCard, "a row of " + std::to_string(columns) +
                                         " elements cannot be " + d.name + ": blocks have " +
                                         std::to_string(d.block_elements))
        .help("choose a format whose block divides the row, such as f16 or q8_0");
  }
  if (const PackedRule* rule = packed_rule(dtype)) {
    VRAMPLAN_CHECK(matrices >= 1 && rows % matrices == 0);
    return packed_bytes(*rule, rows / matrices, columns) * matrices;
  }
  const std::int64_t blocks = columns / d.block_elements;
  return {detail::checked_mul(detail::checked_mul(rows, blocks), d.block_bytes)};
}

double bytes_per_element(DType dtype) {
  const DTypeInfo& d = info(dtype);
  const PackedRule* rule = packed_rule(dtype);
  if (rule == nullptr) {
    return static_cast<double>(d.block_bytes) / static_cast<double>(d.block_elements);
  }
  const double weight = static_cast<double>(rule->bits) / 8;
  if (rule->group <= 0) return weight;
  const double side =
      static_cast<double>(rule->scale_bytes) + static_cast<double>(rule->zero_bits) / 8;
  return weight + side / static_cast<double>(rule->group);
}

}  // namespace vramplan
