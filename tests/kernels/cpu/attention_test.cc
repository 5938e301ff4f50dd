#include "kernels/cpu/attention.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <limits>
#include <numeric>

#include "kernels/cpu/cpu_ops.h"
#include "kernels/cpu/kv_cache.h"
#include "random_tensors.h"

namespace vramplan {
namespace {

struct Case {
  DType dtype = DType::kF16;
  std::int64_t kv_heads = 3, group = 3, head_dim = 64, value_dim = 64, block_tokens = 16;
  std::vector<std::pair<std::int64_t, std::int64_t>> sequences;  // query_count, kv_length
  std::int64_t window = 0, sinks = 0;
  float softcap = 0.0F, query_size = 1.0F;
  int threads = 2;
};

/// A block pool full of NaN, blocks handed out in random order, valid slots written.
class Cache {
 public:
  explicit Cache(const Case& c) {
    std::int64_t blocks = 5;  // some belong to nobody
    for (const auto& s : c.sequences) blocks += ceil_div(s.second, c.block_tokens);
    kv_.dtype = c.dtype;
    kv_.block_count = blocks;
    kv_.block_tokens = c.block_tokens;
    kv_.kv_heads = c.kv_heads;
    kv_.head_dim = c.head_dim;
    kv_.value_dim = c.value_dim;
    kv_.value_offset = c.kv_heads * c.block_tokens * kv_row_bytes(c.dtype, c.head_dim).n;
    // Other layers lie between the blocks of this one.
    kv_.block_stride =
        kv_.value_offset + c.kv_heads * c.block_tokens * kv_row_bytes(c.dtype, c.value_dim).n + 128;
    bytes_.assign(static_cast<std::size_t>(kv_.block_stride * blocks), std::byte{0xff});
    kv_.base = bytes_.data();
    std::vector<std::int32_t> order(static_cast<std::size_t>(blocks));
    std::iota(order.begin(), order.end(), 0);
    std::shuffle(order.begin(), order.end(), std::mt19937(5));
    std::size_t next = 0;
    for (const auto& s : c.sequences) {
      const auto count = static_cast<std::size_t>(ceil_div(s.second, c.block_tokens));
      tables_.emplace_back(order.begin() + static_cast<std::ptrdiff_t>(next),
                           order.begin() + static_cast<std::ptrdiff_t>(next + count));
      next += count;
    }
  }

  const KvLayerView& kv() const { return kv_; }
  const std::int32_t* table(std::size_t sequence) const { return tables_[sequence].data(); }

  void fill(Ops& ops, const Case& c) {
    for (std::size_t s = 0; s < tables_.size(); ++s) {
      const std::int64_t n = c.sequences[s].second;
      keys.push_back(random_floats(n * c.kv_heads * c.head_dim, 100 + static_cast<unsigned>(s)));
      values.push_back(random_floats(n * c.kv_heads * c.value_dim, 200 + static_cast<unsigned>(s)));
      std::vector<std::int64_t> slots;
      for (std::int64_t p = 0; p < n; ++p) {
        slots.push_back(tables_[s][static_cast<std::size_t>(p / c.block_tokens)] * c.block_tokens +
                        p % c.block_tokens);
      }
      ops.kv_write(kv_, view(keys[s], n, c.kv_heads * c.head_dim),
                   view(values[s], n, c.kv_heads * c.value_dim), slots);
    }
    round(keys, c.head_dim);
    round(values, c.value_dim);
  }

  std::vector<std::vector<float>> keys, values;  // as the cache holds them

