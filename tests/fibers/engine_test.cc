// The whole cuda engine on the fake runtime with the device's own kernel sources, run on the CPU.
#include "executor/engine.h"

#include <gtest/gtest.h>

#include <functional>
#include <string>

#include "executor/run_cuda.h"
#include "executor/run_local.h"
#include "kernels/cuda/workspace.h"
#include "modelcards/library.h"
#include "planner/plan.h"
#include "tests/executor/tiny_model.h"
#include "tests/fake_cuda/fake_runtime.h"
#include "tests/fibers/fiber_kernels.h"

namespace vramplan {
namespace {

cuda::FakeDevice small_device() {
  cuda::FakeDevice device;
  device.major = 8;  // a GEMM workspace of 4 MiB
  return device;
}

RunRequest request_with_host_values() {
  RunRequest request;
  request.random_weights = true;
  request.cuda.random_on_host = true;
  request.process_base = 1_MiB;
  return request;
}

Measurement run_on_fibers(const Decisions& decisions, const ModelCard& card,
                          const RunRequest& request) {
  cuda::FakeRuntime runtime({small_device()}, 5);
  return run_cuda(decisions, source_of(card), device_card("h200-sxm-141gb"), request, runtime,
                  cuda::fiber_kernels());
}

TEST(EngineOnFibers, GreedyTokensAreTheCpuBackends) {
  DeviceCard cpu;
  cpu.kind = DeviceKind::kCpu;
  for (const auto& [name, card] : tiny_families()) {
    if (card.layers.front().mixer.value_dim % 8 != 0) continue;
    SCOPED_TRACE(name);
    Decisions decisions = tiny_decisions(card, 15, 4, 2);
    decisions.prefill_chunk = Tokens{9};
    const RunRequest request = request_with_host_values();
    const auto wanted = run_local(decisions, source_of(card), cpu, request, [](Bytes capacity) {
                          return make_cpu_backend(1, capacity);
                        }).output;
    EXPECT_EQ(run_on_fibers(decisions, card, request).output, wanted);
  }
}

/// Random weights made on the device, 16-bit activations, every path of linear: logits are finite
/// and a replayed step draws what the plain one does.
TEST(EngineOnFibers, SixteenBitActivationsRunWithGraphsAndWithout) {
  ModelCard card = tiny_card();
  card.hidden = 64;
  for (Layer& layer : card.layers) {
    layer.mixer.head_dim = layer.mixer.value_dim = 16;
    layer.mixer.rope.rotary_dim = 16;
    layer.feed_forward.intermediate = 96;
  }
  for (const DType weights : {DType::kBF16, DType::kQ8_0}) {
    card.stored_weights = weights;
    Decisions decisions = tiny_decisions(card, 38, 4, 2);
    decisions.activations = DType::kBF16;
    decisions.kv_format = KvFormat::kBF16;
    RunRequest request = request_with_host_values();
    request.cuda.random_on_host = weights != DType::kBF16;
    const Measurement with = run_on_fibers(decisions, card, request);
    request.cuda.graphs = false;
    EXPECT_EQ(run_on_fibers(decisions, card, request).output, with.output);
    EXPECT_EQ(with.output.front().size(), 4U);
  }
}

/// Coded caches: the tokens of the CPU backend, whose codes the kernels write to the bit.
TEST(EngineOnFibers, CodedCachesGiveTheTokensOfTheCpuBackend) {
  DeviceCard cpu;
  cpu.kind = DeviceKind::kCpu;
  ModelCard card = tiny_card();
  card.hidden = 64;
  for (Layer& layer : card.layers) {
    layer.mixer.head_dim = layer.mixer.value_dim = 32;
    layer.mixer.rope.rotary_dim = 32;
  }
  for (const KvFormat format :
       {KvFormat::kFp8, KvFormat::kInt8, KvFormat::kQ8_0, KvFormat::kQ4_0}) {
    SCOPED_TRACE(name_of(format));
    Decisions decisions = tiny_decisions(card, 15, 4, 2);
    decisions.prefill_chunk = Tokens{9};
    decisions.kv_format = format;
    const RunRequest request = request_with_host_values();
    const auto wanted = run_local(decisions, source_of(card), cpu, request, [](Bytes capacity) {
                          return make_cpu_backend(1, capacity);
                        }).output;
    EXPECT_EQ(run_on_fibers(decisions, card, request).output, wanted);
  }
}

/// Heads of 32, which formats in blocks of 32 need.
ModelCard card_of_32(int layers) {
  ModelCard card = tiny_card(layers);
  card.hidden = 64;
  card.context_limit = 4096;
  for (Layer& layer : card.layers) {
    layer.mixer.head_dim = layer.mixer.value_dim = 32;
    layer.mixer.rope.rotary_dim = 32;
  }
  return card;
}

/// Histories behind a residual window, packed and strided, sinks, and a cache that comes from the
/// host: the device's own kernels draw the tokens of the CPU backend.
TEST(EngineOnFibers, WindowsHistoriesAndSinksGiveTheTokensOfTheCpuBackend) {
  DeviceCard cpu;
  cpu.kind = DeviceKind::kCpu;
  const std::vector<std::pair<const char*, std::function<void(PlanRequest&)>>> asks = {
      {"kivi2", [](PlanRequest& r) { r.kv_format = KvFormat::kKivi2; }},
      {"kivi4", [](PlanRequest& r) { r.kv_format = KvFormat::kKivi4; }},
      {"strided fp8", [](PlanRequest& r) { r.kv_policy = KvPolicy::kStrided; }},
      {"strided q8_0",
       [](PlanRequest& r) {
         r.kv_policy = KvPolicy::kStrided;
         r.kv_format = KvFormat::kQ8_0;
       }},
      {"sinks",
       [](PlanRequest& r) {
         r.kv_policy = KvPolicy::kSinkWindow;
         r.kv_window = Tokens{30};
       }},
      {"mass",
       [](PlanRequest& r) {
         r.kv_policy = KvPolicy::kMass;
         r.kv_budget = Tokens{96};
         r.block_tokens = 8;
       }},
      {"kivi2 on the host",
       [](PlanRequest& r) {
         r.kv_format = KvFormat::kKivi2;
         r.kv_placement = KvPlacement::kHost;
       }},
      {"guesses", [](PlanRequest& r) { r.guess = Guess::kNgram; }},
      {"two layers of a mix",
       [](PlanRequest& r) {
         r.kv_format = KvFormat::kInt8;
         r.kv_layers = {{1, 2, KvFormat::kKivi2}};
         r.kv_residual = Tokens{64};
       }},
      {"two layers of a plain mix",
       [](PlanRequest& r) {
         r.kv_format = KvFormat::kF32;
         r.kv_layers = {{0, 1, KvFormat::kQ8_0}};
       }},
  };
  for (const auto& [name, ask] : asks) {
    SCOPED_TRACE(name);
    const bool far = std::string(name).find("host") != std::string::npos;
    const bool mix = std::string(name).find("mix") != std::string::npos;
    const ModelCard card = card_of_32(far || mix ? 2 : 1);
    PlanRequest request;
    request.model = card.name;
    request.context = Tokens{103};
    request.output = Tokens{5};
    request.batch = 1;
    request.prefill_chunk = Tokens{27};
    request.block_tokens = 32;
    ask(request);
    if (!mix && (request.kv_format || request.kv_policy == KvPolicy::kStrided)) {
      request.kv_residual = Tokens{64};
    }
    Decisions decisions =
        make_plan(source_of(card), device_card("h200-sxm-141gb"), request).decisions;
    decisions.activations = DType::kF32;
    if (decisions.kv_format == KvFormat::kBF16) decisions.kv_format = KvFormat::kF32;
    const RunRequest run = request_with_host_values();
    const auto wanted = run_local(decisions, source_of(card), cpu, run, [](Bytes capacity) {
                          return make_cpu_backend(1, capacity);
                        }).output;
    EXPECT_EQ(run_on_fibers(decisions, card, run).output, wanted);
  }
}

/// Weights in fp8 without scales: a byte an element on both sides, and the same tokens.
TEST(EngineOnFibers, Fp8WeightsGiveTheTokensOfTheCpuBackend) {
  DeviceCard cpu;
  cpu.kind = DeviceKind::kCpu;
  ModelCard card = tiny_card();
  card.stored_weights = DType::kF8E4M3;
  Decisions decisions = tiny_decisions(card, 21, 4, 2);
  decisions.prefill_chunk = Tokens{17};  // more tokens than the GEMV takes
  const RunRequest request = request_with_host_values();
  const auto wanted = run_local(decisions, source_of(card), cpu, request, [](Bytes capacity) {
                        return make_cpu_backend(1, capacity);
                      }).output;
  EXPECT_EQ(run_on_fibers(decisions, card, request).output, wanted);
}

/// Inputs of fp8 weights rounded to fp8, by the device's own kernels.
TEST(EngineOnFibers, Fp8InputsGiveTheTokensOfTheCpuBackend) {
  DeviceCard cpu;
  cpu.kind = DeviceKind::kCpu;
  ModelCard card = tiny_card();
  card.hidden = 64;
  for (Layer& layer : card.layers) {
    layer.mixer.head_dim = layer.mixer.value_dim = layer.mixer.rope.rotary_dim = 16;
    layer.feed_forward.intermediate = 96;
  }
  for (const DType weights : {DType::kF8E4M3, DType::kFp8Channel}) {
    SCOPED_TRACE(info(weights).name);
    Decisions decisions = tiny_decisions(card, 13, 4, 1);
    decisions.weights = weights;
    decisions.linear_inputs = DType::kF8E4M3;
    decisions.prefill_chunk = Tokens{9};
    const RunRequest request = request_with_host_values();
    const auto wanted = run_local(decisions, source_of(card), cpu, request, [](Bytes capacity) {
                          return make_cpu_backend(1, capacity, DType::kF8E4M3);
                        }).output;
    EXPECT_EQ(run_on_fibers(decisions, card, request).output, wanted);
  }
}

/// Codes and scales of published checkpoints, both sides from the same bytes.
TEST(EngineOnFibers, PackedWeightsGiveTheTokensOfTheCpuBackend) {
  DeviceCard cpu;
  cpu.kind = DeviceKind::kCpu;
  ModelCard card = tiny_card();
  card.hidden = 64;
  for (Layer& layer : card.layers) {
    layer.mixer.head_dim = layer.mixer.value_dim = layer.mixer.rope.rotary_dim = 16;
    layer.feed_forward.intermediate = 96;
  }
  for (const DType weights :
       {DType::kFp8Block, DType::kAwqI4G32, DType::kGptqI4G32, DType::kPackedI4G32}) {
    SCOPED_TRACE(info(weights).name);
    Decisions decisions = tiny_decisions(card, 13, 4, 1);
    decisions.weights = weights;
    decisions.prefill_chunk = Tokens{9};
    const RunRequest request = request_with_host_values();
    const auto wanted = run_local(decisions, source_of(card), cpu, request, [](Bytes capacity) {
                          return make_cpu_backend(1, capacity);
                        }).output;
    EXPECT_EQ(run_on_fibers(decisions, card, request).output, wanted);
  }
}

/// Our formulas of scratch are the kernels' own.
TEST(EngineOnFibers, ScratchIsWhatTheKernelsAskFor) {
  for (const std::int64_t slices : {1, 3, 8, 64, 300}) {
    for (const std::int64_t kv_heads : {1, 3, 8}) {
      for (const std::int64_t most_kv : {1, 256, 257, 5000, 131072}) {
        for (const int multiprocessors : {1, 34, 132, 148}) {
          KvLayerView kv;
          kv.kv_heads = kv_heads;
          kv.value_dim = 128;
          AttentionParams params;
          params.heads = kv_heads * 4;
          const std::vector<SequenceSlice> all(static_cast<std::size_t>(slices),
                                               SequenceSlice{0, 1, most_kv, nullptr});
          const std::int64_t splits =
              cuda::attention_splits(slices, kv_heads, most_kv, multiprocessors);
          EXPECT_EQ(cuda::attention_workspace(all, kv, params, most_kv, multiprocessors),
                    cuda::attention_decode_workspace(slices, params.heads, kv.value_dim, splits));
          params.history = &kv;
          const std::int64_t behind =
              cuda::attention_history_splits(slices, kv_heads, most_kv, multiprocessors);
          EXPECT_EQ(cuda::attention_workspace(all, kv, params, most_kv, multiprocessors),
                    cuda::attention_decode_workspace(slices, params.heads, kv.value_dim, behind));
        }
      }
    }
  }
  EXPECT_EQ(cuda::sampling_workspace(7, 1000), cuda::sample_workspace(7, 1000));
}

}  // namespace
}  // namespace vramplan
