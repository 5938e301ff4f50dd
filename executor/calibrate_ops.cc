#include "executor/calibrate_ops.h"

#include <algorithm>
#include <cstring>
#include <map>
#include <memory>
#include <utility>

#include "executor/calibrate_history.h"
#include "executor/calibrate_linear.h"
#include "executor/calibrate_memory.h"
#include "executor/rng.h"
#include "kernels/workspace.h"
#include "planner/latency.h"

namespace vramplan {
namespace {

static_assert(kLinearDecodeTokens == cpu::kGemvTokens, "the planner and the kernels differ");
constexpr std::int64_t kBlockTokens = 16;
constexpr std::int64_t kMostTokens = 512, kMostColumns = 4096;
constexpr double kAgree = 0.03;  // two rounds

/// A block of one layer: K and V of kBlockTokens tokens.
std::int64_t layer_block_bytes(const AttentionShape& shape) {
  const Bytes row =
      kv_row_bytes(shape.kv, shape.head_dim) + kv_row_bytes(shape.kv, shape.value_dim);
  return kBlockTokens * shape.kv_heads * row.n;
}

class OpBench {
 public:
  OpBench(Ops& ops, const Clock& clock, const CalibrationEffort& effort,
          const RowSampler& sample_rows, const CalibrationProgress& progress)
      : ops_(ops),
        sample_rows_(sample_rows),
        clock_(clock),
        effort_(effort),
        progress_(progress),
        pool_(effort.pool),
        in_(kMostTokens * kMostColumns * 4),
        out_(kMostTokens * kMostColumns * 4),
        extra_(kMostTokens * kMostColumns * 4) {
    for (Buffer* buffer : {&in_, &out_, &extra_}) {
      auto* values = reinterpret_cast<float*>(buffer->data());
      std::fill(values, values + buffer->size() / 4, 0.5F);
    }
  }

  std::vector<CalibratedOp> run() {
    const std::vector<DType> caches = {DType::kF16, DType::kBF16, DType::kF32, DType::kF8E4M3,
                                       DType::kI8,  DType::kQ8_0, DType::kQ4_0};
    const std::span<const DType> weights = calibrated_weights();
    steps_ = static_cast<double>(weights.size() + 2 * caches.size() + 4) * effort_.rounds;
    // Neighbours slow a shared machine for seconds: points of one operation must not all fall
    // there.
    for (int round = 0; round < effort_.rounds; ++round) {
      fill_harmless(pool_);
      for (const DType dtype : weights) {
        step(std::string("linear ") + info(dtype).name);
        linear(dtype);
        const bool rounds_inputs = is_block_quantised(dtype);
        if (rounds_inputs && effort_.unrounded != nullptr) linear(dtype, effort_.unrounded);
      }
      for (const DType dtype : caches) {
        step(std::string("attention, decode ") + info(dtype).name);
        attention_decode(dtype);
        kv_write(dtype);
        step(std::string("attention, prefill ") + info(dtype).name);
        attention_prefill(dtype);
        attention_mass(dtype);
      }
      for (const DType dtype : {DType::kKivi2, DType::kKivi4}) {
        step(std::string("attention, behind a window ") + info(dtype).name);
        over_history(dtype);
      }
      step("norm, rope, activation, add");
      elementwise();
      step("embed, sample");
      embed();
      sample();
    }
    return fit();
  }

 private:
  void linear(DType dtype, Ops* unrounded = nullptr);
  void attention_decode(DType dtype);
  void attention_prefill(DType dtype);
  void attention_mass(DType dtype);
  void attention(const AttentionShape& shape, std::int64_t queries, std::int64_t kv_length,
                 std::int64_t sequences);
  void over_history(DType dtype);
  void kv_write(DType dtype);
  void elementwise();
  void embed();
  void sample();
  std::vector<CalibratedOp> fit() const;

  TensorView view(const Buffer& buffer, std::int64_t rows, std::int64_t columns) const {
    return {buffer.data(), DType::kF32, rows, columns};
  }
  TensorView scratch(Bytes bytes) {
    if (bytes.n == 0) return {};
    if (scratch_ == nullptr || scratch_->size() < bytes.n) {
      scratch_ = std::make_unique<Buffer>(bytes.n);
    }
    return {scratch_->data(), DType::kI8, 1, bytes.n};
  }
  KvLayerView cache(const AttentionShape& shape, std::int64_t layers) const;

