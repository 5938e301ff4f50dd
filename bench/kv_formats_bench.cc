// Decode attention over a long cache in every format it can have, as ratios to f16: all formats in
// turn within a round, the median of the rounds, so that a neighbour's burst falls on all of them.
//
//   kv_formats_bench [tokens = 16384] [rounds = 31] [threads] [kv_heads = 3] [head_dim = 64]
//
// A pass reads a query group of three heads a KV head over eight layers, together larger than a
// third-level cache, as the layers of a model come one after the other.
#include <fmt/format.h>
#include <sys/mman.h>

#include <algorithm>
#include <chrono>
#include <cstdlib>
#include <cstring>
#include <memory>
#include <new>
#include <numeric>
#include <random>
#include <string>
#include <thread>
#include <vector>

#include "kernels/cpu/cpu_ops.h"

namespace vramplan {
namespace {

constexpr std::int64_t kLayers = 8, kGroup = 3;

struct Shape {
  std::int64_t tokens = 16384, kv_heads = 3, head_dim = 64;
};

/// Memory in large pages where the system grants them, as the pool of a run has it.
class Memory {
 public:
  explicit Memory(std::int64_t size)
      : size_(static_cast<std::size_t>(size)),
        data_(mmap(nullptr, size_, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0)) {
    if (data_ == MAP_FAILED) throw std::bad_alloc();
    madvise(data_, size_, MADV_HUGEPAGE);
  }
  ~Memory() { munmap(data_, size_); }
  Memory(const Memory&) = delete;
  Memory& operator=(const Memory&) = delete;
  std::byte* data() const { return static_cast<std::byte*>(data_); }

 private:
  std::size_t size_;
  void* data_;
};

/// One cache of every layer, blocks in the order in which a prefill takes them.
struct Cache {
  Cache(const Shape& s, DType dtype, std::int64_t block_tokens, std::int64_t tokens)
      : rows(tokens) {
    kv.dtype = dtype;
    kv.block_tokens = block_tokens;
    kv.block_count = ceil_div(tokens, block_tokens) + 1;
    kv.kv_heads = s.kv_heads;
    kv.head_dim = kv.value_dim = s.head_dim;
    kv.value_offset = s.kv_heads * block_tokens * kv_row_bytes(dtype, s.head_dim).n;
    layer_bytes = 2 * kv.value_offset;
    kv.block_stride = kLayers * layer_bytes;
    memory = std::make_unique<Memory>(kv.block_stride * kv.block_count);
    table.resize(static_cast<std::size_t>(kv.block_count));
    std::iota(table.begin(), table.end(), 0);
  }
  KvLayerView layer(std::int64_t index) const {
    KvLayerView out = kv;
    out.base = memory->data() + index * layer_bytes;
    return out;
  }
  /// Layer 0's blocks to the other layers.
  void repeat() {
    for (std::int64_t b = 0; b < kv.block_count; ++b) {
      for (std::int64_t l = 1; l < kLayers; ++l) {
        std::byte* const at = memory->data() + b * kv.block_stride;
        std::memcpy(at + l * layer_bytes, at, static_cast<std::size_t>(layer_bytes));
      }
    }
  }
  KvLayerView kv;
  std::int64_t rows, layer_bytes = 0;
  std::unique_ptr<Memory> memory;
  std::vector<std::int32_t> table;
};

TensorView f32(std::vector<float>& data, std::int64_t rows, std::int64_t columns) {
  return {data.data(), DType::kF32, rows, columns};
}

/// One way to keep `shape.tokens` tokens, ready to be read.
class Format {
 public:
  Format(Ops& ops, const Shape& s, std::string text, DType dtype, std::int64_t window,
         std::int64_t stride)
      : name(std::move(text)), ops_(ops), shape_(s) {
    const std::int64_t behind = window > 0 ? s.tokens - window : 0;
    newest_ = std::make_unique<Cache>(s, window > 0 ? DType::kF16 : dtype,
                                      window > 0 ? kResidualBlockTokens : 16, s.tokens - behind);
    if (behind > 0) history_ = std::make_unique<Cache>(s, dtype, 32, behind / stride);
    fill(behind, stride);
    params_.heads = s.kv_heads * kGroup;
    params_.scale = 0.125F;
    std::mt19937 engine(3);
    std::normal_distribution<float> normal;
    q_.resize(static_cast<std::size_t>(params_.heads * s.head_dim));
    for (float& x : q_) x = normal(engine);
    out_ = q_;
    recent_slice_ = {0, 1, newest_->rows, newest_->table.data()};
    if (history_) history_slice_ = {0, 0, history_->rows, history_->table.data()};
    const KvLayerView view = history_ ? history_->layer(0) : KvLayerView{};
    if (history_) bind(view);
    const Bytes scratch =
        ops.attention_workspace(std::span(&recent_slice_, 1), newest_->layer(0), params_);
    workspace_.resize(static_cast<std::size_t>(scratch.n / 4 + 1));
  }

  double seconds() {
    const auto begin = std::chrono::steady_clock::now();
    for (std::int64_t l = 0; l < kLayers; ++l) {
      const KvLayerView old = history_ ? history_->layer(l) : KvLayerView{};
      if (history_) bind(old);
      const auto columns = params_.heads * shape_.head_dim;
      ops_.attention(f32(out_, 1, columns), f32(q_, 1, columns), newest_->layer(l),
                     std::span(&recent_slice_, 1), params_,
                     f32(workspace_, 1, static_cast<std::int64_t>(workspace_.size())));
    }
    return std::chrono::duration<double>(std::chrono::steady_clock::now() - begin).count();
  }

