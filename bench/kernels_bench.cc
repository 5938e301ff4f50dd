// Speed of the CPU kernels beside what this machine can do: GB/s of matrix-vector products against
// a plain streaming read, GFLOP/s of matrix products and of attention.
//
//   kernels_bench --benchmark_filter=gemv        (VRAMPLAN_BENCH_THREADS=n sets the threads)
#include <benchmark/benchmark.h>
#include <sys/mman.h>

#include <algorithm>
#include <cstdlib>
#include <cstring>
#include <new>
#include <numeric>
#include <string>
#include <thread>
#include <vector>

#include "kernels/cpu/cpu_ops.h"
#include "kernels/cpu/half.h"
#include "kernels/cpu/packed_weight.h"
#include "kernels/cpu/thread_pool.h"

namespace vramplan {
namespace {

int thread_count() {
  const char* text = std::getenv("VRAMPLAN_BENCH_THREADS");
  const int n = text == nullptr ? 0 : std::atoi(text);
  return n > 0 ? n : static_cast<int>(std::thread::hardware_concurrency());
}

// Larger than a third-level cache, so that weights come from memory as they do in decode.
constexpr std::int64_t kStreamBytes = 96LL << 20;

/// Weights of a model: several matrices of one shape, used in turn.
struct Weights {
  std::vector<std::vector<std::uint8_t>> bytes;
  std::vector<WeightView> views;