  void step(const std::string& stage) {
    if (progress_) progress_(stage, done_++ / steps_);
  }
  template <class Call>
  void measure(const OpWork& work, const char* dtype, Call&& call) {
    // A busy machine: what is left gets one repetition a point.
    if (clock_.now().v - begin_ > effort_.total_seconds) effort_.most_repetitions = 1;
    std::vector<double>& rounds = points_[{name_of(work.op), dtype}][{work.bytes, work.flops}];
    if (is_settled(rounds)) return;
    // Calls go on through the pool where those of the point before ended: what they read was
    // evicted.
    const std::int64_t first = calls_;
    const double seconds = time_call(clock_, effort_, [&](std::int64_t i) {
      call(first + i);
      ++calls_;
    });
    if (seconds > 0) rounds.push_back(seconds);
  }
  static bool is_settled(const std::vector<double>& rounds) {
    if (rounds.size() < 2) return false;
    const auto [least, most] = std::minmax_element(rounds.begin(), rounds.end());
    return *most < *least * (1 + kAgree);
  }

  Ops& ops_;
  const RowSampler& sample_rows_;
  const Clock& clock_;
  CalibrationEffort effort_;
  double begin_ = clock_.now().v;
  const CalibrationProgress& progress_;
  TierBuffer pool_;
  Buffer in_, out_, extra_;
  std::unique_ptr<Buffer> scratch_;
  double steps_ = 1, done_ = 0;
  std::int64_t calls_ = 0;
  /// Of an operation and a format: by bytes and flops of a call, its seconds in each round.
  using Rounds = std::map<std::pair<double, double>, std::vector<double>>;
  std::map<std::pair<std::string, std::string>, Rounds> points_;
};

void OpBench::linear(DType dtype, Ops* unrounded) {
  const LinearRoom room{pool_.data(), pool_.size(), kMostTokens, kMostColumns, effort_.quick};
  Ops& ops = unrounded != nullptr ? *unrounded : ops_;
  for (const LinearPoint& point : linear_points(dtype, unrounded != nullptr, room)) {
    const std::vector<WeightView> weights = linear_weights(point, room, ops);
    if (weights.empty()) continue;  // the pool is too small for this shape
    for (const std::int64_t tokens : point.tokens) {
      Buffer wide(point.head() ? tokens * point.out * 4 : 4);
      const TensorView out = view(point.head() ? wide : out_, tokens, point.out);
      const TensorView in = view(in_, tokens, point.in);
      const TensorView workspace = scratch(ops.linear_workspace(tokens, point.in, dtype));
      measure(point.work(tokens), info(dtype).name, [&](std::int64_t i) {
        ops.linear(out, in, weights[static_cast<std::size_t>(i) % weights.size()], {}, workspace);
      });
    }
    // The packed one is in another order, which another format may read as anything.
    fill_harmless(pool_.data(), round_up(weights.front().tensor.bytes(), Bytes{8}).n);
  }
}

/// A cache of `layers` layers over the whole pool; blocks lie as the block pool lays them.
KvLayerView OpBench::cache(const AttentionShape& shape, std::int64_t layers) const {
  KvLayerView kv;
  kv.base = pool_.data();
  kv.dtype = shape.kv;
  kv.block_tokens = kBlockTokens;
  kv.kv_heads = shape.kv_heads;
  kv.head_dim = shape.head_dim;
  kv.value_dim = shape.value_dim;
  kv.value_offset = kBlockTokens * shape.kv_heads * kv_row_bytes(shape.kv, shape.head_dim).n;
  kv.block_stride = layers * layer_block_bytes(shape);
  kv.block_count = pool_.size() / kv.block_stride;
  return kv;
}

void OpBench::attention(const AttentionShape& shape, std::int64_t queries, std::int64_t kv_length,
                        std::int64_t sequences) {
  const std::int64_t blocks = ceil_div(kv_length, kBlockTokens);
  const std::int64_t layer_bytes = layer_block_bytes(shape);
  const std::int64_t layers = pool_.size() / (layer_bytes * blocks * sequences);
  if (layers < 1) return;  // the pool is too small for this point
  KvLayerView kv = cache(shape, layers);
  std::vector<std::int32_t> table(static_cast<std::size_t>(blocks * sequences));
  for (std::size_t i = 0; i < table.size(); ++i) table[i] = static_cast<std::int32_t>(i);
  std::vector<SequenceSlice> slices;
  std::vector<std::int64_t> mass(table.size());
  for (std::int64_t s = 0; s < sequences; ++s) {
    slices.push_back({s * queries, queries, kv_length, table.data() + s * blocks});
    if (shape.mass) slices.back().block_mass = mass.data() + s * blocks;
  }
  AttentionParams params;
  params.heads = shape.heads;
  params.scale = 0.125F;
  const std::int64_t rows = queries * sequences;
  const TensorView q = view(in_, rows, shape.heads * shape.head_dim);
  const TensorView out = view(out_, rows, shape.heads * shape.value_dim);
  const TensorView workspace = scratch(ops_.attention_workspace(slices, kv, params));
  OpWork work = attention_work(shape, queries, kv_length);
  for (double* sum : {&work.bytes, &work.flops}) *sum *= static_cast<double>(sequences);
  std::byte* const base = kv.base;
  measure(work, info(shape.kv).name, [&](std::int64_t i) {
    kv.base = base + (i % layers) * layer_bytes;
    ops_.attention(out, q, kv, slices, params, workspace);
  });
}

void OpBench::attention_decode(DType dtype) {
  fill_harmless(pool_);
  for (const auto& heads : kHeadShapes) {
    for (const std::int64_t kv_length : {32, 256, 1024, 4096}) {
      for (const std::int64_t sequences : {1, 4}) {
        if (effort_.quick && sequences > 1) continue;
        attention(attention_shape(heads, dtype), 1, kv_length, sequences);
      }
    }
  }
}

void OpBench::attention_prefill(DType dtype) {
  fill_harmless(pool_);
  for (const auto& heads : kHeadShapes) {
    for (const std::int64_t queries : {4, 16, 128, 512}) {
      if (heads[0] > 9 && queries > 128) continue;  // the same cost line, twenty times as long
      for (const std::int64_t before : {0, 512, 1536}) {
        if (effort_.quick && before == 512) continue;
        attention(attention_shape(heads, dtype), queries, before + queries, 1);
      }
    }
  }
}

/// Attention that adds up what each block gets, over caches as long as a budget.
void OpBench::attention_mass(DType dtype) {
  for (const auto& heads : kHeadShapes) {
    AttentionShape shape = attention_shape(heads, dtype);
    shape.mass = true;
    for (const std::int64_t kv_length : {256, 1024, 4096}) {
      for (const std::int64_t queries : {1, 16, 128}) {
        if (effort_.quick && (kv_length == 1024 || queries == 16)) continue;
        attention(shape, queries, kv_length, 1);
      }
    }
    attention(shape, 1, 1024, 4);
  }
}

/// Formats whose newest tokens lie in a window of 128: decode, prefill and the way between.
void OpBench::over_history(DType dtype) {
  fill_harmless(pool_);
  for (const auto& heads : kHeadShapes) {
    AttentionShape shape = attention_shape(heads, dtype);
    shape.residual_tokens = 128;
    for (const std::int64_t kv_length : {256, 1024, 4096}) {
      for (const std::int64_t queries : {1, 16, 96}) {
        TimedHistory timed(pool_.data(), pool_.size(), shape, queries, kv_length);
        if (!timed.fits()) continue;  // the pool is too small for this point
        const TensorView q = view(in_, queries, shape.heads * shape.head_dim);
        const TensorView out = view(out_, queries, shape.heads * shape.value_dim);
        const TensorView workspace = scratch(timed.workspace(ops_));
        measure(timed.work(), info(dtype).name,
                [&](std::int64_t i) { timed.attend(ops_, i, out, q, workspace); });
        if (queries == 1)
          measure(timed.pack_work(), info(dtype).name,
                  [&](std::int64_t i) { timed.pack(ops_, i); });
      }
    }
  }
}

void OpBench::kv_write(DType dtype) {
  for (const auto& heads : kHeadShapes) {
    const AttentionShape shape = attention_shape(heads, dtype);
    const KvLayerView kv = cache(shape, 8);
    const std::int64_t columns = shape.kv_heads * shape.head_dim;
    for (const std::int64_t tokens : {1, 4, 64, 512}) {
      const std::int64_t starts = kv.block_count * kBlockTokens - tokens;
      if (starts < 1) continue;  // the pool is too small for this point
      std::vector<std::int64_t> slots(static_cast<std::size_t>(tokens));
      measure(kv_write_work(tokens, 2 * columns, 2 * shape.kv_heads, DType::kF32, dtype),
              info(dtype).name, [&](std::int64_t i) {
                for (std::size_t t = 0; t < slots.size(); ++t) {
                  slots[t] = i * tokens % starts + static_cast<std::int64_t>(t);
                }
                ops_.kv_write(kv, view(in_, tokens, columns), view(in_, tokens, columns), slots);
              });
    }
  }
}

void OpBench::elementwise() {
  const DType f32 = DType::kF32;
  std::vector<float> norm_weight(kMostColumns, 1.0F);
  std::vector<float> frequency(32);
  for (std::size_t i = 0; i < frequency.size(); ++i) {
    frequency[i] = 1.0F / (1.0F + static_cast<float>(i));
  }
  std::vector<std::int32_t> positions(kMostTokens);
  for (std::size_t t = 0; t < positions.size(); ++t) positions[t] = static_cast<std::int32_t>(t);
  RopeParams rope;
  rope.head_dim = rope.rotary_dim = 64;
  rope.inverse_frequency = frequency.data();
  for (const std::int64_t columns : {576, 1536, 4096}) {
    const TensorView weight{norm_weight.data(), f32, 1, columns};
    for (const std::int64_t tokens : {1, 4, 64, 512}) {
      if (effort_.quick && tokens == 4) continue;
      const TensorView x = view(in_, tokens, columns), y = view(extra_, tokens, columns),
                       out = view(out_, tokens, columns);
      const auto count = static_cast<std::size_t>(tokens);
      measure(norm_work(tokens, columns, f32), "any",
              [&](std::int64_t) { ops_.rmsnorm(out, x, weight, 1e-5F, false); });
      measure(rope_work(tokens, columns, f32), "any",
              [&](std::int64_t) { ops_.rope(out, std::span(positions).first(count), rope); });
      // The gate shrinks call by call; it must not come near the denormals.
      auto* gate = reinterpret_cast<float*>(out_.data());
      measure(activation_work(tokens, columns, true, f32), "any", [&](std::int64_t i) {
        if (i % 16 == 0) std::fill(gate, gate + tokens * columns, 4.0F);
        ops_.gated_activation(out, y, GateKind::kSilu);
      });
      std::fill(gate, gate + tokens * columns, 0.5F);
      measure(add_work(tokens, columns, f32), "any", [&](std::int64_t) { ops_.add(out, y); });
      std::fill(gate, gate + tokens * columns, 0.5F);
    }
  }
}

void OpBench::sample() {
  for (const std::int64_t vocab : {32'000, 49'152, 128'256}) {
    std::vector<float> logits(static_cast<std::size_t>(16 * vocab));
    SplitMix64 rng(3);
    for (float& logit : logits) logit = static_cast<float>(rng.uniform());
    for (const std::int64_t rows : {1, 4, 16}) {
      measure(sample_work(rows, vocab), "any", [&](std::int64_t) {
        sample_rows_({logits.data(), DType::kF32, rows, vocab});
      });
      if (rows == 1 || !effort_.sample_beams) continue;
      measure(sample_beams_work(rows, vocab), "any", [&](std::int64_t) {
        effort_.sample_beams({logits.data(), DType::kF32, rows, vocab});
      });
    }
  }
}

void OpBench::embed() {
  fill_harmless(pool_);
  SplitMix64 rng(2);
  for (const DType dtype : {DType::kQ8_0, DType::kF16}) {
    for (const std::int64_t columns : {576, 4096}) {
      const std::int64_t row_bytes = bytes_of(dtype, 1, columns).n;  // far below the pool
      const std::int64_t rows = std::min<std::int64_t>(16384, pool_.size() / row_bytes);
      const WeightView table{{pool_.data(), dtype, rows, columns}, 0};
      for (const std::int64_t tokens : {1, 4, 64, 512}) {
        std::vector<std::int32_t> ids(static_cast<std::size_t>(tokens));
        for (auto& id : ids) {
          id = static_cast<std::int32_t>(rng.next() % static_cast<std::uint64_t>(rows));
        }
        measure(embed_work(tokens, columns, dtype, DType::kF32), "any",
                [&](std::int64_t) { ops_.embed(view(out_, tokens, columns), table, ids, 1.0F); });
      }
    }
  }
}

std::vector<CalibratedOp> OpBench::fit() const {
  std::vector<CalibratedOp> ops;
  for (const auto& [key, rounds] : points_) {
    std::vector<CostPoint> points;
    for (const auto& [work, seconds] : rounds) {
      if (seconds.empty()) continue;  // the clock showed nothing
      points.push_back({work.first, work.second, median_of(seconds)});
    }
    if (points.empty()) continue;
    const CostFit line = fit_cost(points);
    ops.push_back(
        {{key.first, key.second, line.call_s, line.bytes_per_s, line.flops_per_s}, line, points});
  }
  return ops;
}

}  // namespace

std::vector<CalibratedOp> calibrate_ops(Ops& ops, const Clock& clock,
                                        const CalibrationEffort& effort,
                                        const RowSampler& sample_rows,
                                        const CalibrationProgress& progress) {
  return OpBench(ops, clock, effort, sample_rows, progress).run();
}

}  // namespace vramplan
