#pragma once
// RopeTable: inverse frequencies of a rotary embedding with the context scaling already applied.
#include <cstdint>
#include <vector>

#include "kernels/ops.h"
#include "modelcards/model_card.h"

namespace vramplan {

class RopeTable {
 public:
  /// base: theta^(-2i / rotary_dim), i in [0, rotary_dim / 2).
  /// linear: / factor. llama3: long waves / factor, short ones kept, a linear ramp between
  /// (Llama 3.1 reference code, apply_scaling). yarn: NTK-by-parts with beta_fast 32 and beta_slow
  /// 1, magnitude 0.1 ln(factor) + 1 (Peng et al. 2023, arXiv 2309.00071, equations 17-23). Errors:
  /// kUnsupported naming an unknown scaling, kBadCard for a factor or context out of range.
  RopeTable(const Rope& rope, std::int64_t head_dim);

  /// Valid while this table lives and is not moved.
  RopeParams params() const;
  const std::vector<float>& inverse_frequency() const { return inverse_frequency_; }
  float magnitude() const { return magnitude_; }

 private:
  std::int64_t head_dim_, rotary_dim_;
  bool interleaved_;
  std::vector<float> inverse_frequency_;
  float magnitude_ = 1.0F;
};

}  // namespace vramplan