  /// Of all layers.
  std::int64_t bytes() const {
    const auto of = [](const Cache& c) { return c.rows * c.layer_bytes / c.kv.block_tokens; };
    return kLayers * (of(*newest_) + (history_ ? of(*history_) : 0));
  }

  std::string name;

 private:
  void bind(const KvLayerView& view) {
    params_.history = &view;
    params_.history_slices = std::span(&history_slice_, 1);
  }

  /// Random keys and values; the history takes them by blocks through the window's first block.
  void fill(std::int64_t behind, std::int64_t stride) {
    std::mt19937 engine(7);
    std::normal_distribution<float> normal;
    const std::int64_t columns = shape_.kv_heads * shape_.head_dim;
    std::vector<float> k(static_cast<std::size_t>(32 * columns)), v = k;
    const auto write = [&](std::int64_t first) {
      for (float& x : k) x = normal(engine);
      for (float& x : v) x = normal(engine);
      std::vector<std::int64_t> slots(32);
      std::iota(slots.begin(), slots.end(), first);
      ops_.kv_write(newest_->layer(0), f32(k, 32, columns), f32(v, 32, columns), slots);
    };
    for (std::int64_t token = 0; token < behind; token += 32) {
      write(0);
      const KvPack pack{0, token / stride};
      ops_.kv_pack(history_->layer(0), newest_->layer(0), std::span(&pack, 1), stride);
    }
    for (std::int64_t token = 0; token < newest_->rows; token += 32) write(token);
    newest_->repeat();
    if (history_) history_->repeat();
  }

  Ops& ops_;
  Shape shape_;
  std::unique_ptr<Cache> newest_, history_;
  AttentionParams params_;
  SequenceSlice recent_slice_, history_slice_;
  std::vector<float> q_, out_, workspace_;
};

double median(std::vector<double> values) {
  std::nth_element(values.begin(), values.begin() + static_cast<std::ptrdiff_t>(values.size() / 2),
                   values.end());
  return values[values.size() / 2];
}

void run(const Shape& shape, int rounds, int threads) {
  const auto ops = make_cpu_ops(threads);
  std::vector<std::unique_ptr<Format>> formats;
  const auto add = [&](std::string name, DType dtype, std::int64_t window = 0,
                       std::int64_t stride = 1) {
    formats.push_back(
        std::make_unique<Format>(*ops, shape, std::move(name), dtype, window, stride));
  };
  add("f16", DType::kF16);
  for (const DType d : {DType::kBF16, DType::kF8E4M3, DType::kI8, DType::kQ8_0, DType::kQ4_0})
    add(info(d).name, d);
  add("kivi4", DType::kKivi4, 128);
  add("kivi2", DType::kKivi2, 128);
  add("strided fp8", DType::kF8E4M3, 512, 4);
  for (const auto& format : formats) format->seconds();
  std::vector<std::vector<double>> times(formats.size()), ratios(formats.size());
  for (int round = 0; round < rounds; ++round) {
    for (std::size_t i = 0; i < formats.size(); ++i) {
      times[i].push_back(formats[i]->seconds());
      ratios[i].push_back(times[i].back() / times[0].back());
    }
  }
  fmt::print("{} tokens, {} KV heads of {}, {} layers a pass, {} threads, median of {} rounds\n\n",
             shape.tokens, shape.kv_heads, shape.head_dim, kLayers, threads, rounds);
  fmt::print("| KV cache | of f16's bytes | time a layer | of f16's time | GB/s |\n");
  fmt::print("|---|---|---|---|---|\n");
  const auto full = static_cast<double>(formats[0]->bytes());
  for (std::size_t i = 0; i < formats.size(); ++i) {
    const auto bytes = static_cast<double>(formats[i]->bytes());
    const double time = median(times[i]);
    fmt::print("| {} | {:.1f} % | {:.3f} ms | {:.2f} | {:.1f} |\n", formats[i]->name,
               100 * bytes / full, 1e3 * time / kLayers, median(ratios[i]), bytes / time / 1e9);
  }
}

}  // namespace
}  // namespace vramplan

int main(int argc, char** argv) {
  const auto number = [&](int i, long fallback) {
    return argc > i ? std::strtol(argv[i], nullptr, 10) : fallback;
  };
  const auto cores = static_cast<long>(std::thread::hardware_concurrency());
  const vramplan::Shape shape{number(1, 16384), number(4, 3), number(5, 64)};
  const long rounds = number(2, 31), threads = number(3, cores);
  const bool valid = shape.tokens >= 1024 && shape.tokens % 512 == 0 && rounds > 0 && threads > 0 &&
                     shape.kv_heads > 0 && shape.head_dim > 0 && shape.head_dim % 32 == 0;
  if (!valid) {
    fmt::print(stderr,
               "usage: kv_formats_bench [tokens, a multiple of 512] [rounds] [threads] "
               "[kv_heads] [head_dim, a multiple of 32]\n");
    return 2;
  }
  vramplan::run(shape, static_cast<int>(rounds), static_cast<int>(threads));
  return 0;
}
