#include "planner/decisions.h"

namespace vramplan {

DType dtype_of(KvFormat format) {
  switch (format) {
    case KvFormat::kF32:
      return DType::kF32;
    case KvFormat::kF16:
      return DType::kF16;
    case KvFormat::kBF16:
      return DType::kBF16;
  }
  VRAMPLAN_CHECK(false);
}

const char* name_of(KvFormat format) { return info(dtype_of(format)).name; }

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
