#pragma once
// A paged KV cache with shuffled blocks, filled through the host, and attention over it in double.
#include <numeric>
#include <optional>

#include "harness.h"
#include "kernels/cpu/kv_cache.h"

namespace vramplan::cuda_test {

using cuda::AttentionPath;
using cuda::DeviceSlices;

struct CacheShape {
  DType dtype;
  std::int64_t kv_heads, head_dim, value_dim, block_tokens;
};

/// Two layers lie in a block, and the second is the one under test, so that strides matter.
class PagedCache {
 public:
  PagedCache(const CacheShape& shape, std::int64_t blocks)
      : shape_(shape),
        value_offset_(round(shape.kv_heads * shape.block_tokens *
                            kv_row_bytes(shape.dtype, shape.head_dim).n)),
        layer_bytes_(round(value_offset_ + shape.kv_heads * shape.block_tokens *
                                               kv_row_bytes(shape.dtype, shape.value_dim).n)),
        blocks_(blocks),
        memory_(static_cast<std::size_t>(2 * layer_bytes_ * blocks)),
        host_(static_cast<std::size_t>(2 * layer_bytes_ * blocks), 0xFF) {}

  KvLayerView view() const {
    KvLayerView v;
    v.base = static_cast<std::byte*>(memory_.data()) + layer_bytes_;
    v.dtype = shape_.dtype;
    v.block_count = blocks_;
    v.block_tokens = shape_.block_tokens;
    v.kv_heads = shape_.kv_heads;
    v.head_dim = shape_.head_dim;
    v.value_dim = shape_.value_dim;
    v.block_stride = 2 * layer_bytes_;
    v.value_offset = value_offset_;
    return v;
  }

  /// The same over the host's bytes, to write before send().
  KvLayerView host_view() {
    KvLayerView v = view();
    v.base = reinterpret_cast<std::byte*>(host_.data()) + layer_bytes_;
    return v;
  }

  /// Element d of K or V of a token in a slot, as written here or by a kernel (after fetch()).
  double element(std::int64_t slot, std::int64_t head, std::int64_t d, bool value) const {
    const std::byte* row = reinterpret_cast<const std::byte*>(&host_[offset(slot, head, value)]);
    return cpu::kv_element(shape_.dtype, row, value ? shape_.value_dim : shape_.head_dim, d);
  }
  /// A row as the CPU backend encodes it.
  void set_row(std::int64_t slot, std::int64_t head, bool value, const std::vector<float>& x) {
    auto* row = reinterpret_cast<std::byte*>(&host_[offset(slot, head, value)]);
    cpu::store_kv_row(shape_.dtype, x.data(), static_cast<std::int64_t>(x.size()), row);
  }
  void send() { memory_.write(host_.data(), host_.size()); }
  void fetch() { memory_.read(host_.data(), host_.size()); }
  const std::vector<std::uint8_t>& bytes() const { return host_; }
  const CacheShape& shape() const { return shape_; }

 private:
  static std::int64_t round(std::int64_t bytes) { return (bytes + 15) / 16 * 16; }
  std::size_t offset(std::int64_t slot, std::int64_t head, bool value) const {
    const std::int64_t block = slot / shape_.block_tokens, token = slot % shape_.block_tokens;
    const std::int64_t dim = value ? shape_.value_dim : shape_.head_dim;
    return static_cast<std::size_t>(
        layer_bytes_ + block * 2 * layer_bytes_ + (value ? value_offset_ : 0) +
        (head * shape_.block_tokens + token) * kv_row_bytes(shape_.dtype, dim).n);
  }

  CacheShape shape_;
  std::int64_t value_offset_, layer_bytes_, blocks_;
  Memory memory_;
  std::vector<std::uint8_t> host_;
};

struct SliceShape {
  std::int64_t queries, length;
};

/// Slices over one cache, with their queries and the expected output.
struct AttentionCase {
  CacheShape cache_shape;
  std::vector<SliceShape> shapes;
  AttentionParams params;
  DType dtype = DType::kF32;
  std::uint32_t seed = 1;
};

class AttentionProblem {
 public:
  explicit AttentionProblem(const AttentionCase& c)
      : case_(c),
        rows_(query_rows(c)),
        blocks_per_row_(blocks_per_row(c)),
        cache(c.cache_shape, static_cast<std::int64_t>(c.shapes.size()) * blocks_per_row_ + 3),
        q(c.dtype, rows_, c.params.heads * c.cache_shape.head_dim,
          normal(rows_ * c.params.heads * c.cache_shape.head_dim, c.seed)),
        sink_q(c.dtype, rows_, c.params.heads * c.cache_shape.head_dim,
               normal(rows_ * c.params.heads * c.cache_shape.head_dim, c.seed + 1000)) {
    fill();
  }

