#pragma once
// Prefill attention on the warpgroup tensor cores of sm_90a (after Shah et al. 2024,
// FlashAttention-3). A block takes 128 queries of one head. One warp of the last warpgroup fetches
// tiles of 128 tokens of K and V out of the paged cache, box by box; the two other warpgroups own
// 64 queries each and take turns at starting products, so that one's softmax runs under the other's
// products. Inside a warpgroup the scores of a tile and the values of the tile before are under way
// together. Sums and probabilities stay in registers.
#include "kernels/cuda/tensor_tiles.cuh"
#include "kernels/cuda/warpgroup.h"

namespace vramplan::cuda::VRAMPLAN_KERNELS {

inline constexpr int kWarpgroupQueries = 128, kWarpgroupThreads = 384, kStages = 2;
inline constexpr int kOwnQueries = 64;               // of a warpgroup
inline constexpr int kScoreTiles = kTileTokens / 8;  // of eight tokens
// Barriers of a part of the block: turns of the two warpgroups, and meetings.
inline constexpr int kTurnBarrier = 1, kOwnBarrier = 3, kBothBarrier = 5;

/// Shared memory: queries of both warpgroups, then stages of K and of V, then barriers.
template <int kDim>
struct PrefillShared {
  static constexpr int kQueryBytes = kOwnQueries * kDim * 2, kTileBytes = kTileTokens * kDim * 2;
  static constexpr int kBarrierCount = 4 * kStages;
  static constexpr int kBytes = 2 * kQueryBytes + 2 * kStages * kTileBytes + 8 * kBarrierCount;

  std::byte* base;

