#pragma once
// VisionTower: what the encoder of a vision projector computes at once, for its quadratic part.
// llama.cpp's clip graph: with flash attention only the mask grows with the square of the
// positions; without it every head's scores are materialised.
#include <cstdint>

#include "modelcards/units.h"

namespace vramplan {

/// positions: patches of the largest image (148 x 148 at 2,048 pixels of patch 14, merged by four).
/// Both zero: no tower that computes.
struct TowerShape {
  std::int64_t positions = 0, heads = 0;
  bool operator==(const TowerShape&) const = default;
};

/// flash: f16 mask [positions, positions]; else f32 scores [positions, positions, heads].
/// Source: gpustack/gguf-parser-go#23, #24. Errors: kOverflow.
Bytes tower_attention(const TowerShape& tower, bool flash_attention);

}  // namespace vramplan
