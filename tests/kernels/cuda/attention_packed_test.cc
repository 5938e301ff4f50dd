#include <map>
#include <tuple>

#include "kernels/cpu/packed_tile.h"
#include "paged_cache.h"

namespace vramplan::cuda_test {
namespace {

class AttentionPacked : public CudaKernel {};

struct Lengths {
  std::int64_t history, recent;  // history: a multiple of 32; recent 0: a row that pads a graph
};

struct Case {
  CacheShape shape;  // of the history
  std::vector<Lengths> slices;
  AttentionParams params;
  DType dtype = DType::kF32;
  std::int64_t splits = 6;
};

/// Both caches of every slice, blocks in no order, packed on the host.
class Problem {
 public:
  explicit Problem(const Case& c)
      : case_(c),
        history_({c.shape.dtype, c.shape.kv_heads, c.shape.head_dim, c.shape.value_dim,
                  c.shape.block_tokens},
                 kBlocks),
        recent_({DType::kF16, c.shape.kv_heads, c.shape.head_dim, c.shape.value_dim, 32}, kBlocks),
        q(c.dtype, static_cast<std::int64_t>(c.slices.size()), c.params.heads * c.shape.head_dim,
          normal(static_cast<std::int64_t>(c.slices.size()) * c.params.heads * c.shape.head_dim,
                 3)) {
    std::vector<std::int32_t> begin, count, old, newest;
    for (std::size_t s = 0; s < c.slices.size(); ++s) {
      begin.push_back(static_cast<std::int32_t>(s));
      count.push_back(c.slices[s].recent > 0 ? 1 : 0);
      old.push_back(static_cast<std::int32_t>(c.slices[s].history));
      newest.push_back(static_cast<std::int32_t>(c.slices[s].recent));
      for (std::int64_t b = 0; b < kPerSlice; ++b) {
        tables_.push_back(static_cast<std::int32_t>((static_cast<std::int64_t>(s) * kPerSlice + b) *
                                                    7 % kBlocks));
      }
      fill(s);
    }
    history_.send();
    recent_.send();
    begin_.emplace(begin);
    count_.emplace(count);
    old_.emplace(old);
    newest_.emplace(newest);
    table_.emplace(tables_);
  }

  KvLayerView history() const { return history_.view(); }
  KvLayerView recent() const { return recent_.view(); }
  DeviceSlices slices(bool old) const {
    DeviceSlices s;
    s.count = static_cast<std::int64_t>(case_.slices.size());
    s.query_begin = begin_->data();
    s.query_count = count_->data();
    s.kv_length = old ? old_->data() : newest_->data();
    s.block_tables = table_->data();
    s.blocks_per_row = kPerSlice;
    s.most_queries = 1;
    s.most_kv = kPerSlice * (old ? case_.shape.block_tokens : 32);
    s.path = AttentionPath::kSimt;
    return s;
  }

  Values expected() const {
    const Values queries = q.values();
    const AttentionParams& p = case_.params;
    const std::int64_t dim = case_.shape.value_dim, width = case_.shape.head_dim;
    Values out(case_.slices.size() * static_cast<std::size_t>(p.heads * dim), 0.0);
    for (std::size_t s = 0; s < case_.slices.size(); ++s) {
      if (case_.slices[s].recent == 0) continue;
      for (std::int64_t h = 0; h < p.heads; ++h) {
        const std::int64_t head = h / (p.heads / case_.shape.kv_heads);
        const auto row = static_cast<std::int64_t>(s) * p.heads + h;
        std::vector<double> value(static_cast<std::size_t>(dim), 0.0);
        double sum = 0;
        for (std::int64_t t = 0; t < case_.slices[s].history + case_.slices[s].recent; ++t) {
          double score = 0;
          for (std::int64_t d = 0; d < width; ++d)
            score += at(queries, row * width + d) * element(s, t, head, d, false);
          score *= static_cast<double>(p.scale);
          const auto cap = static_cast<double>(p.softcap);
          if (cap > 0) score = cap * std::tanh(score / cap);
          const double weight = std::exp(score);
          sum += weight;
          for (std::int64_t d = 0; d < dim; ++d)
            value[static_cast<std::size_t>(d)] += weight * element(s, t, head, d, true);
        }
        for (std::int64_t d = 0; d < dim; ++d)
          out[static_cast<std::size_t>(row * dim + d)] = value[static_cast<std::size_t>(d)] / sum;
      }
    }
    return out;
  }

 private:
  static constexpr std::int64_t kPerSlice = 8, kBlocks = 61;

  std::int64_t slot(std::size_t s, std::int64_t token, std::int64_t block_tokens) const {
    const auto row = s * static_cast<std::size_t>(kPerSlice);
    return tables_[row + static_cast<std::size_t>(token / block_tokens)] * block_tokens +
           token % block_tokens;
  }

