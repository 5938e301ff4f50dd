// A forward pass of SmolLM2-135M's shapes (30 layers, hidden 576, 9 heads on 3 KV heads of 64,
// feed-forward 1536, vocabulary 49152; q4_1 layers, tied q8_0 head) on the CPU kernels alone: what
// an executor over them can reach in prefill and decode. Weights are random, the arithmetic is the
// same.
#include <benchmark/benchmark.h>

#include <cstdlib>
#include <numeric>
#include <random>
#include <thread>
#include <vector>

#include "kernels/cpu/cpu_ops.h"

namespace vramplan {
namespace {

constexpr std::int64_t kLayers = 30, kHidden = 576, kHeads = 9, kKvHeads = 3, kHeadDim = 64;
constexpr std::int64_t kFeedForward = 1536, kVocabulary = 49152, kContext = 1024;

int thread_count() {
  const char* text = std::getenv("VRAMPLAN_BENCH_THREADS");
  const int n = text == nullptr ? 0 : std::atoi(text);
  return n > 0 ? n : static_cast<int>(std::thread::hardware_concurrency());
}

struct Layer {
  WeightView q, k, v, o, gate, up, down;
};

struct Model {
  std::unique_ptr<Ops> ops = make_cpu_ops(thread_count());
  std::vector<std::vector<std::uint8_t>> bytes;
  std::vector<std::vector<float>> floats;
  std::vector<Layer> layers;
  std::vector<KvLayerView> caches;
  std::vector<std::int32_t> block_table;
  std::vector<float> frequency;
  WeightView head;
  TensorView norm, x, n, q, k, v, o, p, g, u, logits, workspace;

  WeightView weight(DType dtype, std::int64_t rows, std::int64_t columns) {
    std::mt19937 engine(static_cast<unsigned>(bytes.size()));
    std::vector<std::uint8_t> data(static_cast<std::size_t>(bytes_of(dtype, rows, columns).n));
    // High bytes of the f16 fields become small numbers: 0x1c.. to 0x1f.. are about 0.004.
    for (std::uint8_t& b : data) b = static_cast<std::uint8_t>(0x1c | (engine() & 3U));
    bytes.push_back(std::move(data));
    WeightView view;
    view.tensor = {bytes.back().data(), dtype, rows, columns};
    ops->pack(view);
    return view;
  }
  TensorView tensor(std::int64_t rows, std::int64_t columns) {
    floats.emplace_back(static_cast<std::size_t>(rows * columns), 0.5F);
    return {floats.back().data(), DType::kF32, rows, columns};
  }
  explicit Model(std::int64_t tokens) {
    for (std::int64_t l = 0; l < kLayers; ++l) {
      const DType d = DType::kQ4_1;
      layers.push_back({weight(d, kHidden, kHidden), weight(d, kKvHeads * kHeadDim, kHidden),
                        weight(d, kKvHeads * kHeadDim, kHidden), weight(d, kHidden, kHidden),
                        weight(d, kFeedForward, kHidden), weight(d, kFeedForward, kHidden),
                        weight(d, kHidden, kFeedForward)});
      KvLayerView kv;
      kv.block_tokens = 16;
      kv.block_count = kContext / 16;
      kv.kv_heads = kKvHeads;
      kv.head_dim = kv.value_dim = kHeadDim;
      kv.value_offset = kKvHeads * 16 * kHeadDim * 2;
      kv.block_stride = kv.value_offset * 2;
      bytes.emplace_back(static_cast<std::size_t>(kv.block_stride * kv.block_count));
      kv.base = reinterpret_cast<std::byte*>(bytes.back().data());
      caches.push_back(kv);
    }
    head = weight(DType::kQ8_0, kVocabulary, kHidden);
    block_table.resize(static_cast<std::size_t>(kContext / 16));
    std::iota(block_table.begin(), block_table.end(), 0);
    for (int i = 0; i < kHeadDim / 2; ++i) frequency.push_back(1.0F / static_cast<float>(1 + i));
    norm = tensor(1, kHidden);
    x = tensor(tokens, kHidden), n = tensor(tokens, kHidden), p = tensor(tokens, kHidden);
    q = tensor(tokens, kHidden), o = tensor(tokens, kHidden);
    k = tensor(tokens, kKvHeads * kHeadDim), v = tensor(tokens, kKvHeads * kHeadDim);
    g = tensor(tokens, kFeedForward), u = tensor(tokens, kFeedForward);
    logits = tensor(1, kVocabulary);
    workspace = tensor(1, 40 * (kFeedForward / 32) * tokens / 4 + 65536);
  }

  void layer(std::size_t l, std::span<const std::int32_t> positions,
             std::span<const std::int64_t> slots, std::span<const SequenceSlice> slices) {
    const Layer& w = layers[l];
    AttentionParams params;
    params.heads = kHeads;
    params.scale = 0.125F;
    const RopeParams rope{kHeadDim, kHeadDim, false, frequency.data(), 1.0F};
    ops->rmsnorm(n, x, norm, 1e-5F, false);
    ops->linear(q, n, w.q, {}, workspace);
    ops->linear(k, n, w.k, {}, workspace);
    ops->linear(v, n, w.v, {}, workspace);
    ops->rope(q, positions, rope);
    ops->rope(k, positions, rope);
    ops->kv_write(caches[l], k, v, slots);
    ops->attention(o, q, caches[l], slices, params, workspace);
    ops->linear(p, o, w.o, {}, workspace);
    ops->add(x, p);
    ops->rmsnorm(n, x, norm, 1e-5F, false);
    ops->linear(g, n, w.gate, {}, workspace);
    ops->linear(u, n, w.up, {}, workspace);
    ops->gated_activation(g, u, GateKind::kSilu);
    ops->linear(p, g, w.down, {}, workspace);
    ops->add(x, p);
  }
};

/// `tokens` tokens after `past` others; the head for the last one.
void forward(benchmark::State& state, std::int64_t tokens, std::int64_t past) {
  Model m(tokens);
  std::vector<std::int32_t> positions, ids;
  std::vector<std::int64_t> slots;
  for (std::int64_t t = 0; t < tokens; ++t) {
    positions.push_back(static_cast<std::int32_t>(past + t));
    slots.push_back(past + t);
    ids.push_back(static_cast<std::int32_t>(t * 97 % kVocabulary));
  }
  const SequenceSlice slices[] = {{0, tokens, past + tokens, m.block_table.data()}};
  TensorView last = m.n;
  last.rows = 1;
  for (auto _ : state) {
    m.ops->embed(m.x, m.head, ids, 1.0F);
    for (std::size_t l = 0; l < m.layers.size(); ++l) m.layer(l, positions, slots, slices);
    m.ops->rmsnorm(m.n, m.x, m.norm, 1e-5F, false);
    m.ops->linear(m.logits, last, m.head, {}, m.workspace);
  }
  state.counters["tokens"] =
      benchmark::Counter(static_cast<double>(tokens) * static_cast<double>(state.iterations()),
                         benchmark::Counter::kIsRate);
}

void prefill_512(benchmark::State& state) { forward(state, 512, 0); }
void decode_at_512(benchmark::State& state) { forward(state, 1, 512); }
void decode_at_8(benchmark::State& state) { forward(state, 1, 8); }
BENCHMARK(prefill_512)->UseRealTime()->Unit(benchmark::kMillisecond);
BENCHMARK(decode_at_512)->UseRealTime()->Unit(benchmark::kMillisecond);
BENCHMARK(decode_at_8)->UseRealTime()->Unit(benchmark::kMillisecond);

}  // namespace
}  // namespace vramplan

BENCHMARK_MAIN();
