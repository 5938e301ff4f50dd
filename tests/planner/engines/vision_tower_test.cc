#include "planner/engines/vision_tower.h"

#include <gtest/gtest.h>

namespace vramplan {
namespace {

// An image of 2,072 pixels in patches of 14, 148 x 148 = 21,904 positions and 16 heads: the mask in
// f16 with flash attention, every score in f32 without. Source: gguf-parser-go#23, #24.
TEST(VisionTower, ItsQuadraticPartIsTheMaskOrTheScores) {
  const TowerShape tower{21904, 16};
  EXPECT_EQ(tower_attention(tower, true).n, 2LL * 21904 * 21904);
  EXPECT_EQ(tower_attention(tower, false).n, 4LL * 21904 * 21904 * 16);
  EXPECT_EQ(tower_attention({}, true).n, 0);
}

}  // namespace
}  // namespace vramplan
