#pragma once
// A history of any format and the residual window behind it, filled through the host, and attention
// over both in double.
#include <map>
#include <tuple>

#include "kernels/cpu/packed_tile.h"
#include "paged_cache.h"

namespace vramplan::cuda_test {

struct HistoryLengths {
  // history: of packed tiles a multiple of 32; recent 0: a row that pads a graph
  std::int64_t history, recent, queries = 1;
};

struct HistoryCase {
  CacheShape shape;  // of the history
  std::vector<HistoryLengths> slices;
  AttentionParams params;
  DType dtype = DType::kF32;
  std::int64_t splits = 6;
};

/// Both caches of every slice, blocks in no order, packed on the host.
class HistoryProblem {
 public:
  explicit HistoryProblem(const HistoryCase& c)
      : case_(c),
        history_({c.shape.dtype, c.shape.kv_heads, c.shape.head_dim, c.shape.value_dim,
                  c.shape.block_tokens},
                 kBlocks),
        recent_({DType::kF16, c.shape.kv_heads, c.shape.head_dim, c.shape.value_dim, 32}, kBlocks),
        q(c.dtype, query_rows(c), c.params.heads * c.shape.head_dim,
          normal(query_rows(c) * c.params.heads * c.shape.head_dim, 3)) {
    std::vector<std::int32_t> begin, count, old, newest;
    std::int32_t row = 0;
    for (std::size_t s = 0; s < c.slices.size(); ++s) {
      begin.push_back(row);
      count.push_back(c.slices[s].recent > 0 ? static_cast<std::int32_t>(c.slices[s].queries) : 0);
      row += static_cast<std::int32_t>(c.slices[s].queries);
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
  DeviceSlices slices(bool old, AttentionPath path = AttentionPath::kSimt) const {
    DeviceSlices s;
    s.count = static_cast<std::int64_t>(case_.slices.size());
    s.query_begin = begin_->data();
    s.query_count = count_->data();
    s.kv_length = old ? old_->data() : newest_->data();
    s.block_tables = table_->data();
    s.blocks_per_row = kPerSlice;
    for (const HistoryLengths& l : case_.slices)
      s.most_queries = std::max(s.most_queries, l.queries);
    s.most_kv = kPerSlice * (old ? case_.shape.block_tokens : 32);
    s.path = path;
    return s;
  }

  std::int64_t rows() const { return query_rows(case_); }

  /// Rows of slices without a window are 0.
  Values expected() const {
    const AttentionParams& p = case_.params;
    Values out(static_cast<std::size_t>(rows() * p.heads * case_.shape.value_dim), 0.0);
    const Values queries = q.values();
    std::int64_t row = 0;
    for (std::size_t s = 0; s < case_.slices.size(); ++s) {
      const HistoryLengths& l = case_.slices[s];
      for (std::int64_t j = 0; j < l.queries; ++j, ++row) {
        if (l.recent == 0) continue;
        const std::int64_t seen = l.history + l.recent - l.queries + j + 1;
        for (std::int64_t h = 0; h < p.heads; ++h) one(queries, s, row * p.heads + h, h, seen, out);
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

  static std::int64_t query_rows(const HistoryCase& c) {
    std::int64_t rows = 0;
    for (const HistoryLengths& l : c.slices) rows += l.queries;
    return rows;
  }
  bool packed() const {
    return case_.shape.dtype == DType::kKivi2 || case_.shape.dtype == DType::kKivi4;
  }

  void one(const Values& queries, std::size_t s, std::int64_t row, std::int64_t h,
           std::int64_t seen, Values& out) const {
    const AttentionParams& p = case_.params;
    const std::int64_t dim = case_.shape.value_dim, width = case_.shape.head_dim;
    const std::int64_t head = h / (p.heads / case_.shape.kv_heads);
    std::vector<double> value(static_cast<std::size_t>(dim), 0.0);
    double sum = 0;
    for (std::int64_t t = 0; t < seen; ++t) {
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

  double element(std::size_t s, std::int64_t token, std::int64_t head, std::int64_t d,
                 bool value) const {
    const std::int64_t old = case_.slices[s].history;
    if (token >= old) return recent_.element(slot(s, token - old, 32), head, d, value);
    if (!packed())
      return history_.element(slot(s, token, case_.shape.block_tokens), head, d, value);
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
      for (std::int64_t t = 0; t < case_.slices[s].history && !packed(); ++t) {
        const std::int64_t at = slot(s, t, shape.block_tokens);
        history_.set_row(at, head, false, normal(shape.head_dim, ++seed));
        history_.set_row(at, head, true, normal(shape.value_dim, ++seed));
      }
      for (std::int64_t t = 0; t < case_.slices[s].history && packed(); t += 32) {
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

  HistoryCase case_;
  PagedCache history_, recent_;
  std::vector<std::int32_t> tables_;
  std::map<std::tuple<std::size_t, std::int64_t, std::int64_t, bool>, std::vector<double>> tiles_;
  std::optional<Array<std::int32_t>> begin_, count_, old_, newest_, table_;

 public:
  Tensor q;
};

}  // namespace vramplan::cuda_test
