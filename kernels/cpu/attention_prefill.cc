// Attention of many queries of one sequence, tile by tile: scores of a tile of queries with a tile
// of keys, an online softmax, then the values. A vector holds one key's scores for many queries, so
// largest scores and sums need no reduction inside a vector.
#include "kernels/cpu/attention.h"
#include "kernels/cpu/packed_rows.h"
#include "kernels/cpu/prefill_tile.h"

namespace vramplan::cpu {
namespace {

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

/// Of part `part` of `parts` of the keys: where a tile's results are kept until they are merged,
/// at the end of that part's scratch. Rows of [value_dim] values, then largest, then sums.
struct PartResults {
  float* values;
  float* largest;
  float* sum;
};

PartResults part_results(const KvLayerView& kv, std::int64_t rows, std::int64_t kv_head,
                         float* scratch) {
  const std::int64_t v = padded(kv.value_dim), floats = rows * (v + 2);
  float* base = scratch + kScratchBytes / 4 - (kv_head + 1) * floats;
  return {base, base + rows * v, base + rows * (v + 1)};
}

template <int kRowVectors>
void prefill_part(const AttentionCall& call, const SequenceSlice& slice, const PrefillPart& part,
                  std::int64_t keys, float* scratch) {
  PrefillTile<kRowVectors> t = tile_in<kRowVectors>(scratch, *call.kv, keys);
  const std::int64_t count = slice.query_count * call.group;
  const std::int64_t begin = first_visible(*call.params, slice.kv_length - slice.query_count);
  const std::int64_t share = ceil_div(slice.kv_length - begin, part.parts * kLanes) * kLanes;
  const std::int64_t from = std::min(begin + part.part * share, slice.kv_length);
  const std::int64_t to = std::min(from + share, slice.kv_length);
  for (std::int64_t head = 0; head < call.kv->kv_heads; ++head) {
    clear_results(call, slice, 0, count, t);
    load_queries(call, slice, head, 0, count, t);
    read_keys(call, KeyRange{&slice, head, from, to, call.params->window_tokens}, t);
    const PartResults out = part_results(*call.kv, t.kRows, head, part.results);
    std::copy(t.values, t.values + t.kRows * t.value_dim, out.values);
    std::copy(t.sum, t.sum + t.kRows, out.sum);
    for (int r = 0; r < kRowVectors; ++r) store(out.largest + r * kLanes, t.largest[r]);
  }
}

}  // namespace

bool few_queries(const AttentionCall& call, const SequenceSlice& slice, std::int64_t threads) {
  const KvLayerView& kv = *call.kv;
  if (threads == 1 || kv.kv_heads % threads == 0 || kv.kv_heads >= 4 * threads) return false;
  if (call.params->sink_tokens > 0 || slice.block_mass != nullptr) return false;
  if (slice.kv_length < kFewestKeysToPart * threads || prefill_tiles(call, slice) > 1) return false;
  const TileSize size = tile_size(kv, slice.query_count * call.group);
  const std::int64_t rows = size.row_vectors * kLanes;
  const std::int64_t results = kv.kv_heads * rows * (padded(kv.value_dim) + 2);
  return (tile_floats(kv, size) + results) * 4 <= kScratchBytes;
}

void attention_prefill_part(const AttentionCall& call, const SequenceSlice& slice,
                            const PrefillPart& part, float* scratch) {
  const TileSize size = tile_size(*call.kv, slice.query_count * call.group);
  if (size.row_vectors == 3) {
    prefill_part<3>(call, slice, part, size.keys, scratch);
  } else {
    prefill_part<1>(call, slice, part, size.keys, scratch);
  }
}

void attention_prefill_merge(const AttentionCall& call, const SequenceSlice& slice,
                             std::span<float* const> results) {
  const KvLayerView& kv = *call.kv;
  const std::int64_t count = slice.query_count * call.group, v = padded(kv.value_dim);
  const std::int64_t rows = tile_size(kv, count).row_vectors * kLanes;
  for (std::int64_t item = 0; item < kv.kv_heads * count; ++item) {
    const std::int64_t kv_head = item / count, row = item % count;
    float largest = kMinusInfinity, sum = 0.0F;
    for (float* const scratch : results) {
      largest = std::max(largest, part_results(kv, rows, kv_head, scratch).largest[row]);
    }
    float* out =
        call.result(slice.query_begin + row / call.group, kv_head * call.group + row % call.group);
    std::fill(out, out + kv.value_dim, 0.0F);
    for (float* const scratch : results) {
      const PartResults part = part_results(kv, rows, kv_head, scratch);
      const float weight = std::exp(part.largest[row] - largest);  // 0 of a part it sees nothing of
      sum += weight * part.sum[row];
      for (std::int64_t d = 0; d < kv.value_dim; ++d) out[d] += weight * part.values[row * v + d];
    }
    for (std::int64_t d = 0; d < kv.value_dim; ++d) out[d] /= sum;
  }
}

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
