#pragma once
// PassInput: the tokens of one forward pass; it owns nothing.
#include <cstdint>
#include <span>

#include "kernels/ops.h"

namespace vramplan {

/// The tokens of one forward pass; T rows. The spans live until the pass is synchronised.
struct PassInput {
  std::span<const std::int32_t> ids;         // [T]
  std::span<const std::int32_t> positions;   // [T]
  std::span<const std::int64_t> slots;       // [T] where their K and V go, < 0 = nowhere
  std::span<const SequenceSlice> slices;     // query rows of each sequence, in order
  std::span<const std::int32_t> logit_rows;  // [R] rows whose logits are wanted
};

}  // namespace vramplan