  Weights(Ops& ops, DType dtype, std::int64_t rows, std::int64_t columns, std::int64_t total) {
    const std::int64_t size = bytes_of(dtype, rows, columns).n;
    for (std::int64_t i = 0; i < std::max<std::int64_t>(1, total / size); ++i) {
      // Bytes of 0x2c are small positive numbers in every format, scales included.
      bytes.emplace_back(static_cast<std::size_t>(size), std::uint8_t{0x2c});
      WeightView view;
      view.tensor = {bytes.back().data(), dtype, rows, columns};
      ops.pack(view);
      views.push_back(view);
    }
  }
};

TensorView f32(std::vector<float>& data, std::int64_t rows, std::int64_t columns) {
  return {data.data(), DType::kF32, rows, columns};
}

void stream_read(benchmark::State& state) {
  cpu::ThreadPool pool(thread_count());
  std::vector<std::uint64_t> data(static_cast<std::size_t>(kStreamBytes / 8), 1);
  constexpr std::int64_t kPart = 16384;  // 128 KiB
  for (auto _ : state) {
    pool.parallel_for(kStreamBytes / 8 / kPart, 1, [&](std::int64_t first, std::int64_t last, int) {
      std::uint64_t sum[8] = {};
      for (std::int64_t i = first * kPart; i < last * kPart; i += 8) {
        for (std::int64_t k = 0; k < 8; ++k) {
          sum[k] += data[static_cast<std::size_t>(i + k)];
        }
      }
      benchmark::DoNotOptimize(std::accumulate(sum, sum + 8, std::uint64_t{0}));
    });
  }
  state.SetBytesProcessed(static_cast<std::int64_t>(state.iterations()) * kStreamBytes);
}

void linear(benchmark::State& state, DType dtype, std::int64_t tokens, std::int64_t rows,
            std::int64_t columns, std::int64_t total) {
  const auto ops = make_cpu_ops(thread_count());
  Weights weights(*ops, dtype, rows, columns, total);
  std::vector<float> x(static_cast<std::size_t>(tokens * columns), 0.5F);
  std::vector<float> y(static_cast<std::size_t>(tokens * rows));
  const Bytes scratch = ops->linear_workspace(tokens, columns, dtype);
  std::vector<float> workspace(static_cast<std::size_t>(scratch.n / 4 + 1));
  const auto count = static_cast<std::int64_t>(weights.views.size());
  for (auto _ : state) {
    for (const WeightView& w : weights.views) {
      ops->linear(f32(y, tokens, rows), f32(x, tokens, columns), w, {},
                  f32(workspace, 1, static_cast<std::int64_t>(workspace.size())));
    }
    benchmark::ClobberMemory();
  }
  const std::int64_t runs = static_cast<std::int64_t>(state.iterations()) * count;
  if (tokens == 1) {
    state.SetBytesProcessed(runs * bytes_of(dtype, rows, columns).n);
  } else {
    state.counters["FLOP"] = benchmark::Counter(
        2.0 * static_cast<double>(tokens * rows * columns) * static_cast<double>(runs),
        benchmark::Counter::kIsRate);
  }
}

/// A matrix that lies by columns made f32: four rows at a time, or 128 rows by 128 columns.
void read_awq(benchmark::State& state, std::int64_t rows, std::int64_t columns, bool panels) {
  cpu::ThreadPool pool(thread_count());
  const DType dtype = DType::kAwqI4;
  std::vector<std::uint8_t> bytes(static_cast<std::size_t>(bytes_of(dtype, rows, columns).n), 0x2c);
  const TensorView weight{bytes.data(), dtype, rows, columns};
  const std::int64_t step = panels ? cpu::kMostPanelRows : 4;
  for (auto _ : state) {
    pool.parallel_for(rows / step, 1, [&](std::int64_t first, std::int64_t last, int) {
      std::vector<float> out(static_cast<std::size_t>(panels ? 128 * 128 : 4 * columns));
      for (std::int64_t i = first; i < last; ++i) {
        if (!panels) {
          cpu::dequantise_packed(weight, 4 * i, 4, out.data());
          continue;
        }
        for (std::int64_t c = 0; c < columns; c += 128) {
          cpu::dequantise_panels(weight, {step * i, step, c, 128}, out.data());
        }
      }
      benchmark::DoNotOptimize(out.data());
    });
  }
  state.SetBytesProcessed(static_cast<std::int64_t>(state.iterations()) *
                          static_cast<std::int64_t>(bytes.size()));
}

void attention(benchmark::State& state, std::int64_t queries, std::int64_t length,
               std::int64_t kv_heads, std::int64_t group, std::int64_t head_dim,
               DType dtype = DType::kF16) {
  const auto ops = make_cpu_ops(thread_count());
  KvLayerView kv;
  kv.block_tokens = 16;
  kv.block_count = length / 16 + 1;
  kv.kv_heads = kv_heads;
  kv.head_dim = kv.value_dim = head_dim;
  kv.dtype = dtype;
  kv.value_offset = kv_heads * 16 * kv_row_bytes(dtype, head_dim).n;
  kv.block_stride = 2 * kv.value_offset;
  std::vector<std::uint16_t> pool(static_cast<std::size_t>(kv.block_stride * kv.block_count / 2),
                                  cpu::f32_to_f16(0.25F));
  kv.base = reinterpret_cast<std::byte*>(pool.data());
  std::vector<std::int32_t> table(static_cast<std::size_t>(kv.block_count));
  std::iota(table.begin(), table.end(), 0);
  const SequenceSlice slices[] = {{0, queries, length, table.data()}};
  AttentionParams params;
  params.heads = kv_heads * group;
  params.scale = 0.125F;
  std::vector<float> q(static_cast<std::size_t>(queries * params.heads * head_dim), 0.1F), out = q;
  const Bytes scratch = ops->attention_workspace(slices, kv, params);
  std::vector<float> workspace(static_cast<std::size_t>(scratch.n / 4 + 1));
  for (auto _ : state) {
    ops->attention(f32(out, queries, params.heads * head_dim),
                   f32(q, queries, params.heads * head_dim), kv, slices, params,
                   f32(workspace, 1, static_cast<std::int64_t>(workspace.size())));
  }
  const double pairs = static_cast<double>(queries) * static_cast<double>(length) -
                       static_cast<double>(queries) * static_cast<double>(queries - 1) / 2.0;
  const auto runs = static_cast<double>(state.iterations());
  if (queries == 1) {
    state.SetBytesProcessed(static_cast<std::int64_t>(runs) * length * kv_heads * 2 *
                            kv_row_bytes(dtype, head_dim).n);
  } else {
    state.counters["FLOP"] =
        benchmark::Counter(4.0 * pairs * static_cast<double>(params.heads * head_dim) * runs,
                           benchmark::Counter::kIsRate);
  }
}

/// Memory in large pages where the system grants them, as the pool of a run has it.
class LargePages {
 public:
  explicit LargePages(std::int64_t size)
      : size_(static_cast<std::size_t>(size)),
        data_(mmap(nullptr, size_, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0)) {
    if (data_ == MAP_FAILED) throw std::bad_alloc();
    madvise(data_, size_, MADV_HUGEPAGE);
  }
  ~LargePages() { munmap(data_, size_); }
  LargePages(const LargePages&) = delete;
  LargePages& operator=(const LargePages&) = delete;
  std::byte* data() const { return static_cast<std::byte*>(data_); }
  std::size_t size() const { return size_; }

