#include "planner/decisions.h"

namespace vramplan {

DType dtype_of(KvFormat format) {
  static constexpr DType kTypes[kKvFormats] = {
      DType::kF32,  DType::kF16,  DType::kBF16,  DType::kF8E4M3, DType::kI8,     DType::kI4,
      DType::kQ8_0, DType::kQ4_0, DType::kNvfp4, DType::kQ3_K,   DType::kF8E4M3, DType::kNvfp4};
  return kTypes[static_cast<int>(format)];
}

const char* name_of(KvFormat format) {
  static constexpr const char* kNames[kKvFormats] = {
      "f32",  "f16",  "bf16",  "fp8",   "int8",       "int4",
      "q8_0", "q4_0", "nvfp4", "kivi2", "fp8_ds_mla", "nvfp4_ds_mla"};
  return kNames[static_cast<int>(format)];
}

const char* name_of(KvPolicy policy) {
  return policy == KvPolicy::kWindow ? "window" : "keep_all";
}

const char* name_of(AttentionAlgorithm algorithm) {
  return algorithm == AttentionAlgorithm::kNaive ? "naive" : "tiled";
}

LayerRange layers_of_stage(std::int64_t layer_count, int pp, int stage) {
  VRAMPLAN_CHECK(pp >= 1 && stage >= 0 && stage < pp);
  const std::int64_t base = layer_count / pp;
  const std::int64_t longer = layer_count % pp;  // the first `longer` stages hold one layer more
  const std::int64_t begin = stage * base + (stage < longer ? stage : longer);
  return {begin, begin + base + (stage < longer ? 1 : 0)};
}

}  // namespace vramplan
