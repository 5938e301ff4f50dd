// Attention of one query per sequence: keys are read once for all query heads of a group.
#include <array>
#include <cmath>
#include <limits>
#include <span>
#include <type_traits>

#include "kernels/cpu/attention.h"
#include "kernels/cpu/cpu_ops.h"
#include "kernels/cpu/decode_tile.h"
#include "kernels/cpu/kv_row_vectors.h"
#include "kernels/cpu/kv_tile.h"
#include "kernels/cpu/math.h"

namespace vramplan::cpu {
namespace {

/// sums[r][i .. i + kKeys) = products of query row r with the keys, not yet added across lanes.
template <int kRows, int kKeys, class Rows>
inline void multiply_keys(const float* q, std::int64_t head_dim, const Rows& keys, int i,
                          Vf (&sums)[kRows][kLanes]) {
  Vf acc[kRows][kKeys];
  VRAMPLAN_UNROLL
  for (auto& row : acc) {
    VRAMPLAN_UNROLL
    for (Vf& a : row) a = zero();
  }
  for (std::int64_t d = 0; d < head_dim; d += kLanes) {
    Vf key[kKeys];
    VRAMPLAN_UNROLL
    for (int k = 0; k < kKeys; ++k) key[k] = keys.at(i + k, d);
    VRAMPLAN_UNROLL
    for (int r = 0; r < kRows; ++r) {
      const Vf query = load(q + r * head_dim + d);
      VRAMPLAN_UNROLL
      for (int k = 0; k < kKeys; ++k) acc[r][k] = fma(query, key[k], acc[r][k]);
    }
  }
  VRAMPLAN_UNROLL
  for (int r = 0; r < kRows; ++r) {
    VRAMPLAN_UNROLL
    for (int k = 0; k < kKeys; ++k) sums[r][i + k] = acc[r][k];
  }
}

/// scores[row .. row + kRows)[begin + i] = q . key i for n <= kLanes keys; the rest of the vector
/// is -infinity.
template <int kRows, class Rows>
void score_vector(DecodeTile& t, std::int64_t row, const Rows& keys, std::int64_t begin, int n,
                  float softcap) {
  const float* q = t.q + row * t.head_dim;
  Vf sums[kRows][kLanes];
  int i = 0;
  for (; i + 4 <= n; i += 4) multiply_keys<kRows, 4>(q, t.head_dim, keys, i, sums);
  for (; i < n; ++i) multiply_keys<kRows, 1>(q, t.head_dim, keys, i, sums);
  for (int r = 0; r < kRows; ++r) {
    for (i = n; i < kLanes; ++i) sums[r][i] = zero();
    Vf dots = reduce_lanes(sums[r]);
    if constexpr (Rows::kUnit != 1.0F) dots = dots * set1(Rows::kUnit);
    if (softcap > 0.0F) dots = set1(softcap) * tanh(dots / set1(softcap));
    float* out = t.scores + (row + r) * t.keys + begin;
    store(out, dots);
    for (i = n; i < kLanes; ++i) out[i] = kMinusInfinity;
  }
}

/// values[row .. row + kRows) += scores[begin ..) * value rows, kVectors vectors from column d.
template <int kRows, int kVectors, class Rows>
void add_values(DecodeTile& t, std::int64_t row, std::int64_t d, const Rows& values,
                std::int64_t begin, std::int64_t count) {
  Vf acc[kRows][kVectors];
  VRAMPLAN_UNROLL
  for (int r = 0; r < kRows; ++r) {
    VRAMPLAN_UNROLL
    for (int v = 0; v < kVectors; ++v) {
      const float* sum = t.values + (row + r) * t.value_dim + d + v * kLanes;
      acc[r][v] = Rows::kUnit == 1.0F ? load(sum) : zero();
    }
  }
  const float* p = t.scores + row * t.keys + begin;
  for (std::int64_t i = 0; i < count; ++i) {
    VRAMPLAN_UNROLL
    for (int v = 0; v < kVectors; ++v) {
      const Vf x = values.at(i, d + v * kLanes);
      VRAMPLAN_UNROLL
      for (int r = 0; r < kRows; ++r) acc[r][v] = fma(set1(p[r * t.keys + i]), x, acc[r][v]);
    }
  }
  VRAMPLAN_UNROLL
  for (int r = 0; r < kRows; ++r) {
    VRAMPLAN_UNROLL
    for (int v = 0; v < kVectors; ++v) {
      float* sum = t.values + (row + r) * t.value_dim + d + v * kLanes;
      store(sum, Rows::kUnit == 1.0F ? acc[r][v] : fma(acc[r][v], set1(Rows::kUnit), load(sum)));
    }
  }
}

template <int kRows, class Rows>
void add_values_of_rows(DecodeTile& t, std::int64_t row, const Rows& values, std::int64_t begin,
                        std::int64_t count) {
  std::int64_t d = 0;
  for (; d + 4 * kLanes <= t.value_dim; d += 4 * kLanes)
    add_values<kRows, 4>(t, row, d, values, begin, count);
  for (; d < t.value_dim; d += kLanes) add_values<kRows, 1>(t, row, d, values, begin, count);
}

struct KeyRange {
  const SequenceSlice* slice;
  std::int64_t kv_head, from, count;
};

/// The tile that `work` begins with: up to a multiple of kLanes at most, from where on whole
/// vectors of keys lie in one block.
KeyRange first_tile(const DecodeWork& work, std::int64_t keys) {
  const std::int64_t odd = work.begin % kLanes;
  const std::int64_t most = odd > 0 ? kLanes - odd : keys;
  return {work.slice, work.kv_head, work.begin, std::min(most, work.end - work.begin)};
}

/// Asks for the part of keys [i, i + count) of a tile that lies in it.
void prefetch_keys(const KvLayerView& kv, KvPart part, const KeyRange& tile, std::int64_t i,
                   std::int64_t count) {
  prefetch_rows(kv, part, tile.slice->block_table, tile.kv_head, tile.from + i,
                tile.from + std::min(i + count, tile.count));
}

/// Calls body with a reader of n rows from `first` on.
template <class Rows, class Body>
inline void read_vector(const std::byte* first, std::int64_t width, std::int64_t n,
                        const Body& body) {
  if constexpr (std::is_same_v<Rows, F8Rows>) {
    if (!has_f8_nan(first, n * width)) return body(F8NumberRows(first, width));
  }
  body(Rows(first, width));
}

template <class Rows>
void add_tile_in_place(const AttentionCall& call, const KeyRange& range, const KeyRange& next,
                       DecodeTile& t) {
  const KvLayerView& kv = *call.kv;
  const std::int32_t* table = range.slice->block_table;
  const auto for_vectors = [&](const auto& body) {
    for (std::int64_t i = 0; i < range.count; i += kLanes) {
      const std::int64_t p = range.from + i;
      const int n = static_cast<int>(std::min<std::int64_t>(kLanes, range.count - i));
      body(table[p / kv.block_tokens], p % kv.block_tokens, i, n);
    }
  };
  // What the other half of the tile needs is asked for a vector of keys at a time: a core keeps
  // only a few dozen lines in flight, and more at once would make it wait.
  for_vectors([&](std::int64_t block, std::int64_t offset, std::int64_t i, int n) {
    prefetch_keys(kv, KvPart::kValue, range, i, kLanes);
    read_vector<Rows>(key_row(kv, block, range.kv_head, offset), kv.head_dim, n,
                      [&](const auto& keys) {
                        for_row_runs(t.rows, [&]<int kRows>(std::int64_t row) {
                          score_vector<kRows>(t, row, keys, i, n, call.params->softcap);
                        });
                      });
  });
  update_softmax(t, range.count);
  for_vectors([&](std::int64_t block, std::int64_t offset, std::int64_t i, int n) {
    prefetch_keys(kv, KvPart::kKey, next, i, kLanes);
    read_vector<Rows>(value_row(kv, block, range.kv_head, offset), kv.value_dim, n,
                      [&](const auto& values) {
                        for_row_runs(t.rows, [&]<int kRows>(std::int64_t row) {
                          add_values_of_rows<kRows>(t, row, values, i, n);
                        });
                      });
  });
}

void add_tile_widened(const AttentionCall& call, const KeyRange& range, const KeyRange& next,
                      DecodeTile& t) {
  const KvLayerView& kv = *call.kv;
  const std::int32_t* table = range.slice->block_table;
  const std::int64_t end = range.from + range.count;
  widen_rows(kv, KvPart::kKey, table, range.kv_head, range.from, end, t.kv);
  prefetch_keys(kv, KvPart::kValue, range, 0, range.count);
  for_row_runs(t.rows, [&]<int kRows>(std::int64_t row) {
    for (std::int64_t i = 0; i < range.count; i += kLanes) {
      const int n = static_cast<int>(std::min<std::int64_t>(kLanes, range.count - i));
      score_vector<kRows>(t, row, WideRows{t.kv + i * t.head_dim, t.head_dim}, i, n,
                          call.params->softcap);
    }
  });
  update_softmax(t, range.count);
  widen_rows(kv, KvPart::kValue, table, range.kv_head, range.from, end, t.kv);
  prefetch_keys(kv, KvPart::kKey, next, 0, next.count);
  for_row_runs(t.rows, [&]<int kRows>(std::int64_t row) {
    add_values_of_rows<kRows>(t, row, WideRows{t.kv, t.value_dim}, 0, range.count);
  });
}

/// Tile by tile, and in a tile head by head: what lies together in memory is read together.
void read_keys(const AttentionCall& call, const DecodeWork& work, std::span<DecodeTile> tiles) {
  const KvLayerView& kv = *call.kv;
  const bool in_place = reads_in_place(kv);
  KeyRange range = first_tile(work, tiles.front().keys);
  while (range.count > 0) {
    const std::int64_t from = range.from + range.count;
    const KeyRange behind{work.slice, work.kv_head, from,
                          std::min(tiles.front().keys, work.end - from)};
    for (std::size_t i = 0; i < tiles.size(); ++i) {
      KeyRange next = i + 1 < tiles.size() ? range : behind;
      if (i + 1 < tiles.size()) ++next.kv_head;
      if (in_place) {
        with_rows(kv.dtype,
                  [&]<class Rows>(Rows*) { add_tile_in_place<Rows>(call, range, next, tiles[i]); });
      } else {
        add_tile_widened(call, range, next, tiles[i]);
      }
      range.kv_head = next.kv_head;
    }
    range = behind;
  }
}

/// Sinks have queries of their own; they go before the other keys of the first part.
void read_sinks(AttentionCall call, const DecodeWork& work, std::int64_t first_row,
                std::span<DecodeTile> tiles) {
  const std::int64_t end = sink_end(*call.params, work.slice->kv_length - 1);
  if (end == 0 || work.part > 0) return;
  call.q = call.sink_q;
  for (std::size_t i = 0; i < tiles.size(); ++i) {
    const std::int64_t kv_head = work.kv_head + static_cast<std::int64_t>(i);
    load_queries(call, work.slice->query_begin, kv_head * call.group + first_row, tiles[i]);
  }
  DecodeWork sinks = work;
  sinks.begin = 0;
  sinks.end = end;
  read_keys(call, sinks, tiles);
}

}  // namespace

void require_supported_heads(const KvLayerView& kv, std::int64_t group) {
  const std::int64_t rows = std::min(group, kMostRows);
  if (tile_keys(kv, rows, 1) > 0 && prefill_tile_fits(kv)) return;
  throw Error(ErrorCode::kUnsupported, "attention heads of " + std::to_string(kv.head_dim) +
                                           " and " + std::to_string(kv.value_dim) +
                                           " elements are too large for the CPU kernels")
      .help("use the naive attention");
}

std::int64_t heads_together(const KvLayerView& kv, std::int64_t group) {
  const std::int64_t rows = std::min(kMostRows, group);
  std::int64_t heads = std::min(kMostHeadsTogether, kv.kv_heads);
  while (heads > 1 && tile_floats(kv, rows, 64, heads) > kScratchFloats) --heads;
  return heads;
}

void attention_decode(const AttentionCall& call, const DecodeWork& work,
                      const PartialTable* partial, float* scratch) {
  const KvLayerView& kv = *call.kv;
  std::array<DecodeTile, kMostHeadsTogether> tiles;
  for (std::int64_t first = 0; first < call.group; first += kMostRows) {
    DecodeTile t{};
    t.rows = std::min(kMostRows, call.group - first);
    t.keys = tile_keys(kv, t.rows, work.kv_heads);
    t.head_dim = padded(kv.head_dim);
    t.value_dim = padded(kv.value_dim);
    t.kv = scratch;
    t.scores = t.kv + t.keys * std::max(t.head_dim, t.value_dim);
    t.q = t.scores + t.rows * t.keys;
    for (std::int64_t i = 0; i < work.kv_heads; ++i) {
      t.values = t.q + t.rows * t.head_dim;
      clear_results(t);
      tiles[static_cast<std::size_t>(i)] = t;
      t.q = t.values + t.rows * t.value_dim;
    }
    const std::span used = std::span(tiles).first(static_cast<std::size_t>(work.kv_heads));
    read_sinks(call, work, first, used);
    for (std::int64_t i = 0; i < work.kv_heads; ++i) {
      load_queries(call, work.slice->query_begin, (work.kv_head + i) * call.group + first,
                   tiles[static_cast<std::size_t>(i)]);
    }
    const KeyRange begin = first_tile(work, t.keys);
    prefetch_keys(kv, KvPart::kKey, begin, 0, begin.count);
    read_keys(call, work, used);
    for (std::int64_t i = 0; i < work.kv_heads; ++i) {
      write_values(call, work, (work.kv_head + i) * call.group + first, partial,
                   tiles[static_cast<std::size_t>(i)]);
    }
  }
}

void attention_merge(const AttentionCall& call, const PartialTable& partial, std::int64_t single,
                     std::int64_t row, std::int64_t head) {
  float largest = kMinusInfinity, sum = 0.0F;
  for (std::int64_t part = 0; part < partial.parts; ++part) {
    largest = std::fmax(largest, *partial.at(single, head, part).largest);
  }
  float* out = call.result(row, head);
  std::fill(out, out + partial.value_dim, 0.0F);
  for (std::int64_t part = 0; part < partial.parts; ++part) {
    const PartialSoftmax p = partial.at(single, head, part);
    if (*p.sum == 0.0F) continue;  // a part without keys
    const float weight = std::exp(*p.largest - largest);
    sum += *p.sum * weight;
    for (std::int64_t d = 0; d < partial.value_dim; ++d) out[d] += p.values[d] * weight;
  }
  for (std::int64_t d = 0; d < partial.value_dim; ++d) out[d] /= sum;
}

}  // namespace vramplan::cpu