 private:
  std::size_t size_;
  void* data_;
};

/// The attention of one decode step: every layer of a pool whose blocks hold all layers, 16 tokens
/// a block; a sequence's blocks lie in order, as a prefill takes them.
void attention_step(benchmark::State& state, std::int64_t sequences, std::int64_t length,
                    DType dtype) {
  constexpr std::int64_t kLayers = 30, kHeads = 3, kGroup = 3, kWidth = 64;
  const auto ops = make_cpu_ops(thread_count());
  const std::int64_t blocks = length / 16;
  KvLayerView kv;
  kv.block_tokens = 16;
  kv.block_count = blocks * sequences;
  kv.kv_heads = kHeads;
  kv.head_dim = kv.value_dim = kWidth;
  kv.dtype = dtype;
  kv.value_offset = kHeads * 16 * kv_row_bytes(dtype, kWidth).n;
  const std::int64_t layer_bytes = 2 * kv.value_offset;
  kv.block_stride = kLayers * layer_bytes;
  const LargePages pool(kv.block_stride * kv.block_count);
  std::fill_n(reinterpret_cast<std::uint16_t*>(pool.data()), pool.size() / 2,
              cpu::f32_to_f16(0.25F));
  std::vector<std::int32_t> table(static_cast<std::size_t>(kv.block_count));
  std::vector<SequenceSlice> slices;
  for (std::int64_t s = 0; s < sequences; ++s) {
    for (std::int64_t b = 0; b < blocks; ++b) {
      table[static_cast<std::size_t>(s * blocks + b)] = static_cast<std::int32_t>(s * blocks + b);
    }
    slices.push_back({s, 1, length, table.data() + s * blocks});
  }
  AttentionParams params;
  params.heads = kHeads * kGroup;
  params.scale = 0.125F;
  std::vector<float> q(static_cast<std::size_t>(sequences * params.heads * kWidth), 0.1F), out = q;
  const Bytes scratch = ops->attention_workspace(slices, kv, params);
  std::vector<float> workspace(static_cast<std::size_t>(scratch.n / 4 + 1));
  for (auto _ : state) {
    for (std::int64_t layer = 0; layer < kLayers; ++layer) {
      kv.base = pool.data() + layer * layer_bytes;
      ops->attention(f32(out, sequences, params.heads * kWidth),
                     f32(q, sequences, params.heads * kWidth), kv, slices, params,
                     f32(workspace, 1, static_cast<std::int64_t>(workspace.size())));
    }
  }
  state.SetBytesProcessed(static_cast<std::int64_t>(state.iterations()) * kv.block_count *
                          kv.block_stride);
}

void register_all() {
  const auto add = [](const std::string& name, auto function) {
    benchmark::RegisterBenchmark(name.c_str(), function)
        ->UseRealTime()
        ->Unit(benchmark::kMicrosecond);
  };
  add("stream_read/96MiB", stream_read);
  for (const DType d : {DType::kF32, DType::kF16, DType::kBF16, DType::kQ8_0, DType::kQ4_0,
                        DType::kQ4_1, DType::kQ5_0, DType::kQ5_1, DType::kQ2_K, DType::kQ3_K,
                        DType::kQ4_K, DType::kQ5_K, DType::kQ6_K}) {
    const std::string name = info(d).name;
    add("gemv/" + name + "/1536x1536",
        [d](benchmark::State& s) { linear(s, d, 1, 1536, 1536, kStreamBytes); });
    add("gemm/" + name + "/512x1536x1536",
        [d](benchmark::State& s) { linear(s, d, 512, 1536, 1536, 0); });
  }
  // SmolLM2-135M: q4_1 layers and q8_0 head.
  for (const auto& [rows, columns] : {std::pair{192, 576}, {576, 576}, {1536, 576}, {576, 1536}}) {
    const std::string shape = std::to_string(rows) + "x" + std::to_string(columns);
    const std::int64_t r = rows, c = columns;
    add("gemv/q4_1/" + shape,
        [r, c](benchmark::State& s) { linear(s, DType::kQ4_1, 1, r, c, kStreamBytes); });
    add("gemm/q4_1/512x" + shape,
        [r, c](benchmark::State& s) { linear(s, DType::kQ4_1, 512, r, c, 0); });
  }
  for (const DType d : {DType::kQ4_1, DType::kQ8_0, DType::kQ4_K, DType::kQ6_K, DType::kF16}) {
    // One matrix of less than a second-level cache: what the instructions alone allow.
    add(std::string("gemv_cached/") + info(d).name + "/576x768",
        [d](benchmark::State& s) { linear(s, d, 1, 576, 768, 0); });
  }
  // A step over guesses: a few tokens, weights from memory.
  for (const DType d : {DType::kQ4_1, DType::kF16}) {
    for (const std::int64_t tokens : {2, 3, 4, 5, 6, 7, 8}) {
      add("few/" + std::string(info(d).name) + "/" + std::to_string(tokens) + "x1536x576",
          [d, tokens](benchmark::State& s) { linear(s, d, tokens, 1536, 576, kStreamBytes); });
    }
  }
  // Formats of checkpoints: AWQ lies by columns, compressed-tensors by rows.
  add("read_awq/rows/8192x4096", [](benchmark::State& s) { read_awq(s, 8192, 4096, false); });
  add("read_awq/panels/8192x4096", [](benchmark::State& s) { read_awq(s, 8192, 4096, true); });
  for (const DType d : {DType::kAwqI4, DType::kPackedI4}) {
    for (const std::int64_t tokens : {1, 64}) {
      add(std::string(tokens == 1 ? "gemv/" : "gemm/64x") + info(d).name + "/8192x4096",
          [d, tokens](benchmark::State& s) { linear(s, d, tokens, 8192, 4096, 0); });
    }
  }
  add("gemv/q8_0/49152x576",
      [](benchmark::State& s) { linear(s, DType::kQ8_0, 1, 49152, 576, kStreamBytes); });
  for (const std::int64_t n : {128, 512, 4096, 32768}) {
    add("attention_decode/9x64/" + std::to_string(n),
        [n](benchmark::State& s) { attention(s, 1, n, 3, 3, 64); });
  }
  add("attention_decode/32x128/4096",
      [](benchmark::State& s) { attention(s, 1, 4096, 8, 4, 128); });
  for (const DType d :
       {DType::kBF16, DType::kF32, DType::kF8E4M3, DType::kI8, DType::kQ8_0, DType::kQ4_0}) {
    for (const std::int64_t n : {512, 32768}) {
      add(std::string("attention_decode/") + info(d).name + "/9x64/" + std::to_string(n),
          [n, d](benchmark::State& s) { attention(s, 1, n, 3, 3, 64, d); });
    }
  }
  for (const DType d :
       {DType::kF16, DType::kF32, DType::kF8E4M3, DType::kI8, DType::kQ8_0, DType::kQ4_0}) {
    for (const std::int64_t sequences : {1, 16, 64}) {
      add("attention_step/" + std::string(info(d).name) + "/" + std::to_string(sequences) + "x2048",
          [sequences, d](benchmark::State& s) { attention_step(s, sequences, 2048, d); });
    }
  }
  for (const std::int64_t queries : {2, 5, 9}) {  // as a step over guesses asks
    add("attention_few/" + std::to_string(queries) + "/9x64/2048",
        [queries](benchmark::State& s) { attention(s, queries, 2048, 3, 3, 64); });
  }
  add("attention_prefill/9x64/512", [](benchmark::State& s) { attention(s, 512, 512, 3, 3, 64); });
  add("attention_prefill/32x128/1024",
      [](benchmark::State& s) { attention(s, 1024, 1024, 8, 4, 128); });
}

}  // namespace
}  // namespace vramplan

int main(int argc, char** argv) {
  vramplan::register_all();
  benchmark::Initialize(&argc, argv);
  if (benchmark::ReportUnrecognizedArguments(argc, argv)) return 2;
  benchmark::RunSpecifiedBenchmarks();
  benchmark::Shutdown();
  return 0;
}