  double element(std::size_t s, std::int64_t token, std::int64_t head, std::int64_t d,
                 bool value) const {
    const std::int64_t old = case_.slices[s].history;
    if (token >= old) return recent_.element(slot(s, token - old, 32), head, d, value);
    const auto it = tiles_.find({s, token / 32, head, value});
    return it->second[static_cast<std::size_t>(
        token % 32 * (value ? case_.shape.value_dim : case_.shape.head_dim) + d)];
  }

  void fill(std::size_t s) {
    const CacheShape& shape = case_.shape;
    std::uint32_t seed = static_cast<std::uint32_t>(100 * s);
    for (std::int64_t head = 0; head < shape.kv_heads; ++head) {
      for (std::int64_t t = 0; t < case_.slices[s].recent; ++t) {
        recent_.set_row(slot(s, t, 32), head, false, normal(shape.head_dim, ++seed));
        recent_.set_row(slot(s, t, 32), head, true, normal(shape.value_dim, ++seed));
      }
      for (std::int64_t t = 0; t < case_.slices[s].history; t += 32) {
        const std::int64_t at = slot(s, t, shape.block_tokens);
        const std::int64_t block = at / shape.block_tokens, offset = at % shape.block_tokens;
        KvLayerView view = history_.host_view();
        std::vector<float> k = normal(32 * shape.head_dim, ++seed),
                           v = normal(32 * shape.value_dim, ++seed);
        const cpu::PackedTile key = cpu::key_tile(view, block, head, offset);
        cpu::pack_tile({k.data(), 1, shape.head_dim}, key);
        std::vector<double> keys, values;
        for (std::int64_t i = 0; i < 32 * shape.head_dim; ++i)
          keys.push_back(
              static_cast<double>(cpu::tile_element(key, i % shape.head_dim, i / shape.head_dim)));
        values.resize(v.size());
        for (std::int64_t part = 0; part < shape.value_dim / 32; ++part) {
          const cpu::PackedTile tile = cpu::value_tile(view, block, head, offset, part);
          cpu::pack_tile({v.data() + part * 32, shape.value_dim, 1}, tile);
          for (std::int64_t i = 0; i < 32 * 32; ++i)
            values[static_cast<std::size_t>(i / 32 * shape.value_dim + part * 32 + i % 32)] =
                static_cast<double>(cpu::tile_element(tile, i / 32, i % 32));
        }
        tiles_[{s, t / 32, head, false}] = keys;
        tiles_[{s, t / 32, head, true}] = values;
      }
    }
  }

  Case case_;
  PagedCache history_, recent_;
  std::vector<std::int32_t> tables_;
  std::map<std::tuple<std::size_t, std::int64_t, std::int64_t, bool>, std::vector<double>> tiles_;
  std::optional<Array<std::int32_t>> begin_, count_, old_, newest_, table_;

 public:
  Tensor q;
};

void check(const Case& c) {
  const Problem problem(c);
  const Values expected = problem.expected();
  for_each_schedule([&] {
    Tensor out(
        c.dtype, static_cast<std::int64_t>(c.slices.size()), c.params.heads * c.shape.value_dim,
        std::vector<float>(
            c.slices.size() * static_cast<std::size_t>(c.params.heads * c.shape.value_dim), 0.0F));
    const Bytes room = cuda::attention_decode_workspace(
        static_cast<std::int64_t>(c.slices.size()), c.params.heads, c.shape.value_dim, c.splits);
    Tensor workspace(DType::kF32, 1, room.n / 4);
    cuda::attention_decode_history({}, out.view(), problem.q.view(), problem.recent(),
                                   problem.slices(false), problem.history(), problem.slices(true),
                                   c.params, workspace.view());
    expect_close(out.values(), expected, 2 * tolerance_of(c.dtype), name(c.shape.dtype));
  });
}

TEST_F(AttentionPacked, SmallHistoryAndWindow) {
  for (const DType dtype : {DType::kKivi2, DType::kKivi4}) {
    check({{dtype, 1, 32, 32, 32}, {{64, 5}}, params_of(2), DType::kF32, 4});
  }
}

TEST_F(AttentionPacked, RaggedSlicesGroupsAndSplits) {
  for (const DType dtype : {DType::kKivi2, DType::kKivi4}) {
    for (const std::int64_t group : {1, 3, 5}) {
      check({{dtype, 2, 64, 64, 32}, {{256, 40}, {0, 7}, {32, 33}, {0, 0}}, params_of(2 * group)});
    }
    check({{dtype, 1, 64, 64, 64}, {{480, 1}}, params_of(4), DType::kF32, 20});
  }
}

TEST_F(AttentionPacked, DimensionsSoftcapsAndActivationTypes) {
  for (const DType dtype : kActivations) {
    check({{DType::kKivi2, 1, 128, 128, 32}, {{96, 20}}, params_of(4, 0.09F, 3.0F), dtype});
  }
  check({{DType::kKivi4, 1, 256, 256, 32}, {{64, 20}}, params_of(3, 0.06F)});
  check({{DType::kKivi2, 1, 96, 32, 32}, {{64, 20}}, params_of(2, 0.1F)});
}

}  // namespace
}  // namespace vramplan::cuda_test
