// Why a cache of codes makes the cuda engine say other tokens than the CPU's: two runs of the same
// prompt, looked at pass by pass. Where the caches first differ they differ by one step of an f16,
// and each engine's codes are those of its own f16 rows, to the byte. So nothing but the order of
// f32 sums separates the two, and both are equally good codings of the same numbers.
#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <cstdlib>
#include <cstring>

#include "executor/backend_cuda.h"
#include "executor/need.h"
#include "executor/rank_run.h"
#include "executor/run_parts.h"
#include "kernels/cpu/half.h"
#include "kernels/cpu/packed_tile.h"
#include "modelcards/library.h"
#include "planner/plan.h"
#include "tests/executor/tiny_model.h"
#include "tests/fake_cuda/fake_runtime.h"
#include "tests/fibers/fiber_kernels.h"

namespace vramplan {
namespace {

constexpr std::int64_t kWidth = 32, kHeads = 2, kTokens = 72;  // of a head; KV heads

/// What one layer's cache got, in the order it came.
struct LayerSeen {
  std::vector<std::uint16_t> keys, values;    // [tokens, kHeads, kWidth] f16, as written
  std::vector<std::vector<std::byte>> tiles;  // of each block that was packed: K, V of each head
};
struct Seen {
  std::vector<LayerSeen> layers;
  std::vector<float> logits;  // [tokens, vocab]
};

/// Reads back what a pass wrote.
void look(RankEngine& engine, const Pass& pass, Seen& seen) {
  Backend& backend = engine.backend();
  for (std::size_t l = 0; l < seen.layers.size(); ++l) {
    LayerSeen& layer = seen.layers[l];
    const KvLayerView& history = engine.kv().layer(static_cast<std::int64_t>(l));
    const KvLayerView& recent = *engine.kv().recent(static_cast<std::int64_t>(l));
    for (const Pass::Group& group : pass.groups) {
      for (const KvPack& pack : group.packs) {
        const std::int64_t block = pack.first_slot / history.block_tokens;
        const std::int64_t offset = pack.first_slot % history.block_tokens;
        std::vector<std::byte> bytes;
        for (std::int64_t head = 0; head < kHeads; ++head) {
          for (const std::byte* from : {cpu::key_tile(history, block, head, offset).base,
                                        cpu::value_tile(history, block, head, offset, 0).base}) {
            const std::size_t at = bytes.size();
            const std::int64_t size = cpu::key_tile(history, block, head, offset).bytes();
            bytes.resize(at + static_cast<std::size_t>(size));
            backend.read(bytes.data() + at, from, Bytes{size});
          }
        }
        layer.tiles.push_back(bytes);
      }
    }
    for (const std::int64_t slot : pass.groups.back().slots) {
      for (std::int64_t head = 0; head < kHeads; ++head) {
        const std::byte* from =
            recent.base + slot / 32 * recent.block_stride + (head * 32 + slot % 32) * 2 * kWidth;
        for (auto* rows : {&layer.keys, &layer.values}) {
          const std::size_t at = rows->size();
          rows->resize(at + kWidth);
          backend.read(rows->data() + at, from + (rows == &layer.keys ? 0 : recent.value_offset),
                       Bytes{2 * kWidth});
        }
      }
    }
  }
}

/// The prompt `ids` prefilled as `decisions` say.
Seen watch(const Decisions& decisions, const ModelSource& source, Backend& backend,
           const std::vector<std::int32_t>& ids) {
  DeviceCard card;  // only its scratch rules are asked for
  card.kind = backend.gpu() == nullptr ? DeviceKind::kCpu : DeviceKind::kGpu;
  const ModelPart part = model_part(source.card, decisions.sharding, 0);
  RankNeed need = measure_need(decisions, source, card, part, {kTokens}, true, backend.gpu());
  need.sizes.blocks = need.held;
  backend.reserve_all(need.reservation(need.sizes));
  SingleCommunicator alone, alone_too;
  RankEngine engine({backend, alone, alone_too}, decisions, source, part, need.sizes);
  LoadOptions load;
  load.fill = WeightFill::kRandom;
  load.seed = decisions.seed;
  engine.load(load);
  SchedulerOptions options = scheduler_options(decisions, {});
  options.logits_of_all = true;
  Scheduler scheduler(engine.kv(), {ids}, options);
  Seen seen;
  seen.layers.resize(source.card.layers.size());
  RunHooks hooks;
  hooks.after_pass = [&](const Pass& pass) {
    if (decisions.kv_residual.any()) look(engine, pass, seen);
  };
  hooks.on_logits = [&](const Pass& pass, const TensorView& rows) {
    const auto wanted = static_cast<std::int64_t>(pass.logit_rows.size());
    const std::size_t before = seen.logits.size();
    seen.logits.resize(before + static_cast<std::size_t>(wanted * rows.columns));
    backend.read(seen.logits.data() + before, rows.data, Bytes{4} * wanted * rows.columns);
  };
  run_passes(engine, scheduler, hooks);
  return seen;
}

/// Neighbours among the f16, or apart by last bits of f32 sums whose terms are as large as
/// `largest`.
bool are_roundings_of_one(std::uint16_t a, std::uint16_t b, double largest) {
  const auto place = [](std::uint16_t h) {
    const int magnitude = h & 0x7fff;
    return (h & 0x8000) != 0 ? -magnitude : magnitude;
  };
  const double apart = static_cast<double>(cpu::f16_to_f32(a) - cpu::f16_to_f32(b));
  return std::abs(place(a) - place(b)) <= 1 || std::abs(apart) <= 2e-6 * largest;
}

double largest_of(const std::vector<std::uint16_t>& rows) {
  double largest = 0;
  for (const std::uint16_t h : rows) {
    largest = std::max(largest, std::abs(static_cast<double>(cpu::f16_to_f32(h))));
  }
  return largest;
}

/// The tiles that these rows make, as LayerSeen::tiles has them.
std::vector<std::byte> packed(const LayerSeen& layer, std::size_t block, int bits) {
  std::vector<std::byte> all;
  for (std::int64_t head = 0; head < kHeads; ++head) {
    for (const auto* rows : {&layer.keys, &layer.values}) {
      std::vector<float> x;
      for (std::size_t t = 32 * block; t < 32 * block + 32; ++t) {
        for (std::int64_t d = 0; d < kWidth; ++d) {
          const auto at = static_cast<std::int64_t>(t) * kHeads * kWidth + head * kWidth + d;
          x.push_back(cpu::f16_to_f32((*rows)[static_cast<std::size_t>(at)]));
        }
      }
      cpu::PackedTile tile{bits, kWidth, nullptr};
      std::vector<std::byte> bytes(static_cast<std::size_t>(tile.bytes()));
      tile.base = bytes.data();
      const bool keys = rows == &layer.keys;  // elements of a lane: channels of K, tokens of V
      cpu::pack_tile({x.data(), keys ? 1 : kWidth, keys ? kWidth : 1}, tile);
      all.insert(all.end(), bytes.begin(), bytes.end());
    }
  }
  return all;
}

double worst_of(const std::vector<float>& a, const std::vector<float>& b, std::size_t begin,
                std::size_t end) {
  double worst = 0;
  for (std::size_t i = begin; i < end; ++i) {
    worst = std::max(worst, std::abs(static_cast<double>(a[i] - b[i])));
  }
  return worst;
}

/// The first token of which a layer's rows differ, kTokens without.
std::size_t first_difference(const Seen& a, const Seen& b) {
  std::size_t first = kTokens;
  for (std::size_t l = 0; l < a.layers.size(); ++l) {
    for (const auto rows : {&LayerSeen::keys, &LayerSeen::values}) {
      const auto &x = a.layers[l].*rows, &y = b.layers[l].*rows;
      const auto at = std::mismatch(x.begin(), x.end(), y.begin()).first - x.begin();
      first = std::min(first, static_cast<std::size_t>(at / (kHeads * kWidth)));
    }
  }
  return first;
}

ModelCard two_layers() {
  ModelCard card = tiny_card(2);
  card.hidden = 64;
  card.context_limit = 4096;
  for (Layer& layer : card.layers) {
    layer.mixer.head_dim = layer.mixer.value_dim = layer.mixer.rope.rotary_dim = kWidth;
  }
  return card;
}

Decisions decisions_for(const ModelCard& card, std::optional<KvFormat> format, std::int64_t chunk) {
  PlanRequest request;
  request.model = card.name;
  request.context = Tokens{kTokens + 1};
  request.output = Tokens{1};
  request.kv_format = format.value_or(KvFormat::kF32);
  if (format) request.kv_residual = Tokens{64};
  Decisions d = make_plan(source_of(card), device_card("h200-sxm-141gb"), request).decisions;
  d.activations = DType::kF32;
  d.prefill_chunk = Tokens{chunk};
  return d;
}

Seen on_fibers(const ModelCard& card, const Decisions& decisions,
               const std::vector<std::int32_t>& ids) {
  cuda::FakeDevice device;
  device.major = 8;  // a GEMM workspace of 4 MiB
  cuda::FakeRuntime runtime({device}, 5);
  runtime.use_device(0);
  CudaOptions options;
  options.activations = DType::kF32;
  options.random_on_host = true;
  CudaBackend backend(runtime, cuda::fiber_kernels(), options, decisions.capacity);
  return watch(decisions, source_of(card), backend, ids);
}

Seen on_cpu(const ModelCard& card, const Decisions& decisions,
            const std::vector<std::int32_t>& ids) {
  const auto backend = make_cpu_backend(1, decisions.capacity);
  return watch(decisions, source_of(card), *backend, ids);
}

struct Way {
  KvFormat format;
  std::int64_t chunk;  // 27: tiles of many queries; 1: the kernels of decode
};
class Rounding : public ::testing::TestWithParam<Way> {};

TEST_P(Rounding, AloneSeparatesTheEnginesOverAPackedHistory) {
  const ModelCard card = two_layers();
  std::vector<std::int32_t> ids;
  for (std::int32_t i = 0; i < kTokens; ++i) ids.push_back((i * i + 7) % 40);
  const std::size_t vocab = 40;
  const std::vector<float> exact = on_cpu(card, decisions_for(card, {}, 27), ids).logits;
  const auto [format, chunk] = GetParam();
  const Decisions decisions = decisions_for(card, format, chunk);
  const Seen cpu = on_cpu(card, decisions, ids), gpu = on_fibers(card, decisions, ids);
  ASSERT_EQ(gpu.logits.size(), kTokens * vocab);
  const int bits = format == KvFormat::kKivi2 ? 2 : 4;
  std::size_t one_step = 0, all = 0;
  for (std::size_t l = 0; l < 2; ++l) {
    const LayerSeen &a = cpu.layers[l], &b = gpu.layers[l];
    ASSERT_EQ(a.keys.size(), static_cast<std::size_t>(kTokens * kHeads * kWidth));
    ASSERT_EQ(a.keys.size(), b.keys.size());
    ASSERT_EQ(a.tiles.size(), 1U);  // 64 tokens stay in the window at most
    ASSERT_EQ(a.tiles.size(), b.tiles.size());
    for (std::size_t block = 0; block < a.tiles.size(); ++block) {
      EXPECT_TRUE(a.tiles[block] == packed(a, block, bits)) << "layer " << l;
      EXPECT_TRUE(b.tiles[block] == packed(b, block, bits)) << "layer " << l;
    }
    const double key = largest_of(a.keys), value = largest_of(a.values);
    for (std::size_t i = 0; i < a.keys.size() && l == 0; ++i) {
      one_step += a.keys[i] != b.keys[i];
      one_step += a.values[i] != b.values[i];
      all += 2;
      ASSERT_TRUE(are_roundings_of_one(a.keys[i], b.keys[i], key)) << i;
      ASSERT_TRUE(are_roundings_of_one(a.values[i], b.values[i], value)) << i;
    }
  }
  // No attention comes before layer 0: its f32 rows differ in their last bits alone, and few of
  // them lie so near the middle between two f16.
  EXPECT_LT(one_step * 200, all);
  // Until the caches differ, so do only last bits of the logits.
  const std::size_t first = first_difference(cpu, gpu);
  const double largest = std::abs(*std::max_element(
      exact.begin(), exact.end(), [](float x, float y) { return std::abs(x) < std::abs(y); }));
  EXPECT_LT(worst_of(cpu.logits, gpu.logits, 0, first * vocab), 1e-5 * largest) << first;
  // Then both are codings of the same numbers: each as far from the exact cache as its codes are.
  const std::size_t end = kTokens * vocab;
  const double error = worst_of(cpu.logits, exact, 0, end);
  EXPECT_LT(worst_of(gpu.logits, exact, 0, end), 1.5 * error);
  EXPECT_LT(worst_of(cpu.logits, gpu.logits, 0, end), error / 2);
}

INSTANTIATE_TEST_SUITE_P(Ways, Rounding,
                         ::testing::Values(Way{KvFormat::kKivi4, 27}, Way{KvFormat::kKivi4, 1},
                                           Way{KvFormat::kKivi2, 27}));

}  // namespace
}  // namespace vramplan