  VRAMPLAN_DEVICE std::byte* queries(int group) const { return base + group * kQueryBytes; }
  VRAMPLAN_DEVICE std::byte* tile(bool values, int stage) const {
    return base + 2 * kQueryBytes + ((values ? kStages : 0) + stage) * kTileBytes;
  }
  /// Passed when the tile has come, and when all have read it.
  VRAMPLAN_DEVICE std::uint64_t* full(bool values, int stage) const {
    return barriers() + (values ? kStages : 0) + stage;
  }
  VRAMPLAN_DEVICE std::uint64_t* empty(bool values, int stage) const {
    return barriers() + (values ? 3 : 2) * kStages + stage;
  }
  VRAMPLAN_DEVICE std::uint64_t* barriers() const {
    return reinterpret_cast<std::uint64_t*>(base + kBytes - 8 * kBarrierCount);
  }
};

template <int kDim>
constexpr std::size_t prefill_wgmma_shared_bytes() {
  return PrefillShared<kDim>::kBytes + kTileAlign;  // tiles start at multiples of kTileAlign
}

/// The tile of queries that a block works on.
struct QueryTile {
  Slice slice;
  int head, kv_head, query0, base;  // base: position of query 0
};

/// Parity of the phase in which a tile is in its stage.
VRAMPLAN_DEVICE unsigned phase_of(int tile) { return static_cast<unsigned>(tile / kStages) & 1U; }

/// One lane a box: expects and starts all boxes of a tile.
template <int kDim>
VRAMPLAN_DEVICE void fetch_tile(const AttentionArguments& a, const QueryTile& at,
                                const TileWalk& walk, int tile, const dev::TensorMap& map,
                                std::byte* to, std::uint64_t* barrier) {
  const int boxes = walk.boxes(tile), box_bytes = walk.box * kPanelRowBytes;
  constexpr int kPanels = kDim / kPanelColumns;
  const int block_tokens = static_cast<int>(a.kv.block_tokens);
  if (dev::lane() == 0) dev::barrier_expect(barrier, boxes * kPanels * box_bytes);
  __syncwarp();
  for (int i = dev::lane(); i < boxes * kPanels; i += 32) {
    const int panel = i % kPanels, box = i / kPanels;
    const BoxPlace place = box_place(walk.token(tile) + box * walk.box, block_tokens);
    dev::copy_box(to + panel * kTileTokens * kPanelRowBytes + box * box_bytes, map,
                  panel * kPanelColumns, at.kv_head * block_tokens + place.token,
                  at.slice.blocks[place.block], barrier);
  }
}

template <int kDim>
VRAMPLAN_DEVICE void fetch_tiles(const AttentionArguments& a, const QueryTile& at,
                                 const TileWalk& walk, const dev::TensorMap& keys,
                                 const dev::TensorMap& values, const PrefillShared<kDim>& shared) {
  for (int tile = 0; tile < walk.tiles(); ++tile) {
    const int stage = tile % kStages;
    const unsigned before = phase_of(tile) ^ 1U;  // that it was read; the first time nothing was
    dev::barrier_wait(shared.empty(false, stage), before);
    fetch_tile<kDim>(a, at, walk, tile, keys, shared.tile(false, stage), shared.full(false, stage));
    dev::barrier_wait(shared.empty(true, stage), before);
    fetch_tile<kDim>(a, at, walk, tile, values, shared.tile(true, stage), shared.full(true, stage));
  }
}

/// The 64 queries of a warpgroup as T; zeros behind the last.
template <class T, int kDim>
VRAMPLAN_DEVICE void stage_own_queries(const AttentionArguments& a, const QueryTile& at, int group,
                                       std::byte* tile) {
  const int thread = static_cast<int>(threadIdx.x) % 128, first = at.query0 + group * kOwnQueries;
  for (int i = thread; i < kOwnQueries * kDim / 8; i += 128) {
    const int row = i / (kDim / 8), column = i % (kDim / 8) * 8;
    const std::int64_t from =
        ((at.slice.query_begin + first + row) * a.heads + at.head) * kDim + column;
    dev::U4 packed{0, 0, 0, 0};
    if (first + row < at.slice.query_count) {
      float v[8];
#pragma unroll
      for (int e = 0; e < 8; ++e) v[e] = dev::load_as(a.dtype, a.q, from + e);
      packed = {dev::pack2<T>(v[0], v[1]), dev::pack2<T>(v[2], v[3]), dev::pack2<T>(v[4], v[5]),
                dev::pack2<T>(v[6], v[7])};
    }
    dev::store(tile + tile_byte(kOwnQueries, row, column), packed);
  }
}

/// What a warpgroup knows of its place.
struct OwnRows {
  int group, first, position;  // first: position of its first query; position: of this lane's
  float multiplier;            // from what is kept as scores to units of log2
};

/// Softcap and masks; scores stay dot products, or capped scores, without the multiplier.
VRAMPLAN_DEVICE void hide_tokens(const AttentionArguments& a, const OwnRows& own, int token,
                                 float (&score)[kScoreTiles][4]) {
  if (a.cap > 0.0F) {
#pragma unroll
    for (int n = 0; n < kScoreTiles; ++n) {
#pragma unroll
      for (int e = 0; e < 4; ++e) {
        score[n][e] = a.cap * dev::tanh(score[n][e] * a.scale / a.cap);
      }
    }
  }
  if (sees_whole_tile(own.first, own.first + kOwnQueries - 1, token, kTileTokens, a.window)) return;
#pragma unroll
  for (int n = 0; n < kScoreTiles; ++n) {
#pragma unroll
    for (int e = 0; e < 4; ++e) {
      const int at = token + 8 * n + 2 * (dev::lane() % 4) + e % 2;
      const int position = own.position + 8 * (e / 2);
      const bool visible = at <= position && at >= first_visible(a, position);
      score[n][e] = visible ? score[n][e] : dev::minus_infinity();
    }
  }
}

/// Scores become probabilities, packed as the A fragments of the product with V. correction: what
/// earlier sums of both rows are to be multiplied by.
template <class T, int kDim>
VRAMPLAN_DEVICE void soften_tile(float multiplier, float (&score)[kScoreTiles][4],
                                 RowState<kDim>& state, float (&correction)[2]) {
#pragma unroll
  for (int half = 0; half < 2; ++half) {
    float highest = state.highest[half];
#pragma unroll
    for (int n = 0; n < kScoreTiles; ++n) {
      highest = dev::most(highest, dev::most(score[n][2 * half], score[n][2 * half + 1]));
    }
    for (int d = 2; d > 0; d >>= 1) {  // over the four lanes of a row
      highest = dev::most(highest, __shfl_xor_sync(dev::kFullMask, highest, d));
    }
    // Nothing visible yet: any finite reference keeps exp2(-inf - reference) at 0.
    const float reference = highest == dev::minus_infinity() ? 0.0F : highest * multiplier;
    correction[half] = dev::exp2_fast(state.highest[half] * multiplier - reference);
    state.highest[half] = highest;
    float part = 0.0F;
#pragma unroll
    for (int n = 0; n < kScoreTiles; ++n) {
#pragma unroll
      for (int e = 2 * half; e < 2 * half + 2; ++e) {
        score[n][e] = dev::exp2_fast(score[n][e] * multiplier - reference);
        part += score[n][e];
      }
    }
    state.sum[half] = state.sum[half] * correction[half] + part;
  }
}

template <class T>
VRAMPLAN_DEVICE void pack_probabilities(const float (&p)[kScoreTiles][4],
                                        std::uint32_t (&packed)[kScoreTiles / 2][4]) {
#pragma unroll
  for (int k = 0; k < kScoreTiles / 2; ++k) {
    packed[k][0] = dev::pack2<T>(p[2 * k][0], p[2 * k][1]);
    packed[k][1] = dev::pack2<T>(p[2 * k][2], p[2 * k][3]);
    packed[k][2] = dev::pack2<T>(p[2 * k + 1][0], p[2 * k + 1][1]);
    packed[k][3] = dev::pack2<T>(p[2 * k + 1][2], p[2 * k + 1][3]);
  }
}

template <int kDim>
VRAMPLAN_DEVICE void rescale(const float (&correction)[2], RowState<kDim>& state) {
#pragma unroll
  for (int n = 0; n < kDim / 8; ++n) {
#pragma unroll
    for (int e = 0; e < 4; ++e) state.value[n][e] *= correction[e / 2];
  }
}

/// Starts score = queries * keys^T of one tile, as a group.
template <class T, int kDim>
VRAMPLAN_DEVICE void start_scores(const std::byte* queries, const std::byte* keys,
                                  float (&score)[kScoreTiles][4]) {
  const std::uint32_t q = dev::shared_address(queries), k = dev::shared_address(keys);
  dev::products_begin();
#pragma unroll
  for (int d = 0; d < kDim; d += 16) {
    dev::multiply_shared<T>(score, k_major(q, kOwnQueries, 0, d), k_major(k, kTileTokens, 0, d),
                            d > 0);
  }
  dev::products_commit();
}

/// Starts value += probabilities * V of one tile, as a group.
template <class T, int kDim>
VRAMPLAN_DEVICE void start_values(const std::uint32_t (&p)[kScoreTiles / 2][4],
                                  const std::byte* values, RowState<kDim>& state) {
  const std::uint32_t v = dev::shared_address(values);
  dev::products_begin();
#pragma unroll
  for (int k = 0; k < kScoreTiles / 2; ++k) {
    dev::multiply_registers<T, kDim / 8>(state.value, p[k], mn_major(v, kTileTokens, 16 * k));
  }
  dev::products_commit();
}

/// One arrival a warp.
VRAMPLAN_DEVICE void give_back(std::uint64_t* empty) {
  if (dev::lane() == 0) dev::barrier_arrive(empty);
}

/// Rows of V behind the last token: 0 times whatever lies there may be NaN. Both warpgroups share
/// the work, and meet.
template <int kDim>
VRAMPLAN_DEVICE void clear_rows_behind(std::byte* values, int count) {
  for (int i = static_cast<int>(threadIdx.x); i < (kTileTokens - count) * kDim / 8; i += 256) {
    const int row = count + i / (kDim / 8), column = i % (kDim / 8) * 8;
    dev::store(values + tile_byte(kTileTokens, row, column), dev::U4{0, 0, 0, 0});
  }
  dev::async_fence();
  dev::named_sync(kBothBarrier, 256);
}

/// Where a warpgroup stands between two tiles.
template <int kDim>
struct Attending {
  RowState<kDim> state;
  std::uint32_t p[kScoreTiles / 2][4];  // of the tile whose values are next
};

/// Scores of a tile into probabilities; what earlier sums are multiplied by.
template <class T, int kDim>
VRAMPLAN_DEVICE void soften_scores(const AttentionArguments& a, const OwnRows& own, int token,
                                   float (&score)[kScoreTiles][4], RowState<kDim>& state,
                                   float (&correction)[2]) {
  hide_tokens(a, own, token, score);
  soften_tile<T, kDim>(own.multiplier, score, state, correction);
}

/// The first tile: scores alone.
template <class T, int kDim>
VRAMPLAN_DEVICE void attend_first(const AttentionArguments& a, const OwnRows& own,
                                  const TileWalk& walk, const PrefillShared<kDim>& shared,
                                  Attending<kDim>& now) {
  float score[kScoreTiles][4] = {};
  float correction[2];
  dev::barrier_wait(shared.full(false, 0), 0);
  dev::named_sync(kTurnBarrier + own.group, 256);
  start_scores<T, kDim>(shared.queries(own.group), shared.tile(false, 0), score);
  if (own.group == 0 || walk.tiles() > 1) dev::named_arrive(kTurnBarrier + 1 - own.group, 256);
  dev::products_wait<0>(score);
  give_back(shared.empty(false, 0));
  soften_scores<T, kDim>(a, own, walk.token(0), score, now.state, correction);
  pack_probabilities<T>(score, now.p);
}

/// All other tiles: the scores of one beside the values of the one before.
template <class T, int kDim>
VRAMPLAN_DEVICE void attend_others(const AttentionArguments& a, const OwnRows& own,
                                   const TileWalk& walk, const PrefillShared<kDim>& shared,
                                   Attending<kDim>& now) {
  const int tiles = walk.tiles();
  float score[kScoreTiles][4] = {};
  float correction[2];
  for (int tile = 1; tile < tiles; ++tile) {
    const int stage = tile % kStages, before = (tile - 1) % kStages;
    dev::barrier_wait(shared.full(false, stage), phase_of(tile));
    dev::barrier_wait(shared.full(true, before), phase_of(tile - 1));
    dev::named_sync(kTurnBarrier + own.group, 256);
    start_scores<T, kDim>(shared.queries(own.group), shared.tile(false, stage), score);
    start_values<T, kDim>(now.p, shared.tile(true, before), now.state);
    if (own.group == 0 || tile + 1 < tiles) dev::named_arrive(kTurnBarrier + 1 - own.group, 256);
    dev::products_wait<1>(score);
    give_back(shared.empty(false, stage));
    soften_scores<T, kDim>(a, own, walk.token(tile), score, now.state, correction);
    dev::products_wait<0>(now.state.value);
    give_back(shared.empty(true, before));
    rescale<kDim>(correction, now.state);
    pack_probabilities<T>(score, now.p);
  }
}

/// The values of the last tile.
template <class T, int kDim>
VRAMPLAN_DEVICE void attend_last(const TileWalk& walk, const PrefillShared<kDim>& shared,
                                 Attending<kDim>& now) {
  const int tile = walk.tiles() - 1, left = walk.last - walk.token(tile);
  std::byte* values = shared.tile(true, tile % kStages);
  dev::barrier_wait(shared.full(true, tile % kStages), phase_of(tile));
  if (left < kTileTokens) clear_rows_behind<kDim>(values, left);
  start_values<T, kDim>(now.p, values, now.state);
  dev::products_wait<0>(now.state.value);
}

/// This lane's part of the rows of its warpgroup, divided by their sums.
template <int kDim>
VRAMPLAN_DEVICE void store_own_rows(const AttentionArguments& a, const QueryTile& at,
                                    const OwnRows& own, RowState<kDim>& state) {
  finish_sums(state);
#pragma unroll
  for (int half = 0; half < 2; ++half) {
    const int row = own.position - at.base + 8 * half;
    if (row >= at.slice.query_count) continue;
    const float scale = state.sum[half] > 0.0F ? 1.0F / state.sum[half] : 0.0F;
    const std::int64_t to = ((at.slice.query_begin + row) * a.heads + at.head) * kDim;
#pragma unroll
    for (int n = 0; n < kDim / 8; ++n) {
#pragma unroll
      for (int e = 0; e < 2; ++e) {
        dev::store_as(a.dtype, a.out, to + 8 * n + 2 * (dev::lane() % 4) + e,
                      state.value[n][2 * half + e] * scale);
      }
    }
  }
}

template <class T, int kDim>
VRAMPLAN_DEVICE void answer_queries(const AttentionArguments& a, const QueryTile& at,
                                    const TileWalk& walk, const PrefillShared<kDim>& shared) {
  OwnRows own;
  own.group = dev::warp() / 4;
  own.first = at.base + at.query0 + own.group * kOwnQueries;
  own.position = own.first + 16 * (dev::warp() % 4) + dev::lane() / 4;
  own.multiplier = (a.cap > 0.0F ? 1.0F : a.scale) * dev::kLog2e;
  stage_own_queries<T, kDim>(a, at, own.group, shared.queries(own.group));
  dev::async_fence();
  dev::named_sync(kOwnBarrier + own.group, 128);
  if (own.group == 1) dev::named_arrive(kTurnBarrier, 256);  // the first turn is that of group 0
  Attending<kDim> now;
  clear(now.state);
  attend_first<T, kDim>(a, own, walk, shared, now);
  attend_others<T, kDim>(a, own, walk, shared, now);
  attend_last<T, kDim>(walk, shared, now);
  store_own_rows<kDim>(a, at, own, now.state);
}

/// Grid: query tiles (the longest first), heads, slices.
template <class T, int kDim>
VRAMPLAN_KERNEL VRAMPLAN_BOUNDS(384)
    attention_prefill_wgmma_kernel(AttentionArguments a, VRAMPLAN_GRID_CONSTANT dev::TensorMap keys,
                                   VRAMPLAN_GRID_CONSTANT dev::TensorMap values) {
  if constexpr (dev::kWarpgroups) {
    VRAMPLAN_DYNAMIC_SHARED(std::byte, memory);
    const Slice slice = slice_at(a, blockIdx.z);
    const int query0 = static_cast<int>(gridDim.x - 1 - blockIdx.x) * kWarpgroupQueries;
    if (query0 >= slice.query_count) return;  // the whole block
    const int head = static_cast<int>(blockIdx.y), base = slice.kv_length - slice.query_count;
    const QueryTile at{slice, head, head / static_cast<int>(a.heads / a.kv.kv_heads), query0, base};
    const TileWalk walk = tile_walk(first_visible(a, base + query0),
                                    dev::least(base + query0 + kWarpgroupQueries, slice.kv_length),
                                    static_cast<int>(a.kv.block_tokens));
    const unsigned beyond = dev::shared_address(memory) % kTileAlign;
    const PrefillShared<kDim> shared{memory + (kTileAlign - beyond) % kTileAlign};
    if (threadIdx.x == 0) {
      for (int i = 0; i < 2 * kStages; ++i) {
        dev::barrier_init(shared.barriers() + i, 1);                // full: the thread that fetches
        dev::barrier_init(shared.barriers() + 2 * kStages + i, 8);  // empty: warps that read
      }
      dev::barrier_publish();
    }
    __syncthreads();
    if (dev::warp() >= 8) {
      dev::fewer_registers<40>();
      if (dev::warp() == 8) fetch_tiles<kDim>(a, at, walk, keys, values, shared);
    } else {
      dev::more_registers<232>();
      answer_queries<T, kDim>(a, at, walk, shared);
    }
  }
}

}  // namespace vramplan::cuda::VRAMPLAN_KERNELS
