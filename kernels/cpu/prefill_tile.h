#pragma once
// PrefillTile: what a pass of many queries over the keys keeps of a tile of query rows, and its
// results as a part of them: of some of the keys, to be merged.
#include <algorithm>
#include <limits>

#include "kernels/cpu/attention.h"
#include "kernels/cpu/cpu_ops.h"
#include "kernels/cpu/kv_tile.h"
#include "kernels/cpu/math.h"

namespace vramplan::cpu {
namespace {  // each file has its own copy, for its own vector width

constexpr float kMinusInfinity = -std::numeric_limits<float>::infinity();
constexpr int kKeyStep = kLanes == 16 ? 8 : 4;  // keys scored together
constexpr int kRowStep = 4;                     // rows whose values are summed together
constexpr int kValueVectors = kLanes == 16 ? 4 : 2;

struct TileSize {
  int row_vectors;    // rows = row_vectors * kLanes
  std::int64_t keys;  // a multiple of kKeyStep
};

/// Of a thread's scratch.
[[maybe_unused]] std::int64_t tile_floats(const KvLayerView& kv, const TileSize& size) {
  const std::int64_t h = padded(kv.head_dim), v = padded(kv.value_dim);
  const std::int64_t rows = size.row_vectors * kLanes;
  return rows * (h + v) + size.keys * (std::max(h, v) + rows) + 3 * rows;
}

/// The largest tile of these dimensions that fits a thread's scratch; 0 keys when none does.
[[maybe_unused]] TileSize tile_size(const KvLayerView& kv) {
  for (const TileSize size : {TileSize{3, 64}, TileSize{3, 32}, TileSize{1, 64}, TileSize{1, 16}}) {
    if (tile_floats(kv, size) * 4 <= kScratchBytes) return size;
  }
  return {1, 0};
}

/// Few rows waste less of a small tile.
[[maybe_unused]] TileSize tile_size(const KvLayerView& kv, std::int64_t rows) {
  const TileSize size = tile_size(kv);
  return rows <= kLanes ? TileSize{1, size.keys} : size;
}

template <int kRowVectors>
struct PrefillTile {
  static constexpr std::int64_t kRows = kRowVectors * kLanes;
  std::int64_t keys, head_dim, value_dim;  // padded
  float* q;                                // [head_dim, kRows], scaled
  float* kv;                               // [keys, max(head_dim, value_dim)]
  float* scores;                           // [keys, kRows]
  float* values;                           // [kRows, value_dim]
  float* keep;                             // [kRows] exp(old largest - new largest)
  std::int32_t* position;                  // [kRows] of the row's query
  float* sum;                              // [kRows]
  Vf largest[kRowVectors];
};

template <int kRowVectors>
PrefillTile<kRowVectors> tile_in(float* scratch, const KvLayerView& kv, std::int64_t keys) {
  constexpr std::int64_t kRows = PrefillTile<kRowVectors>::kRows;
  PrefillTile<kRowVectors> t{};
  t.keys = keys;
  t.head_dim = padded(kv.head_dim);
  t.value_dim = padded(kv.value_dim);
  t.q = scratch;
  t.kv = t.q + t.head_dim * kRows;
  t.scores = t.kv + keys * std::max(t.head_dim, t.value_dim);
  t.values = t.scores + keys * kRows;
  t.keep = t.values + kRows * t.value_dim;
  t.sum = t.keep + kRows;
  t.position = reinterpret_cast<std::int32_t*>(t.sum + kRows);
  return t;
}

/// Rows first .. first + count of a slice: their positions, and results of no key yet. Rows beyond
/// count repeat the last position; their results are not written.
template <int kRowVectors>
void clear_results(const AttentionCall& call, const SequenceSlice& slice, std::int64_t first,
                   std::int64_t count, PrefillTile<kRowVectors>& t) {
  constexpr std::int64_t kRows = PrefillTile<kRowVectors>::kRows;
  for (std::int64_t r = 0; r < kRows; ++r) {
    const std::int64_t query = (first + std::min(r, count - 1)) / call.group;
    t.position[r] = static_cast<std::int32_t>(slice.kv_length - slice.query_count + query);
    t.sum[r] = 0.0F;
  }
  for (Vf& largest : t.largest) largest = set1(kMinusInfinity);
  std::fill(t.values, t.values + kRows * t.value_dim, 0.0F);
}

}  // namespace
}  // namespace vramplan::cpu
