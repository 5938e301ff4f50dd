// Attention of one query per sequence over packed tiles (see packed_tile.h): codes stay codes. The
// scales go into the other factor, queries or probabilities, which then is made of whole numbers of
// 16 bits; 8-bit products of codes with their two halves are summed exactly in 32 bits. The zeros
// give one number a tile and query.
#include <array>
#include <cmath>
#include <span>

#include "kernels/cpu/decode_tile.h"
#include "kernels/cpu/packed_tile.h"

namespace vramplan::cpu {
namespace {

constexpr std::int64_t kMostCount = 512;  // elements of a lane: the widest head
constexpr int kVectors = 2;               // of lanes, summed together
constexpr std::int64_t kTogether = kVectors * kLanes < kTileLanes ? kVectors * kLanes : kTileLanes;
constexpr float kMostWhole = 32512.0F;  // 127 * 256

/// The factors of a tile's elements for some query rows: w = step * (256 * high + low), and the sum
/// of factor * zero.
template <int kRows>
struct Factors {
  alignas(64) std::int8_t high[kRows][kMostCount], low[kRows][kMostCount];
  float step[kRows], constant[kRows];
};

inline void store_i8(std::int8_t* to, Vs v) {
#if defined(VRAMPLAN_AVX512)
  _mm_storeu_si128(reinterpret_cast<__m128i*>(to),
                   _mm512_cvtepi32_epi8(reinterpret_cast<__m512i>(v)));
#else
  for (int i = 0; i < kLanes; ++i) to[i] = static_cast<std::int8_t>(v[i]);
#endif
}

/// Row r from x[0 .. count): the query or the probabilities.
template <int kRows>
void make_factors(const PackedTile& tile, const float* x, int r, Factors<kRows>& out) {
  Vf most = zero(), sum = zero();
  alignas(64) float w[kMostCount];
  const Vs magnitude = reinterpret_cast<Vs>(set1_i32(0x7fffffff));
  for (std::int64_t i = 0; i < tile.count; i += kLanes) {
    const Vf factor = load(x + i), product = factor * load_f16(tile.scales() + i);
    sum = fma(factor, load_f16(tile.zeros() + i), sum);
    most = max(most, reinterpret_cast<Vf>(reinterpret_cast<Vs>(product) & magnitude));
    store(w + i, product);
  }
  const float largest = reduce_max(most);
  out.constant[r] = reduce_add(sum);
  out.step[r] = largest / kMostWhole;
  const Vf inverse = set1(largest > 0.0F ? kMostWhole / largest : 0.0F);
  const Vf magic = set1(12582912.0F);  // 1.5 * 2^23: adding it rounds to an integer
  const Vs bias = reinterpret_cast<Vs>(magic);
  for (std::int64_t i = 0; i < tile.count; i += kLanes) {
    const Vs whole = reinterpret_cast<Vs>(fma(load(w + i), inverse, magic)) - bias;
    const Vs high = (whole + 128) >> 8;
    store_i8(out.high[r] + i, high);
    store_i8(out.low[r] + i, whole - (high << 8));
  }
}

/// sums[row][v] = products of the tile's elements with the factors, for lanes [lane, lane +
/// kTogether).
template <int kBits, int kRows>
inline void multiply_tile(const PackedTile& tile, const Factors<kRows>& factors, std::int64_t lane,
                          Vf (&sums)[kRows][kVectors]) {
  constexpr std::int64_t kPerWord = 32 / kBits;
  Vi high[kRows][kVectors], low[kRows][kVectors];
  VRAMPLAN_UNROLL
  for (int r = 0; r < kRows; ++r) {
    VRAMPLAN_UNROLL
    for (int v = 0; v < kVectors; ++v) high[r][v] = low[r][v] = set1_i32(0);
  }
  const Vi mask = set1_i8((1 << kBits) - 1);
  const std::uint32_t* words = tile.words() + lane;
  for (std::int64_t i = 0; i < tile.count; i += kPerWord, words += kTileLanes) {
    Vi word[kVectors];
    VRAMPLAN_UNROLL
    for (int v = 0; v < kVectors; ++v) word[v] = load_i(words + v * kLanes);
    VRAMPLAN_UNROLL
    for (int k = 0; k < kPerWord / 4; ++k) {
      Vi code[kVectors];
      VRAMPLAN_UNROLL
      for (int v = 0; v < kVectors; ++v) {
        code[v] = reinterpret_cast<Vi>(reinterpret_cast<Vs>(word[v]) >> (k * kBits)) & mask;
      }
      VRAMPLAN_UNROLL
      for (int r = 0; r < kRows; ++r) {
        const Vi h = broadcast4(factors.high[r] + i + 4 * k);
        const Vi l = broadcast4(factors.low[r] + i + 4 * k);
        VRAMPLAN_UNROLL
        for (int v = 0; v < kVectors; ++v) {
          high[r][v] = dot4<true>(high[r][v], code[v], h);
          low[r][v] = dot4<true>(low[r][v], code[v], l);
        }
      }
    }
  }
  VRAMPLAN_UNROLL
  for (int r = 0; r < kRows; ++r) {
    VRAMPLAN_UNROLL
    for (int v = 0; v < kVectors; ++v) {
      const Vs whole = (reinterpret_cast<Vs>(high[r][v]) << 8) + reinterpret_cast<Vs>(low[r][v]);
      sums[r][v] = fma(to_float(reinterpret_cast<Vi>(whole)), set1(factors.step[r]),
                       set1(factors.constant[r]));
    }
  }
}

void prefetch_tile(const PackedTile& tile) {
  for (std::int64_t i = 0; i < tile.bytes(); i += 64) __builtin_prefetch(tile.base + i);
}

/// Where the 32 keys from cache position `at` lie.
struct TilePlace {
  std::int64_t block, offset;
  TilePlace(const DecodeWork& work, const KvLayerView& kv, std::int64_t at)
      : block(work.slice->block_table[at / kv.block_tokens]), offset(at % kv.block_tokens) {}
};

/// Scores of the 32 keys of a tile, from place `to` of the rows' scores on.
template <int kBits>
void score_tile(const AttentionCall& call, const PackedTile& tile, std::int64_t to, DecodeTile& t) {
  const float softcap = call.params->softcap;
  for_row_runs(t.rows, [&]<int kRows>(std::int64_t row) {
    Factors<kRows> factors;
    for (int r = 0; r < kRows; ++r) make_factors(tile, t.q + (row + r) * t.head_dim, r, factors);
    for (std::int64_t lane = 0; lane < kTileLanes; lane += kTogether) {
      Vf sums[kRows][kVectors];
      multiply_tile<kBits>(tile, factors, lane, sums);
      for (int r = 0; r < kRows; ++r) {
        for (int v = 0; v < kVectors; ++v) {
          Vf score = sums[r][v];
          if (softcap > 0.0F) score = set1(softcap) * tanh(score / set1(softcap));
          store(t.scores + (row + r) * t.keys + to + lane + v * kLanes, score);
        }
      }
    }
  });
}

/// values of channels [32 part, 32 part + 32) += probabilities, from place `from` on, of the tile.
template <int kBits>
void add_tile_values(const PackedTile& tile, std::int64_t part, std::int64_t from, DecodeTile& t) {
  for_row_runs(t.rows, [&]<int kRows>(std::int64_t row) {
    Factors<kRows> factors;
    for (int r = 0; r < kRows; ++r) {
      make_factors(tile, t.scores + (row + r) * t.keys + from, r, factors);
    }
    for (std::int64_t lane = 0; lane < kTileLanes; lane += kTogether) {
      Vf sums[kRows][kVectors];
      multiply_tile<kBits>(tile, factors, lane, sums);
      for (int r = 0; r < kRows; ++r) {
        for (int v = 0; v < kVectors; ++v) {
          float* to = t.values + (row + r) * t.value_dim + part * kTileLanes + lane + v * kLanes;
          store(to, load(to) + sums[r][v]);
        }
      }
    }
  });
}

template <int kBits>
void read_tiles(const AttentionCall& call, const DecodeWork& work, std::int64_t head,
                DecodeTile& t) {
  const KvLayerView& kv = *call.kv;
  for (std::int64_t from = work.begin; from < work.end; from += t.keys) {
    const std::int64_t count = std::min(t.keys, work.end - from);
    for (std::int64_t i = 0; i < count; i += kTileLanes) {
      const TilePlace at(work, kv, from + i);
      for (std::int64_t part = 0; part < kv.value_dim / kTileLanes; ++part) {
        prefetch_tile(value_tile(kv, at.block, head, at.offset, part));
      }
      score_tile<kBits>(call, key_tile(kv, at.block, head, at.offset), i, t);
    }
    update_softmax(t, count);
    for (std::int64_t i = 0; i < count; i += kTileLanes) {
      const TilePlace at(work, kv, from + i);
      if (from + t.keys + i < work.end) {
        const TilePlace next(work, kv, from + t.keys + i);
        prefetch_tile(key_tile(kv, next.block, head, next.offset));
      }
      for (std::int64_t part = 0; part < kv.value_dim / kTileLanes; ++part) {
        add_tile_values<kBits>(value_tile(kv, at.block, head, at.offset, part), part, i, t);
      }
    }
  }
}

}  // namespace

void attention_decode_packed(const AttentionCall& call, const DecodeWork& work,
                             const PartialTable* partial, float* scratch) {
  const KvLayerView& kv = *call.kv;
  VRAMPLAN_CHECK(kv.head_dim <= kMostCount);
  VRAMPLAN_CHECK(work.begin % kTileLanes == 0 && work.end % kTileLanes == 0);
  for (std::int64_t first = 0; first < call.group; first += kMostRows) {
    DecodeTile t{};
    t.rows = std::min(kMostRows, call.group - first);
    t.keys = 4 * kTileLanes;
    t.head_dim = kv.head_dim;
    t.value_dim = kv.value_dim;
    t.scores = scratch;
    t.q = t.scores + t.rows * t.keys;
    t.values = t.q + t.rows * t.head_dim;
    for (std::int64_t i = 0; i < work.kv_heads; ++i) {
      const std::int64_t head = work.kv_head + i, query_head = head * call.group + first;
      clear_results(t);
      load_queries(call, work.slice->query_begin, query_head, t);
      if (packed_bits(kv.dtype) == 2)
        read_tiles<2>(call, work, head, t);
      else
        read_tiles<4>(call, work, head, t);
      write_values(call, work, query_head, partial, t);
    }
  }
}

}  // namespace vramplan::cpu