 private:
  /// What is left of each row of `width` elements after encoding.
  void round(std::vector<std::vector<float>>& all, std::int64_t width) const {
    std::vector<std::byte> row(static_cast<std::size_t>(kv_row_bytes(kv_.dtype, width).n));
    for (auto& rows : all) {
      for (float* x = rows.data(); x < rows.data() + rows.size(); x += width) {
        cpu::store_kv_row(kv_.dtype, x, width, row.data());
        for (std::int64_t i = 0; i < width; ++i)
          x[i] = cpu::kv_element(kv_.dtype, row.data(), width, i);
      }
    }
  }
  KvLayerView kv_;
  std::vector<std::byte> bytes_;
  std::vector<std::vector<std::int32_t>> tables_;
};

/// The definition, in double, for one query and head.
std::vector<double> reference(const Case& c, const Cache& cache, std::size_t s, const float* q,
                              const float* sink_q, std::int64_t position, std::int64_t kv_head,
                              float scale) {
  const std::int64_t begin = c.window > 0 ? std::max<std::int64_t>(0, position - c.window + 1) : 0;
  std::vector<double> scores;
  std::vector<std::int64_t> seen;
  for (std::int64_t p = 0; p <= position; ++p) {
    if (p < begin && p >= c.sinks) continue;
    seen.push_back(p);
    const float* k =
        &cache.keys[s][static_cast<std::size_t>((p * c.kv_heads + kv_head) * c.head_dim)];
    double dot = 0;
    for (std::int64_t d = 0; d < c.head_dim; ++d)
      dot += static_cast<double>((p < c.sinks ? sink_q : q)[d]) * static_cast<double>(k[d]);
    dot *= static_cast<double>(scale);
    const auto cap = static_cast<double>(c.softcap);
    scores.push_back(cap > 0 ? cap * std::tanh(dot / cap) : dot);
  }
  const double largest = *std::max_element(scores.begin(), scores.end());
  double sum = 0;
  for (double& x : scores) sum += (x = std::exp(x - largest));
  std::vector<double> out(static_cast<std::size_t>(c.value_dim), 0.0);
  for (std::size_t i = 0; i < seen.size(); ++i) {
    const float* v =
        &cache.values[s][static_cast<std::size_t>((seen[i] * c.kv_heads + kv_head) * c.value_dim)];
    for (std::size_t d = 0; d < out.size(); ++d) {
      out[d] += scores[i] / sum * static_cast<double>(v[d]);
    }
  }
  return out;
}

void expect_attention(const Case& c, bool naive) {
  const auto ops = make_cpu_ops(c.threads);
  Cache cache(c);
  cache.fill(*ops, c);
  std::vector<SequenceSlice> slices;
  std::int64_t tokens = 1;  // row 0 belongs to nobody
  for (std::size_t s = 0; s < c.sequences.size(); ++s) {
    slices.push_back({tokens, c.sequences[s].first, c.sequences[s].second, cache.table(s)});
    tokens += c.sequences[s].first;
  }
  AttentionParams params;
  params.heads = c.kv_heads * c.group;
  params.scale = 1.0F / std::sqrt(static_cast<float>(c.head_dim));
  params.softcap = c.softcap;
  params.window_tokens = c.window;
  params.naive = naive;
  params.sink_tokens = c.sinks;
  std::vector<float> q = random_floats(tokens * params.heads * c.head_dim, 1, c.query_size);
  std::vector<float> sink_q = random_floats(tokens * params.heads * c.head_dim, 2, c.query_size);
  if (c.sinks > 0) params.sink_q = view(sink_q, tokens, params.heads * c.head_dim);
  std::vector<float> out(static_cast<std::size_t>(tokens * params.heads * c.value_dim), 42.0F);
  const Bytes scratch = ops->attention_workspace(slices, cache.kv(), params);
  std::vector<float> workspace(static_cast<std::size_t>(scratch.n / 4) + 8, NAN);
  for (std::size_t i = workspace.size() - 8; i < workspace.size(); ++i) workspace[i] = 17.0F;
  ops->attention(view(out, tokens, params.heads * c.value_dim),
                 view(q, tokens, params.heads * c.head_dim), cache.kv(), slices, params,
                 {workspace.data(), DType::kF32, 1, scratch.n / 4});
  for (std::size_t i = workspace.size() - 8; i < workspace.size(); ++i)
    ASSERT_EQ(workspace[i], 17.0F);
  for (std::int64_t i = 0; i < params.heads * c.value_dim; ++i)
    ASSERT_EQ(out[static_cast<std::size_t>(i)], 42.0F);
  for (std::size_t s = 0; s < slices.size(); ++s) {
    for (std::int64_t j = 0; j < slices[s].query_count; ++j) {
      for (std::int64_t h = 0; h < params.heads; ++h) {
        const std::int64_t row = slices[s].query_begin + j;
        const auto at = static_cast<std::size_t>((row * params.heads + h) * c.head_dim);
        const auto expected =
            reference(c, cache, s, &q[at], &sink_q[at],
                      slices[s].kv_length - slices[s].query_count + j, h / c.group, params.scale);
        for (std::size_t d = 0; d < expected.size(); ++d) {
          ASSERT_NEAR(
              static_cast<double>(
                  out[static_cast<std::size_t>((row * params.heads + h) * c.value_dim) + d]),
              expected[d], 2e-5 * (1.0 + static_cast<double>(c.query_size)))
              << "sequence " << s << " query " << j << " head " << h << " element " << d;
        }
      }
    }
  }
}

void expect_both(const Case& c) {
  expect_attention(c, false);
  expect_attention(c, true);
}

TEST(Attention, RaggedSequencesOfOneQuery) {
  for (const int threads : {1, 2, 3}) {
    Case c;
    c.threads = threads;
    c.sequences = {{1, 1}, {1, 16}, {1, 17}, {1, 300}, {1, 65}};
    expect_both(c);
    c.sequences = {{1, 777}};
    expect_both(c);
  }
}

TEST(Attention, PrefillWholeChunkedAndMixedWithDecode) {
  for (const int threads : {1, 2, 3}) {
    Case c;
    c.threads = threads;
    c.sequences = {{70, 70}};
    expect_both(c);
    c.sequences = {{33, 200}, {1, 90}, {2, 2}, {1, 7}, {40, 41}};
    expect_both(c);
  }
}

TEST(Attention, FewQueriesWhoseKeysAreSharedOutAmongTheThreads) {
  Case c;
  for (const int threads : {2, 3, 5}) {
    c.threads = threads;  // the last length: all queries but one see nothing of the last part
    for (const auto& [count, length] : {std::pair{2, 321}, {5, 1003}, {16, 640}, {3, 5 * 64 + 1}}) {
      c.sequences = {{count, length}, {1, 77}, {count, length + 1}};
      for (const std::int64_t window : {0, 100}) {
        c.window = window;
        c.softcap = window > 0 ? 3.0F : 0.0F;
        expect_attention(c, false);
      }
    }
  }
}

TEST(Attention, SinksAreSeenBesideTheWindowWithQueriesOfTheirOwn) {
  for (const int threads : {1, 2, 3}) {
    for (const std::int64_t sinks : {1, 4, 16, 21}) {
      Case c;
      c.threads = threads;
      c.sinks = sinks;
      c.window = 40;
      c.sequences = {{1, 1}, {1, 19}, {1, 45}, {1, 400}, {30, 30}, {50, 70}, {33, 200}};
      expect_both(c);
      c.window = 3;
      c.dtype = DType::kI8;
      expect_both(c);
    }
  }
}

/// Each query gives every head one unit of attention, however it is computed.
TEST(Attention, MassOfBlocksIsTheSameFromTilesAndFromScores) {
  for (const std::int64_t block : {5, 16, 100}) {
    Case c;
    c.block_tokens = block;
    c.sequences = {{1, 130}, {37, 150}, {70, 70}};
    const auto ops = make_cpu_ops(2);
    Cache cache(c);
    cache.fill(*ops, c);
    std::vector<std::vector<std::int64_t>> masses[2];
    for (const bool naive : {false, true}) {
      std::vector<SequenceSlice> slices;
      std::int64_t tokens = 0;
      for (std::size_t s = 0; s < c.sequences.size(); ++s) {
        const auto [queries, length] = c.sequences[s];
        masses[naive].emplace_back(static_cast<std::size_t>(ceil_div(length, block)), 0);
        slices.push_back({tokens, queries, length, cache.table(s), nullptr});
        tokens += queries;
      }
      for (std::size_t s = 0; s < slices.size(); ++s)
        slices[s].block_mass = masses[naive][s].data();
      AttentionParams params;
      params.heads = 9;
      params.scale = 0.125F;
      params.naive = naive;
      std::vector<float> q = random_floats(tokens * 9 * 64, 1);
      std::vector<float> out(q.size());
      const Bytes scratch = ops->attention_workspace(slices, cache.kv(), params);
      std::vector<float> workspace(static_cast<std::size_t>(scratch.n / 4) + 1);
      ops->attention(view(out, tokens, 9 * 64), view(q, tokens, 9 * 64), cache.kv(), slices, params,
                     {workspace.data(), DType::kF32, 1, scratch.n / 4});
    }
    for (std::size_t s = 0; s < c.sequences.size(); ++s) {
      double sum = 0;
      for (std::size_t b = 0; b < masses[0][s].size(); ++b) {
        const double tiled = static_cast<double>(masses[0][s][b]) / 4294967296.0;
        EXPECT_NEAR(tiled, static_cast<double>(masses[1][s][b]) / 4294967296.0, 1e-3);
        sum += tiled;
      }
      EXPECT_NEAR(sum, static_cast<double>(c.sequences[s].first * 9), 1e-3);
    }
  }
}

TEST(Attention, CacheFormats) {
  for (const DType dtype : {DType::kF32, DType::kF16, DType::kBF16, DType::kF8E4M3, DType::kI8,
                            DType::kQ8_0, DType::kQ4_0}) {
    Case c;
    c.dtype = dtype;
    c.sequences = {{1, 130}, {20, 150}};
    expect_both(c);
  }
}

TEST(Attention, HeadDimensionsThatFillNoVectorAndDifferFromValues) {
  const std::pair<std::int64_t, std::int64_t> dims[] = {{80, 80}, {96, 64}, {128, 128}, {256, 256},
                                                        {20, 36}, {7, 5},   {192, 128}, {576, 512}};
  for (const auto& [head, value] : dims) {
    for (const DType dtype : {DType::kF16, DType::kF32, DType::kI8}) {
      Case c;
      c.dtype = dtype;
      c.head_dim = head;
      c.value_dim = value;
      c.kv_heads = 2;
      c.group = 2;
      c.block_tokens = 5;
      c.sequences = {{1, 83}, {19, 77}};
      expect_both(c);
    }
  }
}

TEST(Attention, GroupsFromOneHeadToMany) {
  for (const std::int64_t group : {1, 2, 4, 5, 7, 16, 35}) {
    Case c;
    c.kv_heads = group > 4 ? 1 : 2;
    c.group = group;
    c.head_dim = c.value_dim = 32;
    c.sequences = {{1, 140}, {11, 60}};
    expect_both(c);
  }
}

TEST(Attention, SlidingWindow) {
  for (const std::int64_t window : {1, 2, 16, 50, 64, 1000}) {
    Case c;
    c.window = window;
    c.sequences = {{1, 200}, {90, 200}, {30, 30}};
    expect_both(c);
  }
}

TEST(Attention, Softcap) {
  Case c;
  c.softcap = 5.0F;
  c.query_size = 4.0F;
  c.sequences = {{1, 150}, {40, 90}};
  expect_both(c);
}

TEST(Attention, ScoresFarBeyondTheRangeOfExp) {
  Case c;
  c.dtype = DType::kF32;
  c.query_size = 100.0F;  // scores of several hundred
  c.sequences = {{1, 150}, {40, 90}};
  expect_both(c);
}

TEST(Attention, RefusesACacheFormatByName) {
  const auto ops = make_cpu_ops(1);
  KvLayerView kv;
  kv.dtype = DType::kQ4_K;
  EXPECT_THROW(ops->attention({}, {}, kv, {}, {}, {}), Error);
  EXPECT_THROW(ops->kv_write(kv, {}, {}, {}), Error);
}

/// A softmax over one key is 1: the result is the row of values itself.
TEST(Attention, EveryFloat8CodeIsReadAsTheNumberItIs) {
  Case c;
  c.dtype = DType::kF8E4M3;
  c.kv_heads = c.group = 1;
  c.head_dim = c.value_dim = 64;
  c.sequences = {{1, 1}, {1, 1}, {1, 1}, {1, 1}};
  const auto ops = make_cpu_ops(1);
  Cache cache(c);
  cache.fill(*ops, c);
  std::vector<SequenceSlice> slices;
  for (std::int64_t s = 0; s < 4; ++s) {
    const std::int32_t* table = cache.table(static_cast<std::size_t>(s));
    slices.push_back({s, 1, 1, table});
    std::byte* row = cpu::value_row(cache.kv(), table[0], 0, 0);
    for (std::int64_t i = 0; i < 64; ++i) row[i] = static_cast<std::byte>(64 * s + i);
  }
  AttentionParams params;
  params.heads = 1;
  std::vector<float> q(4 * 64, 0.5F), out(4 * 64);
  const auto attend = [&] {
    const Bytes scratch = ops->attention_workspace(slices, cache.kv(), params);
    std::vector<float> workspace(static_cast<std::size_t>(scratch.n / 4) + 1);
    ops->attention(view(out, 4, 64), view(q, 4, 64), cache.kv(), slices, params,
                   {workspace.data(), DType::kF32, 1, scratch.n / 4});
  };
  attend();  // two rows hold a NaN each
  for (std::size_t code = 0; code < 256; ++code) {
    const float wanted = cpu::f8_to_f32(static_cast<std::uint8_t>(code));
    if (std::isnan(wanted))
      EXPECT_TRUE(std::isnan(out[code])) << code;
    else
      EXPECT_EQ(out[code], wanted) << code;
  }
  for (const std::size_t s : {std::size_t{1}, std::size_t{3}})
    cpu::value_row(cache.kv(), cache.table(s)[0], 0, 0)[63] = std::byte{0x7e};
  attend();  // now none does
  for (std::size_t code = 0; code < 256; ++code) {
    const unsigned held = code % 128 == 127 ? 0x7e : static_cast<unsigned>(code);
    EXPECT_EQ(out[code], cpu::f8_to_f32(static_cast<std::uint8_t>(held))) << code;
  }
  cpu::key_row(cache.kv(), cache.table(0)[0], 0, 0)[5] = std::byte{0xff};
  attend();
  for (std::size_t i = 0; i < 128; ++i) EXPECT_EQ(std::isnan(out[i]), i < 64) << i;
}

}  // namespace
}  // namespace vramplan
