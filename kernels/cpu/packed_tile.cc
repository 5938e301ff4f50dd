#include "kernels/cpu/packed_tile.h"

#include <algorithm>
#include <cmath>
#include <limits>

#include "kernels/cpu/half.h"

namespace vramplan::cpu {
namespace {

int shift_of(int bits, std::int64_t at) { return static_cast<int>(8 * (at % 4) + bits * (at / 4)); }

struct Group {
  float scale, zero;  // as they are stored, in f32
};

/// Scale and zero of the 32 elements x[0], x[stride] ...
Group group_of(const float* x, std::int64_t stride, float levels) {
  float least = x[0], most = x[0];
  bool number = true;
  for (std::int64_t lane = 0; lane < kTileLanes; ++lane) {
    const float value = x[lane * stride];
    least = std::fmin(least, value);
    most = std::fmax(most, value);
    number = number && !std::isnan(value);
  }
  if (!number) least = most = std::numeric_limits<float>::quiet_NaN();
  return {f16_to_f32(f32_to_f16((most - least) / levels)), f16_to_f32(f32_to_f16(least))};
}

}  // namespace

void pack_tile(const TileSource& from, const PackedTile& to) {
  const int bits = to.bits;
  const std::int64_t per_word = 32 / bits;
  const float levels = static_cast<float>((1 << bits) - 1);
  std::uint32_t* words = to.words();
  std::fill(words, words + to.count / per_word * kTileLanes, 0U);
  for (std::int64_t i = 0; i < to.count; ++i) {
    const float* x = from.data + i * from.element_stride;
    const Group group = group_of(x, from.lane_stride, levels);
    to.scales()[i] = f32_to_f16(group.scale);
    to.zeros()[i] = f32_to_f16(group.zero);
    if (!(group.scale > 0.0F)) continue;  // all alike, or no number: codes 0
    std::uint32_t* word = words + i / per_word * kTileLanes;
    const int shift = shift_of(bits, i % per_word);
    for (std::int64_t lane = 0; lane < kTileLanes; ++lane) {
      const float code = std::nearbyint((x[lane * from.lane_stride] - group.zero) / group.scale);
      const float kept = std::fmin(std::fmax(code, 0.0F), levels);
      word[lane] |= static_cast<std::uint32_t>(kept) << shift;
    }
  }
}

float tile_element(const PackedTile& tile, std::int64_t i, std::int64_t lane) {
  const std::int64_t per_word = 32 / tile.bits;
  const std::uint32_t word = tile.words()[i / per_word * kTileLanes + lane];
  const std::uint32_t code = (word >> shift_of(tile.bits, i % per_word)) & ((1U << tile.bits) - 1U);
  return f16_to_f32(tile.zeros()[i]) + f16_to_f32(tile.scales()[i]) * static_cast<float>(code);
}

}  // namespace vramplan::cpu
