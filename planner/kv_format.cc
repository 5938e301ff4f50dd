#include "planner/kv_format.h"

namespace vramplan {

DType dtype_of(KvFormat format) {
  static constexpr DType kTypes[kKvFormats] = {
      DType::kF32,    DType::kF16,   DType::kBF16, DType::kF8E4M3, DType::kI8,
      DType::kI4,     DType::kQ8_0,  DType::kQ4_0, DType::kNvfp4,  DType::kKivi2,
      DType::kF8E4M3, DType::kNvfp4, DType::kKivi4};
  return kTypes[static_cast<int>(format)];
}

const char* name_of(KvFormat format) {
  static constexpr const char* kNames[kKvFormats] = {
      "f32",  "f16",   "bf16",  "fp8",        "int8",         "int4", "q8_0",
      "q4_0", "nvfp4", "kivi2", "fp8_ds_mla", "nvfp4_ds_mla", "kivi4"};
  return kNames[static_cast<int>(format)];
}

bool needs_residual(KvFormat format) {
  return format == KvFormat::kKivi2 || format == KvFormat::kKivi4;
}

std::string name_of(const KvEncoding& encoding) {
  std::string text = name_of(encoding.format);
  for (std::int64_t head = 0; head < encoding.full_heads.end(); ++head) {
    if (encoding.full_heads.has(head)) text += "/" + std::to_string(head);
  }
  return text;
}

}  // namespace vramplan