  /// With the queries of sinks, where there are any.
  AttentionParams params() const {
    AttentionParams p = case_.params;
    if (p.sink_tokens > 0) p.sink_q = sink_q.view();
    return p;
  }

  DeviceSlices slices(AttentionPath path = AttentionPath::kSimt) const {
    DeviceSlices s;
    s.count = static_cast<std::int64_t>(case_.shapes.size());
    s.query_begin = begin_->data();
    s.query_count = count_->data();
    s.kv_length = length_->data();
    s.block_tables = tables_->data();
    s.blocks_per_row = blocks_per_row_;
    s.most_kv = blocks_per_row_ * case_.cache_shape.block_tokens;
    for (const SliceShape& shape : case_.shapes)
      s.most_queries = std::max(s.most_queries, shape.queries);
    s.path = path;
    return s;
  }

  /// softmax over the visible tokens, in double; rows of slices without cached tokens are 0.
  Values expected() const {
    const CacheShape& shape = case_.cache_shape;
    const Values queries = q.values(), of_sinks = sink_q.values();
    Values out(static_cast<std::size_t>(rows_ * case_.params.heads * shape.value_dim), 0.0);
    std::int64_t row = 0;
    for (std::size_t s = 0; s < case_.shapes.size(); ++s) {
      for (std::int64_t j = 0; j < case_.shapes[s].queries; ++j, ++row) {
        const std::int64_t position = case_.shapes[s].length - case_.shapes[s].queries + j;
        for (std::int64_t h = 0; h < case_.params.heads; ++h) {
          one(queries, of_sinks, s, row, position, h, out);
        }
      }
    }
    return out;
  }
  std::int64_t rows() const { return rows_; }

  /// Attention of all queries and heads to each block of [slices, blocks_per_row].
  std::vector<double> expected_mass() const {
    std::vector<double> mass(host_tables_.size(), 0.0);
    mass_ = &mass;
    expected();
    mass_ = nullptr;
    return mass;
  }

 private:
  static std::int64_t query_rows(const AttentionCase& c) {
    std::int64_t rows = 0;
    for (const SliceShape& s : c.shapes) rows += s.queries;
    return rows;
  }
  static std::int64_t blocks_per_row(const AttentionCase& c) {
    std::int64_t most = 1;
    for (const SliceShape& s : c.shapes) most = std::max(most, s.length);
    return (most + c.cache_shape.block_tokens - 1) / c.cache_shape.block_tokens + 1;
  }

  std::int64_t slot(std::size_t slice, std::int64_t token) const {
    const std::int64_t tokens = case_.cache_shape.block_tokens;
    const auto at = slice * static_cast<std::size_t>(blocks_per_row_) +
                    static_cast<std::size_t>(token / tokens);
    return host_tables_[at] * tokens + token % tokens;
  }

  void fill() {
    std::vector<std::int32_t> begin, count, length;
    std::vector<std::int32_t> free(case_.shapes.size() * static_cast<std::size_t>(blocks_per_row_) +
                                   3);
    std::iota(free.begin(), free.end(), 0);
    std::mt19937 engine(case_.seed);
    std::shuffle(free.begin(), free.end(), engine);
    std::int32_t row = 0;
    for (const SliceShape& s : case_.shapes) {
      begin.push_back(row);
      count.push_back(static_cast<std::int32_t>(s.queries));
      length.push_back(static_cast<std::int32_t>(s.length));
      row += static_cast<std::int32_t>(s.queries);
      for (std::int64_t b = 0; b < blocks_per_row_; ++b) {
        const bool used = b * case_.cache_shape.block_tokens < s.length;
        host_tables_.push_back(used ? free.back() : -1000000);  // never to be followed
        if (used) free.pop_back();
      }
    }
    std::normal_distribution<float> normal_value(0.0F, 1.0F);
    const CacheShape& shape = case_.cache_shape;
    for (std::size_t s = 0; s < case_.shapes.size(); ++s) {
      for (std::int64_t t = 0; t < case_.shapes[s].length; ++t) {
        for (std::int64_t h = 0; h < shape.kv_heads; ++h) {
          for (const bool value : {false, true}) {
            std::vector<float> elements(
                static_cast<std::size_t>(value ? shape.value_dim : shape.head_dim));
            for (float& x : elements) x = normal_value(engine);
            cache.set_row(slot(s, t), h, value, elements);
          }
        }
      }
    }
    cache.send();
    begin_.emplace(begin);
    count_.emplace(count);
    length_.emplace(length);
    tables_.emplace(host_tables_);
  }

