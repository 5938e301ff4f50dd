// quantization_config of a config.json -> the packed format of the linear layers and what it leaves
// out.
#include <algorithm>

#include "modelcards/hf_config.h"
#include "modelcards/hf_patterns.h"

namespace vramplan {
namespace {

constexpr std::int64_t kMost = std::int64_t{1} << 20;

[[noreturn]] void refuse(const JsonNode& at, const std::string& what) {
  at.fail(ErrorCode::kUnsupported, what + ": config.json alone does not say its bytes",
          "give the folder with its .safetensors files, or plan the unquantised model with "
          "--weights");
}

DType of_group(const JsonNode& at, std::int64_t group, DType g128, DType g64, DType g32) {
  if (group == 128) return g128;
  if (group == 64) return g64;
  if (group == 32) return g32;
  refuse(at, "groups of " + std::to_string(group));
}

DType awq(const JsonNode& q) {
  if (q.integer_or(q.has("bits") ? "bits" : "w_bit", 4, 1, 16) != 4) refuse(q, "AWQ of these bits");
  const std::int64_t group = q.integer_or(q.has("group_size") ? "group_size" : "q_group_size", 128,
                                          -1, kMost);
  return of_group(q, group, DType::kAwqI4, DType::kAwqI4G64, DType::kAwqI4G32);
}

DType gptq(const JsonNode& q) {
  const std::int64_t bits = q.integer_or("bits", 4, 1, 16);
  const std::int64_t group = q.integer_or("group_size", 128, -1, kMost);
  if (bits == 8 && group == 128) return DType::kGptqI8;
  if (bits != 4) refuse(q, "GPTQ of " + std::to_string(bits) + " bits");
  return of_group(q, group, DType::kGptqI4, DType::kGptqI4G64, DType::kGptqI4G32);
}

DType bitsandbytes(const JsonNode& q) {
  const bool old = q.boolean_or("_load_in_4bit", false);
  if (q.boolean_or("load_in_4bit", old)) {
    return q.boolean_or("bnb_4bit_use_double_quant", false) ? DType::kNf4Double : DType::kNf4;
  }
  return DType::kBnbInt8;
}

DType modelopt(const JsonNode& q) {
  const JsonNode where = q.has("quantization") ? q.at("quantization") : q;
  const std::string algorithm = where.text_or("quant_algo", "");
  if (algorithm == "FP8") return DType::kFp8Tensor;
  if (algorithm == "NVFP4") return DType::kNvfp4Packed;
  refuse(q, "ModelOpt's " + printable(algorithm));
}

/// One group of layers, or several with the same weights.
DType compressed_tensors(const JsonNode& q) {
  const std::vector<JsonNode> groups = q.at("config_groups").items();
  if (groups.size() != 1) refuse(q.at("config_groups"), "several formats in one checkpoint");
  const JsonNode weights = groups[0].at("weights");
  const std::int64_t bits = weights.integer_or("num_bits", 8, 1, 16);
  const std::string kind = weights.text_or("type", "int");
  const std::string strategy = weights.text_or("strategy", "tensor");
  if (kind == "float" && bits == 8) {
    if (strategy == "channel") return DType::kFp8Channel;
    if (strategy == "block") return DType::kFp8Block;
    return DType::kFp8Tensor;
  }
  if (kind == "float" && bits == 4) {
    const bool nv = weights.integer_or("group_size", 16, 1, kMost) == 16;
    return nv ? DType::kNvfp4Packed : DType::kMxfp4Packed;
  }
  if (kind == "int" && bits == 8 && strategy == "channel" &&
      q.text_or("format", "int-quantized") == "int-quantized") {
    return DType::kInt8Channel;
  }
  if (kind != "int" || bits != 4) refuse(weights, "this format of compressed-tensors");
  if (!weights.boolean_or("symmetric", true)) refuse(weights, "packed zero points");
  if (strategy == "channel") return DType::kPackedI4Channel;
  return of_group(weights, weights.integer_or("group_size", 128, -1, kMost), DType::kPackedI4,
                  DType::kPackedI4G64, DType::kPackedI4G32);
}

DType format_of(const JsonNode& q) {
  const bool bnb = q.has("load_in_4bit") || q.has("load_in_8bit");
  const std::string method =
      q.text_or("quant_method", bnb ? "bitsandbytes" : q.has("quant_algo") ? "modelopt" : "");
  if (method == "awq") return awq(q);
  if (method == "gptq") return gptq(q);
  if (method == "fp8") {
    return q.has("weight_block_size") ? DType::kFp8Block : DType::kFp8Tensor;
  }
  if (method == "compressed-tensors") return compressed_tensors(q);
  if (method == "mxfp4") return DType::kMxfp4Packed;
  if (method == "bitsandbytes") return bitsandbytes(q);
  if (method == "modelopt") return modelopt(q);
  refuse(q, "a checkpoint quantised by " + printable(method.empty() ? "an unnamed method" : method));
}

}  // namespace

void read_hf_quantisation(const JsonNode& q, ModelCard& card) {
  const DType format = format_of(q);
  std::vector<std::string> patterns;
  for (const char* field : {"modules_to_not_convert", "ignored_layers", "ignore", "exclude_modules",
                            "llm_int8_skip_modules"}) {
    if (!q.has(field)) continue;
    for (const JsonNode& item : q.at(field).items()) patterns.push_back(item.text());
  }
  // The attention of gpt-oss stays in 16 bits whether its list says so or not.
  if (format == DType::kMxfp4Packed) patterns.emplace_back("self_attn");
  // Without a word about the unquantised format it is bf16; float32 is no published case.
  card.unpacked_weights =
      card.stored_weights == DType::kF32 ? DType::kBF16 : card.stored_weights;
  card.stored_weights = format;
  card.unpacked = unpacked_fragments(patterns, card);
}

}  // namespace vramplan
