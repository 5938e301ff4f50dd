#pragma once
// DecodeTile: what a pass over the keys of one query a sequence keeps of a KV head, and the online
// softmax over it. Shared by the readers of rows and of packed tiles.
#include <algorithm>
#include <cmath>
#include <limits>

#include "kernels/cpu/attention.h"
#include "kernels/cpu/cpu_ops.h"
#include "kernels/cpu/kv_tile.h"
#include "kernels/cpu/math.h"

namespace vramplan::cpu {
namespace {  // each file has its own copy, for its own vector width

constexpr float kMinusInfinity = -std::numeric_limits<float>::infinity();
constexpr std::int64_t kScratchFloats = kScratchBytes / 4;
constexpr std::int64_t kMostRows = 16;  // query heads per pass over the keys
constexpr std::int64_t kMostHeadsTogether = 16;

/// What a pass keeps of a KV head in the thread's scratch, all rows padded to whole vectors.
struct DecodeTile {
  std::int64_t rows, keys;  // query heads; keys per tile, a multiple of kLanes
  std::int64_t head_dim, value_dim;
  float* q;       // [rows, head_dim], scaled
  float* kv;      // [keys, max(head_dim, value_dim)], of all heads in turn
  float* scores;  // [rows, keys], of all heads in turn
  float* values;  // [rows, value_dim]
  float largest[kMostRows], sum[kMostRows];
};

/// Floats of a thread's scratch for `heads` KV heads of `rows` query heads each, side by side.
[[maybe_unused]] std::int64_t tile_floats(const KvLayerView& kv, std::int64_t rows,
                                          std::int64_t keys, std::int64_t heads) {
  const std::int64_t h = padded(kv.head_dim), v = padded(kv.value_dim);
  return heads * rows * (h + v) + keys * std::max(h, v) + rows * keys;
}

[[maybe_unused]] std::int64_t tile_keys(const KvLayerView& kv, std::int64_t rows,
                                        std::int64_t heads) {
  for (const std::int64_t keys : {64, 16}) {
    if (tile_floats(kv, rows, keys, heads) <= kScratchFloats) return keys;
  }
  return 0;
}

/// Calls function.template operator()<n>(row) for runs of n = 4, 3 or 1 rows.
template <class Function>
void for_row_runs(std::int64_t rows, const Function& function) {
  std::int64_t row = 0;
  for (; row + 4 <= rows; row += 4) function.template operator()<4>(row);
  for (; row + 3 <= rows; row += 3) function.template operator()<3>(row);
  for (; row < rows; ++row) function.template operator()<1>(row);
}

/// Scores of `count` keys to exp(score - largest); corrects sum and values for a new largest.
[[maybe_unused]] void update_softmax(DecodeTile& t, std::int64_t count) {
  for (std::int64_t row = 0; row < t.rows; ++row) {
    float* scores = t.scores + row * t.keys;
    Vf most = load(scores);
    for (std::int64_t i = kLanes; i < count; i += kLanes) most = max(most, load(scores + i));
    const float largest = std::fmax(t.largest[row], reduce_max(most));
    if (largest != t.largest[row]) {
      const float keep = std::exp(t.largest[row] - largest);
      t.sum[row] *= keep;
      float* values = t.values + row * t.value_dim;
      for (std::int64_t d = 0; d < t.value_dim; ++d) values[d] *= keep;
      t.largest[row] = largest;
    }
    Vf total = zero();
    for (std::int64_t i = 0; i < count; i += kLanes) {
      const Vf p = exp(load(scores + i) - set1(largest));
      store(scores + i, p);
      total = total + p;
    }
    t.sum[row] += reduce_add(total);
  }
}

[[maybe_unused]] void load_queries(const AttentionCall& call, std::int64_t query_row,
                                   std::int64_t head, DecodeTile& t) {
  const std::int64_t n = call.kv->head_dim;
  for (std::int64_t row = 0; row < t.rows; ++row) {
    const float* q = call.query(query_row, head + row);
    float* to = t.q + row * t.head_dim;
    for (std::int64_t d = 0; d < t.head_dim; ++d) to[d] = d < n ? q[d] * call.params->scale : 0.0F;
  }
}

[[maybe_unused]] void clear_results(DecodeTile& t) {
  for (std::int64_t row = 0; row < t.rows; ++row) {
    t.largest[row] = kMinusInfinity;
    t.sum[row] = 0.0F;
  }
  std::fill(t.values, t.values + t.rows * t.value_dim, 0.0F);
}

/// Query heads [head, head + t.rows): to the table, or finished to the result.
[[maybe_unused]] void write_values(const AttentionCall& call, const DecodeWork& work,
                                   std::int64_t head, const PartialTable* partial,
                                   const DecodeTile& t) {
  const std::int64_t value_dim = call.kv->value_dim;
  for (std::int64_t row = 0; row < t.rows; ++row) {
    const float* values = t.values + row * t.value_dim;
    if (partial != nullptr) {
      const PartialSoftmax to = partial->at(work.single, head + row, work.part);
      *to.largest = t.largest[row];
      *to.sum = t.sum[row];
      std::copy(values, values + value_dim, to.values);
    } else {
      float* out = call.result(work.slice->query_begin, head + row);
      for (std::int64_t d = 0; d < value_dim; ++d) out[d] = values[d] / t.sum[row];
    }
  }
}

}  // namespace
}  // namespace vramplan::cpu