  void one(const Values& queries, const Values& of_sinks, std::size_t s, std::int64_t row,
           std::int64_t position, std::int64_t h, Values& out) const {
    const CacheShape& shape = case_.cache_shape;
    const AttentionParams& p = case_.params;
    const std::int64_t kv_head = h / (p.heads / shape.kv_heads);
    const std::int64_t first =
        p.window_tokens > 0 ? std::max<std::int64_t>(0, position - p.window_tokens + 1) : 0;
    std::vector<double> weight;
    std::vector<std::int64_t> tokens;
    double highest = -1e300, sum = 0;
    for (std::int64_t t = 0; t <= position; ++t) {
      if (t >= p.sink_tokens && t < first) continue;
      tokens.push_back(t);
      const Values& from = t < p.sink_tokens ? of_sinks : queries;
      double dot = 0;
      for (std::int64_t d = 0; d < shape.head_dim; ++d) {
        dot += at(from, (row * p.heads + h) * shape.head_dim + d) *
               cache.element(slot(s, t), kv_head, d, false);
      }
      double score = dot * p.scale;
      if (p.softcap > 0) score = p.softcap * std::tanh(score / p.softcap);
      weight.push_back(score);
      highest = std::max(highest, score);
    }
    for (double& w : weight) sum += w = std::exp(w - highest);
    for (std::size_t i = 0; mass_ != nullptr && i < tokens.size(); ++i) {
      const std::int64_t block = tokens[i] / shape.block_tokens;
      (*mass_)[s * static_cast<std::size_t>(blocks_per_row_) + static_cast<std::size_t>(block)] +=
          weight[i] / sum;
    }
    for (std::int64_t d = 0; d < shape.value_dim; ++d) {
      double value = 0;
      for (std::size_t i = 0; i < weight.size(); ++i) {
        value += weight[i] / sum * cache.element(slot(s, tokens[i]), kv_head, d, true);
      }
      out[static_cast<std::size_t>((row * p.heads + h) * shape.value_dim + d)] = value;
    }
  }

  AttentionCase case_;
  std::int64_t rows_, blocks_per_row_;
  std::vector<std::int32_t> host_tables_;
  std::optional<Array<std::int32_t>> begin_, count_, length_, tables_;
  mutable std::vector<double>* mass_ = nullptr;  // where expected() adds attention up

 public:
  PagedCache cache;
  Tensor q, sink_q;
};

inline AttentionParams params_of(std::int64_t heads, float scale = 0.125F, float cap = 0,
                                 std::int64_t window = 0) {
  AttentionParams p;
  p.heads = heads;
  p.scale = scale;
  p.softcap = cap;
  p.window_tokens = window;
  return p;
}

inline AttentionParams sinks_of(std::int64_t heads, std::int64_t sinks, std::int64_t window) {
  AttentionParams p = params_of(heads, 0.125F, 0, window);
  p.sink_tokens = sinks;
  return p;
}

inline std::string describe(const AttentionCase& c) {
  return name(c.cache_shape.dtype) + " cache, " + name(c.dtype) + ", heads " +
         std::to_string(c.params.heads) + "/" + std::to_string(c.cache_shape.kv_heads) + ", dims " +
         std::to_string(c.cache_shape.head_dim) + "/" + std::to_string(c.cache_shape.value_dim) +
         ", window " + std::to_string(c.params.window_tokens) + ", sinks " +
         std::to_string(c.params.sink_tokens);
}

/// Formats whose rows are codes under a scale; heads of multiples of 32.
inline constexpr DType kCodedCaches[] = {DType::kI8, DType::kQ8_0, DType::kQ4_0};
inline constexpr DType kEveryCache[] = {DType::kF32, DType::kF16,  DType::kBF16, DType::kF8E4M3,
                                        DType::kI8,  DType::kQ8_0, DType::kQ4_0};
inline constexpr DType kCaches[] = {DType::kF32, DType::kF16, DType::kBF16, DType::kF8E4M3};

}  // namespace vramplan::cuda_test
