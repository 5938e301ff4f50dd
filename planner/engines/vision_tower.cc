#include "planner/engines/vision_tower.h"

namespace vramplan {

Bytes tower_attention(const TowerShape& tower, bool flash_attention) {
  const std::int64_t square = detail::checked_mul(tower.positions, tower.positions);
  if (flash_attention) return Bytes{2} * square;
  return Bytes{4} * detail::checked_mul(square, tower.heads);
}

}  // namespace vramplan
