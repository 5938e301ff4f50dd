// Golden traps of engines' own allocators, each with the answer that is right: see
// golden_traps_test.cc for the others.
#include <gtest/gtest.h>

#include <cmath>

#include "modelcards/library.h"
#include "planner/engines/twin.h"

namespace vramplan {
namespace {

constexpr double kGiB = 1024.0 * 1024.0 * 1024.0;

Decisions on(const DeviceCard& device, Tokens context, int tp = 1, int pp = 1) {
  Decisions d;
  d.sharding.tp = tp;
  d.sharding.pp = pp;
  d.device_count = tp * pp;
  d.context = context;
  d.capacity = {device.capacity_bytes.value};
  return d;
}

EngineRequest ask(const char* engine) {
  EngineRequest request;
  request.id = parse_engine(engine);
  return request;
}

/// Gemma 4 31B: 50 windowed layers of 16 heads of 256, 10 whole ones of 4 heads of 512. Source of
/// the counts: tt-xla#5727, Rapid-MLX#1423.
ModelCard gemma_4_31b() {
  ModelCard card = model_card("gemma-3-27b");
  card.name = "gemma-4-31b";
  card.layers.resize(60, card.layers.front());
  for (std::size_t i = 0; i < card.layers.size(); ++i) {
    Mixer& mixer = card.layers[i].mixer;
    const bool whole = i % 6 == 5;
    mixer.kind = whole ? MixerKind::kFullAttention : MixerKind::kSlidingWindow;
    mixer.window_tokens = whole ? 0 : 1024;
    mixer.kv_heads = whole ? 4 : 16;
    mixer.head_dim = mixer.value_dim = whole ? 512 : 256;
  }
  return card;
}

TEST(EngineTraps, T06_WindowsAndWholeLayersShareVllmsPagesByTheirBytes) {
  ModelSource source;
  source.card = gemma_4_31b();
  const DeviceCard device = device_card("h200-sxm-141gb");
  EngineRequest request = ask("vllm@0.22.0");
  request.max_model_len = Tokens{262144};
  request.max_num_batched_tokens = Tokens{8192};
  request.kv_cache_memory = Bytes{std::llround(64.68 * kGiB)};
  const EngineOutcome out = forecast_engine(source, device, on(device, Tokens{262144}), request);
  // 64.68 is rounded: half of its last digit is 0.008 %.
  EXPECT_NEAR(static_cast<double>(out.devices.front().kv_tokens.n), 626949, 626949 * 0.0001);
  EXPECT_NEAR(64.68 * kGiB / 626949 / 1024, 108.2, 0.1);  // KiB a token
}

TEST(EngineTraps, T12_FourCopiesOfTheMaskOnEveryDeviceOfALayerSplit) {
  ModelSource source;
  source.card = model_card("kimi-k2");
  const DeviceCard device = device_card("b200-sxm-180gb");
  const auto compute = [&](std::int64_t context, int pp) {
    EngineRequest request = ask("llamacpp");
    request.max_model_len = Tokens{context};
    request.max_num_batched_tokens = Tokens{512};
    request.max_num_seqs = 1;
    const EngineOutcome out =
        forecast_engine(source, device, on(device, Tokens{context}, 1, pp), request);
    return out.devices;
  };
  const std::int64_t mi = 1 << 20;
  const auto whole = compute(mi, 4), half = compute(mi / 2, 4);
  ASSERT_EQ(whole.size(), 4u);
  for (std::size_t rank = 0; rank < whole.size(); ++rank) {
    EXPECT_GE(whole[rank].compute.n, 4 * (std::int64_t{1} << 30)) << rank;
    // The part that grows with the context: 2 bytes x 512 tokens x 4 copies a cell.
    EXPECT_EQ((whole[rank].compute - half[rank].compute).n, 2 * 512 * 4 * (mi / 2)) << rank;
  }
  // On one device there is one copy.
  EXPECT_EQ((compute(mi, 1).front().compute - compute(mi / 2, 1).front().compute).n,
            2 * 512 * (mi / 2));
}

TEST(EngineTraps, T18_AFractionIsOfTheTotalOrOfWhatIsFree) {
  ModelSource source;
  source.card = model_card("llama-3.1-8b");
  const DeviceCard device = device_card("h100-sxm-80gb");
  const Decisions d = on(device, Tokens{8192});
  const auto run = [&](const char* engine) {
    return forecast_engine(source, device, d, ask(engine)).devices.front();
  };
  const double capacity = static_cast<double>(d.capacity.n);
  const EngineForecast now = run("vllm@0.22.0"), before = run("vllm@0.19.0"), trt = run("trtllm");
  EXPECT_NEAR(static_cast<double>(now.available.n), 0.92 * capacity, 1);
  EXPECT_NEAR(static_cast<double>(before.available.n), 0.90 * capacity, 1);
  EXPECT_EQ(before.kv, before.available - before.weights - before.activations - before.non_torch);
  // From 0.21 on the graphs are inside the fraction: gpustack/runner#251.
  EXPECT_EQ(now.kv, now.available - now.weights - now.activations - now.non_torch - now.graphs);
  const Bytes free = d.capacity - trt.weights - trt.activations - trt.non_torch;
  EXPECT_NEAR(static_cast<double>(trt.kv.n), 0.9 * static_cast<double>(free.n), 1);
  EXPECT_LT(trt.total, d.capacity);
}

// Qwen2.5-VL-3B at 2,048 pixels: 148 x 148 positions, 16 heads. The planner that charged the scores
// whatever the flag said 32.12 GiB, and 4.42 GiB once it did not: gguf-parser-go#23, #24.
TEST(EngineTraps, T21_AProjectorWithFlashAttentionHasAMaskAndNoScores) {
  const TowerShape tower{148 * 148, 16};
  EXPECT_EQ(tower_attention(tower, true).n, 2 * 21904LL * 21904);
  EXPECT_EQ(tower_attention(tower, false).n, 4 * 21904LL * 21904 * 16);
  const double swing =
      static_cast<double>((tower_attention(tower, false) - tower_attention(tower, true)).n);
  EXPECT_NEAR(swing / kGiB, 32.12 - 4.42, 0.01);
  ModelSource source;
  source.card = model_card("qwen2.5-3b");
  const DeviceCard device = device_card("a100-sxm-80gb");
  EngineRequest request = ask("llamacpp");
  const auto compute = [&] {
    return forecast_engine(source, device, on(device, Tokens{8192}), request)
        .devices.front()
        .compute;
  };
  const Bytes text = compute();
  request.tower_shape = tower;
  EXPECT_EQ(compute() - text, tower_attention(tower, true));
  EXPECT_THROW(tower_attention({std::int64_t{1} << 40, 16}, true), Error);
}

// vLLM#55827: two engines that start at once measured each other by the device's free memory.
TEST(EngineTraps, T22_AnEngineAccountsForItselfAndNotForItsNeighbour) {
  ModelSource source;
  source.card = model_card("llama-3.1-8b");
  const DeviceCard device = device_card("h100-sxm-80gb");
  const Decisions d = on(device, Tokens{4096});
  const auto run = [&](const char* engine, double fraction, Bytes beside) {
    EngineRequest request = ask(engine);
    request.memory_fraction = fraction;
    request.max_num_seqs = 64;
    request.beside = beside;
    return forecast_engine(source, device, d, request).devices.front();
  };
  const EngineForecast alone = run("vllm", 0.45, {});
  const EngineForecast second = run("vllm", 0.45, alone.total);
  EXPECT_EQ(second.kv, alone.kv);
  EXPECT_EQ(second.kv_tokens, alone.kv_tokens);
  EXPECT_TRUE(second.boots);
  // A share that is not free any more does not start, whatever it would have held.
  const EngineForecast large = run("vllm", 0.6, {});
  EXPECT_TRUE(large.boots);
  EXPECT_FALSE(run("vllm", 0.6, large.total).boots);
  // TensorRT-LLM takes a share of what is free: there the neighbour does count.
  const EngineForecast trt = run("trtllm", 0.9, {}), beside = run("trtllm", 0.9, 10_GiB);
  EXPECT_NEAR(static_cast<double>((trt.kv - beside.kv).n), 0.9 * 10 * kGiB, 2);
}

// SGLang with a 2-bit cache at 96k tokens on 12 GB: everything fits and it is 4.4 times slower,
// because a prefill graph's 1.81 GB and the unpacked cache do not fit beside each other.
TEST(EngineTraps, T23_WhatFitsCanStillStarve) {
  ModelSource source;
  source.card = model_card("qwen3-8b");
  const DeviceCard device = device_card("a10-24gb");
  Decisions d = on(device, Tokens{98304});
  d.capacity = Bytes{12'000'000'000};
  EngineRequest request = ask("sglang");
  request.quantization = "int4";
  request.kv_cache_dtype = "int2";
  request.max_num_seqs = 1;
  request.max_num_batched_tokens = Tokens{2048};
  request.kv_tokens = Tokens{98304};
  request.memory_fraction = 0.9;
  const EngineForecast plain = forecast_engine(source, device, d, request).devices.front();
  // K and V of a layer, 16 bits: 2 x 8 heads x 128 x 2 bytes x 98,304 tokens.
  EXPECT_EQ(plain.transient.n, 2LL * 8 * 128 * 2 * 98304);
  EXPECT_EQ(plain.kv.n, 36LL * 2 * 8 * 128 * 3 / 8 * 98304);
  ASSERT_TRUE(plain.boots);
  EXPECT_FALSE(plain.starved);
  request.transient = Bytes{1'810'000'000};
  // Room for one of the two, and not for both.
  d.capacity = plain.total + request.transient + Bytes{100'000'000};
  request.memory_fraction = 0.99;
  const EngineForecast tight = forecast_engine(source, device, d, request).devices.front();
  EXPECT_TRUE(tight.boots);
  EXPECT_TRUE(tight.starved);
  request.kv_cache_dtype = "auto";
  request.kv_tokens = Tokens{2048};
  request.max_model_len = Tokens{2048};
  EXPECT_EQ(forecast_engine(source, device, d, request).devices.front().transient,
            request.transient);
}

}  // namespace
}  // namespace vramplan
