// Attention of many queries of one sequence, tile by tile: scores of a tile of queries with a tile
// of keys, an online softmax, then the values. A vector holds one key's scores for many queries, so
// largest scores and sums need no reduction inside a vector.
#include <limits>

#include "kernels/cpu/attention.h"
#include "kernels/cpu/cpu_ops.h"
#include "kernels/cpu/kv_tile.h"
#include "kernels/cpu/math.h"
#include "kernels/cpu/packed_rows.h"

namespace vramplan::cpu {
namespace {

constexpr float kMinusInfinity = -std::numeric_limits<float>::infinity();
constexpr int kKeyStep = kLanes == 16 ? 8 : 4;  // keys scored together
constexpr int kRowStep = 4;                     // rows whose values are summed together
constexpr int kValueVectors = kLanes == 16 ? 4 : 2;

struct TileSize {
  int row_vectors;    // rows = row_vectors * kLanes
  std::int64_t keys;  // a multiple of kKeyStep
};

/// The largest tile of these dimensions that fits a thread's scratch; 0 keys when none does.
TileSize tile_size(const KvLayerView& kv) {
  const std::int64_t h = padded(kv.head_dim), v = padded(kv.value_dim);
  for (const TileSize size : {TileSize{3, 64}, TileSize{3, 32}, TileSize{1, 64}, TileSize{1, 16}}) {
    const std::int64_t rows = size.row_vectors * kLanes;
    const std::int64_t floats = rows * (h + v) + size.keys * (std::max(h, v) + rows) + 3 * rows;
    if (floats * 4 <= kScratchBytes) return size;
  }
  return {1, 0};
}

/// Few rows waste less of a small tile.
TileSize tile_size(const KvLayerView& kv, std::int64_t rows) {
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

/// scores[key][row] for `count` keys, rounded up to kKeyStep.
/// kByChannel: t.kv is [head_dim, keys].
template <bool kByChannel, int kRowVectors>
void score_keys(PrefillTile<kRowVectors>& t, std::int64_t count) {
  constexpr std::int64_t kRows = PrefillTile<kRowVectors>::kRows;
  for (std::int64_t key = 0; key < count; key += kKeyStep) {
    Vf acc[kKeyStep][kRowVectors];
    VRAMPLAN_UNROLL
    for (auto& row : acc) {
      VRAMPLAN_UNROLL
      for (Vf& a : row) a = zero();
    }
    const float* k = t.kv + (kByChannel ? key : key * t.head_dim);
    for (std::int64_t d = 0; d < t.head_dim; ++d) {
      Vf q[kRowVectors];
      VRAMPLAN_UNROLL
      for (int r = 0; r < kRowVectors; ++r) q[r] = load(t.q + d * kRows + r * kLanes);
      VRAMPLAN_UNROLL
      for (int i = 0; i < kKeyStep; ++i) {
        const Vf x = set1(kByChannel ? k[d * t.keys + i] : k[i * t.head_dim + d]);
        VRAMPLAN_UNROLL
        for (int r = 0; r < kRowVectors; ++r) acc[i][r] = fma(q[r], x, acc[i][r]);
      }
    }
    VRAMPLAN_UNROLL
    for (int i = 0; i < kKeyStep; ++i) {
      VRAMPLAN_UNROLL
      for (int r = 0; r < kRowVectors; ++r) {
        store(t.scores + (key + i) * kRows + r * kLanes, acc[i][r]);
      }
    }
  }
}

/// Keys from position `first` that a row may not see get -infinity.
template <int kRowVectors>
void mask_keys(PrefillTile<kRowVectors>& t, std::int64_t first, std::int64_t count,
               std::int64_t window) {
  constexpr std::int64_t kRows = PrefillTile<kRowVectors>::kRows;
  for (std::int64_t key = 0; key < count; ++key) {
    const auto at = static_cast<std::int32_t>(first + key);
    float* scores = t.scores + key * kRows;
    for (std::int64_t r = 0; r < kRows; ++r) {
      const bool hidden = at > t.position[r] || (window > 0 && at <= t.position[r] - window);
      scores[r] = hidden ? kMinusInfinity : scores[r];
    }
  }
}

template <int kRowVectors>
void update_softmax(PrefillTile<kRowVectors>& t, std::int64_t count) {
  constexpr std::int64_t kRows = PrefillTile<kRowVectors>::kRows;
  for (int r = 0; r < kRowVectors; ++r) {
    float* scores = t.scores + r * kLanes;
    Vf largest = t.largest[r];
    for (std::int64_t key = 0; key < count; ++key) {
      largest = max(largest, load(scores + key * kRows));
    }
    // A row that has seen no key yet keeps -infinity; subtracting 0 then gives exp(-inf) = 0.
    const Vf shift = largest == set1(kMinusInfinity) ? zero() : largest;
    const Vf keep = exp(t.largest[r] - shift);
    Vf total = load(t.sum + r * kLanes) * keep;
    for (std::int64_t key = 0; key < count; ++key) {
      const Vf p = exp(load(scores + key * kRows) - shift);
      store(scores + key * kRows, p);
      total = total + p;
    }
    store(t.sum + r * kLanes, total);
    store(t.keep + r * kLanes, keep);
    t.largest[r] = largest;
  }
}

template <int kRowVectors>
void cap_scores(PrefillTile<kRowVectors>& t, std::int64_t count, float softcap) {
  const std::int64_t n = count * PrefillTile<kRowVectors>::kRows;
  for (std::int64_t i = 0; i < n; i += kLanes) {
    store(t.scores + i, set1(softcap) * tanh(load(t.scores + i) / set1(softcap)));
  }
}

/// values[row][d ..] = values * keep + sum over keys of probability * value row.
template <int kRowVectors, int kVectors>
void add_values(PrefillTile<kRowVectors>& t, std::int64_t row, std::int64_t d, std::int64_t count) {
  constexpr std::int64_t kRows = PrefillTile<kRowVectors>::kRows;
  Vf acc[kRowStep][kVectors];
  VRAMPLAN_UNROLL
  for (int r = 0; r < kRowStep; ++r) {
    VRAMPLAN_UNROLL
    for (int v = 0; v < kVectors; ++v) {
      acc[r][v] = load(t.values + (row + r) * t.value_dim + d + v * kLanes) * set1(t.keep[row + r]);
    }
  }
  for (std::int64_t key = 0; key < count; ++key) {
    Vf x[kVectors];
    VRAMPLAN_UNROLL
    for (int v = 0; v < kVectors; ++v) x[v] = load(t.kv + key * t.value_dim + d + v * kLanes);
    VRAMPLAN_UNROLL
    for (int r = 0; r < kRowStep; ++r) {
      const Vf p = set1(t.scores[key * kRows + row + r]);
      VRAMPLAN_UNROLL
      for (int v = 0; v < kVectors; ++v) acc[r][v] = fma(p, x[v], acc[r][v]);
    }
  }
  VRAMPLAN_UNROLL
  for (int r = 0; r < kRowStep; ++r) {
    VRAMPLAN_UNROLL
    for (int v = 0; v < kVectors; ++v) {
      store(t.values + (row + r) * t.value_dim + d + v * kLanes, acc[r][v]);
    }
  }
}

template <int kRowVectors>
void add_all_values(PrefillTile<kRowVectors>& t, std::int64_t count) {
  for (std::int64_t row = 0; row < t.kRows; row += kRowStep) {
    std::int64_t d = 0;
    for (; d + kValueVectors * kLanes <= t.value_dim; d += kValueVectors * kLanes) {
      add_values<kRowVectors, kValueVectors>(t, row, d, count);
    }
    for (; d < t.value_dim; d += kLanes) add_values<kRowVectors, 1>(t, row, d, count);
  }
}

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

/// The same rows' queries, transposed and scaled; zeros beyond count.
template <int kRowVectors>
void load_queries(const AttentionCall& call, const SequenceSlice& slice, std::int64_t kv_head,
                  std::int64_t first, std::int64_t count, PrefillTile<kRowVectors>& t) {
  constexpr std::int64_t kRows = PrefillTile<kRowVectors>::kRows;
  for (std::int64_t r = 0; r < kRows; ++r) {
    const std::int64_t row = first + std::min(r, count - 1);
    const std::int64_t query = row / call.group, head = kv_head * call.group + row % call.group;
    const float* q = call.query(slice.query_begin + query, head);
    for (std::int64_t d = 0; d < t.head_dim; ++d) {
      const bool valid = r < count && d < call.kv->head_dim;
      t.q[d * kRows + r] = valid ? q[d] * call.params->scale : 0.0F;
    }
  }
}

template <int kRowVectors>
void store_results(const AttentionCall& call, const SequenceSlice& slice, std::int64_t kv_head,
                   std::int64_t first, std::int64_t count, const PrefillTile<kRowVectors>& t) {
  for (std::int64_t r = 0; r < count; ++r) {
    const std::int64_t query = (first + r) / call.group;
    const std::int64_t head = kv_head * call.group + (first + r) % call.group;
    float* out = call.result(slice.query_begin + query, head);
    const float* values = t.values + r * t.value_dim;
    const float inverse = 1.0F / t.sum[r];
    for (std::int64_t d = 0; d < call.kv->value_dim; ++d) out[d] = values[d] * inverse;
  }
}

/// The keys of the history, which every row sees. Keys of packed tiles are a multiple of 32.
template <int kRowVectors>
void read_history(AttentionCall call, const SequenceSlice& history, std::int64_t kv_head,
                  PrefillTile<kRowVectors>& t) {
  const KvLayerView kv = view_of_head(*call.params->history, kv_head);
  call.kv = &kv;
  const bool packed = packed_bits(kv.dtype) > 0;
  for (std::int64_t from = 0; from < history.kv_length; from += t.keys) {
    const std::int64_t n = std::min(t.keys, history.kv_length - from);
    if (packed) {
      widen_key_tiles(kv, history.block_table, kv_head, {from, n, t.keys}, t.kv);
      score_keys<true>(t, n);
    } else {
      widen_rows(kv, KvPart::kKey, history.block_table, kv_head, from, from + n, t.kv);
      const std::int64_t scored = (n + kKeyStep - 1) / kKeyStep * kKeyStep;
      std::fill(t.kv + n * t.head_dim, t.kv + scored * t.head_dim, 0.0F);
      score_keys<false>(t, n);
    }
    if (call.params->softcap > 0.0F) cap_scores(t, n, call.params->softcap);
    update_softmax(t, n);
    if (packed)
      widen_value_tiles(kv, history.block_table, kv_head, {from, n, t.keys}, t.kv);
    else
      widen_rows(kv, KvPart::kValue, history.block_table, kv_head, from, from + n, t.kv);
    add_all_values(t, n);
  }
}

/// Keys of one sequence that the rows of a tile may see.
struct KeyRange {
  const SequenceSlice* slice;
  std::int64_t kv_head, begin, end, window;
};

/// Scores of keys [from, from + n) of the range, those not to be seen at -infinity.
template <int kRowVectors>
void score_range(const AttentionCall& call, const KeyRange& range, std::int64_t from,
                 std::int64_t n, PrefillTile<kRowVectors>& t) {
  const std::int64_t least = t.position[0], most = t.position[t.kRows - 1];
  widen_rows(*call.kv, KvPart::kKey, range.slice->block_table, range.kv_head, from, from + n, t.kv);
  const std::int64_t scored = (n + kKeyStep - 1) / kKeyStep * kKeyStep;
  std::fill(t.kv + n * t.head_dim, t.kv + scored * t.head_dim, 0.0F);
  score_keys<false>(t, n);
  if (call.params->softcap > 0.0F) cap_scores(t, n, call.params->softcap);
  if (from + n - 1 > least || (range.window > 0 && from <= most - range.window)) {
    mask_keys(t, from, n, range.window);
  }
}

template <int kRowVectors>
void read_keys(const AttentionCall& call, const KeyRange& range, PrefillTile<kRowVectors>& t) {
  for (std::int64_t from = range.begin; from < range.end; from += t.keys) {
    const std::int64_t n = std::min(t.keys, range.end - from);
    score_range(call, range, from, n, t);
    update_softmax(t, n);
    widen_rows(*call.kv, KvPart::kValue, range.slice->block_table, range.kv_head, from, from + n,
               t.kv);
    add_all_values(t, n);
  }
}

/// What the first `count` rows gave each block. Their largest scores and sums are known by now, so
/// the scores are made a second time, tile by tile, and never kept.
template <int kRowVectors>
void add_masses(const AttentionCall& call, const KeyRange& range, std::int64_t count,
                PrefillTile<kRowVectors>& t) {
  const std::int64_t block_tokens = call.kv->block_tokens;
  for (std::int64_t r = 0; r < t.kRows; ++r) t.keep[r] = r < count ? 1.0F / t.sum[r] : 0.0F;
  double mass = 0;
  for (std::int64_t from = range.begin; from < range.end; from += t.keys) {
    const std::int64_t n = std::min(t.keys, range.end - from);
    score_range(call, range, from, n, t);
    for (std::int64_t key = 0; key < n; ++key) {
      Vf weights = zero();
      for (int r = 0; r < kRowVectors; ++r) {
        const Vf score = load(t.scores + key * t.kRows + r * kLanes);
        weights = fma(exp(score - t.largest[r]), load(t.keep + r * kLanes), weights);
      }
      mass += static_cast<double>(reduce_add(weights));
      const std::int64_t at = from + key;
      if ((at + 1) % block_tokens != 0 && at + 1 != range.end) continue;
      add_mass(*range.slice, at / block_tokens, mass);
      mass = 0;
    }
  }
}

template <int kRowVectors>
void prefill_tile(const AttentionCall& call, const SequenceSlice& slice,
                  const SequenceSlice* history, std::int64_t kv_head, std::int64_t tile,
                  std::int64_t keys, float* scratch) {
  PrefillTile<kRowVectors> t = tile_in<kRowVectors>(scratch, *call.kv, keys);
  const std::int64_t first = tile * t.kRows;
  const std::int64_t count = std::min(t.kRows, slice.query_count * call.group - first);
  clear_results(call, slice, first, count, t);
  const std::int64_t least = t.position[0], most = t.position[count - 1];
  const std::int64_t sinks = sink_end(*call.params, most);
  if (sinks > 0) {
    AttentionCall of_sinks = call;
    of_sinks.q = call.sink_q;
    load_queries(of_sinks, slice, kv_head, first, count, t);
    read_keys(call, KeyRange{&slice, kv_head, 0, sinks, 0}, t);
  }
  load_queries(call, slice, kv_head, first, count, t);
  if (history != nullptr) read_history(call, *history, kv_head, t);
  const std::int64_t begin = std::max(first_visible(*call.params, least), sinks);
  const KeyRange range{&slice, kv_head, begin, most + 1, call.params->window_tokens};
  read_keys(call, range, t);
  store_results(call, slice, kv_head, first, count, t);
  if (slice.block_mass != nullptr) add_masses(call, range, count, t);
}

}  // namespace

bool prefill_tile_fits(const KvLayerView& kv) { return tile_size(kv).keys > 0; }

std::int64_t prefill_tiles(const AttentionCall& call, const SequenceSlice& slice) {
  const std::int64_t rows = slice.query_count * call.group;
  return ceil_div(rows, tile_size(*call.kv, rows).row_vectors * kLanes);
}

void attention_prefill(const AttentionCall& call, const SequenceSlice& slice,
                       const SequenceSlice* history, std::int64_t kv_head, std::int64_t tile,
                       float* scratch) {
  const TileSize size = tile_size(*call.kv, slice.query_count * call.group);
  if (size.row_vectors == 3) {
    prefill_tile<3>(call, slice, history, kv_head, tile, size.keys, scratch);
  } else {
    prefill_tile<1>(call, slice, history, kv_head, tile, size.keys, scratch);
  }
}

}  // namespace vramplan::cpu
