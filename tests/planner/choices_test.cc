#include "planner/choices.h"

#include <gtest/gtest.h>

#include "cards.h"
#include "modelcards/library.h"
#include "planner/kv_cache.h"

namespace vramplan {
namespace {

using namespace test;

std::string value_of(const Choices& choices, const std::string& flag) {
  for (const Assumption& a : choices.assumptions) {
    if (a.flag == flag) return a.value;
  }
  return {};
}

TEST(Choices, WhatWasNotAskedForIsChosenAndListedWithItsFlag) {
  PlanRequest nothing;
  const Choices gpu = make_choices(source_of(llama_3_70b()), gpu_80gb(), nothing);
  EXPECT_EQ(gpu.decisions.context.n, 8192);
  EXPECT_EQ(gpu.decisions.output.n, 128);
  EXPECT_EQ(gpu.decisions.prefill_chunk.n, 8192);
  EXPECT_EQ(gpu.decisions.kv_format, KvFormat::kBF16);
  EXPECT_EQ(gpu.decisions.activations, DType::kBF16);
  EXPECT_EQ(value_of(gpu, "--context"), "8192");
  EXPECT_EQ(value_of(gpu, "--output-tokens"), "128");
  EXPECT_EQ(value_of(gpu, "--batch"), "1");
  EXPECT_EQ(value_of(gpu, "--block-size"), "16");
  EXPECT_EQ(value_of(gpu, "--weights"), "as stored: f16");
  EXPECT_EQ(value_of(gpu, "--kv-cache-dtype"), "bf16");
  EXPECT_EQ(value_of(gpu, "--attention"), "tiled");
  EXPECT_EQ(value_of(gpu, "--prefill-chunk"), "8192");
  EXPECT_EQ(value_of(gpu, "--count"), "1");

  ModelCard small = tiny();
  small.context_limit = 100;
  const Choices on_cpu = make_choices(source_of(small), cpu(1_GiB), nothing);
  EXPECT_EQ(on_cpu.decisions.context.n, 100);
  EXPECT_EQ(on_cpu.decisions.output.n, 50);
  EXPECT_EQ(on_cpu.decisions.prefill_chunk.n, 512);
  EXPECT_EQ(on_cpu.decisions.kv_format, KvFormat::kF16);
  EXPECT_EQ(on_cpu.decisions.activations, DType::kF32);
  EXPECT_EQ(on_cpu.decisions.threads, 4);
  EXPECT_EQ(value_of(on_cpu, "--threads"), "4");
}

TEST(Choices, LinearInputsAreTheCpusToChoose) {
  PlanRequest ask_f32 = ask(64, 1);
  ask_f32.linear_inputs = DType::kF32;
  const Choices cpu_choices = make_choices(source_of(tiny()), cpu(1_GiB), ask_f32);
  EXPECT_EQ(cpu_choices.decisions.linear_inputs, DType::kF32);
  EXPECT_EQ(value_of(cpu_choices, "--linear-inputs"), "that of f32 weights of their bytes");
  DeviceCard timed = cpu(1_GiB);
  timed.op_costs = {{"linear_f32", "q4_0", 0, 1e10, 0}};
  EXPECT_EQ(value_of(make_choices(source_of(tiny()), timed, ask_f32), "--linear-inputs"), "");
  EXPECT_EQ(make_choices(source_of(tiny()), cpu(1_GiB), ask(64, 1)).decisions.linear_inputs,
            DType::kI8);
  ask_f32.linear_inputs = DType::kBF16;
  EXPECT_THROW(make_choices(source_of(tiny()), cpu(1_GiB), ask_f32), Error);
}

TEST(Choices, Fp8InputsWantFp8WeightsAndADeviceThatMultipliesThem) {
  PlanRequest ask_fp8 = ask(64, 1);
  ask_fp8.linear_inputs = DType::kF8E4M3;
  const auto code_of = [&](const DeviceCard& device) {
    try {
      make_choices(source_of(tiny()), device, ask_fp8);
    } catch (const Error& error) {
      return error.code();
    }
    return ErrorCode::kInternal;
  };
  EXPECT_EQ(code_of(cpu(1_GiB)), ErrorCode::kUsage);  // no fp8 weights
  ask_fp8.weights = DType::kFp8Block;                 // a scale a block
  EXPECT_EQ(code_of(cpu(1_GiB)), ErrorCode::kUsage);
  ask_fp8.weights = DType::kFp8Channel;
  EXPECT_EQ(code_of(device_card("a100-sxm-80gb")), ErrorCode::kUnsupported);
  for (const DeviceCard& device : {cpu(1_GiB), device_card("h100-sxm-80gb")}) {
    EXPECT_EQ(make_choices(source_of(tiny()), device, ask_fp8).decisions.linear_inputs,
              DType::kF8E4M3);
  }
}

TEST(Choices, WhatWasAskedForIsNoAssumption) {
  PlanRequest all = ask(4096, 2);
  all.output = 7_tokens;
  all.prefill_chunk = 99_tokens;
  all.weights = DType::kQ8_0;
  all.kv_format = KvFormat::kF32;
  all.block_tokens = 32;
  all.attention = AttentionAlgorithm::kNaive;
  all.linear_inputs = DType::kI8;
  all.threads = 3;
  all.capacity = 1_MiB;
  all.seed = 42;
  const Choices choices = make_choices(source_of(tiny()), cpu(1_GiB), all);
  EXPECT_TRUE(choices.assumptions.empty()) << choices.assumptions.front().what;
  const Decisions& d = choices.decisions;
  EXPECT_EQ(d.output.n, 7);
  EXPECT_EQ(d.prefill_chunk.n, 99);
  EXPECT_EQ(*d.weights, DType::kQ8_0);
  EXPECT_EQ(d.block.n, 32);
  EXPECT_EQ(d.kv_blocks.n, 2 * 128);
  EXPECT_EQ(d.threads, 3);
  EXPECT_EQ(d.capacity, 1_MiB);
  EXPECT_EQ(d.seed, 42U);
}

TEST(Choices, TimesOfOtherThreadsThanTheCardWasTimedWithAreListed) {
  PlanRequest request = ask(4096, 1);
  DeviceCard timed = cpu(1_GiB);  // of 4 cores
  timed.op_costs = {{"add", "any", 1e-6, 0, 0}};
  request.threads = 2;
  const char* const flag = "calibrate --threads";
  EXPECT_EQ(value_of(make_choices(source_of(tiny()), timed, request), flag),
            "those of 4 threads, which the card was timed with");
  EXPECT_EQ(value_of(make_choices(source_of(tiny()), cpu(1_GiB), request), flag), "")
      << "nobody timed that card";
  request.replicas = 2;  // of two threads each
  EXPECT_EQ(value_of(make_choices(source_of(tiny()), timed, request), flag), "");
}

TEST(Choices, ContradictionsNameTheirFlag) {
  const auto flag_of = [](PlanRequest request) {
    try {
      make_choices(source_of(tiny()), cpu(1_GiB), request);
    } catch (const Error& error) {
      EXPECT_EQ(error.code(), ErrorCode::kUsage);
      return error.field();
    }
    return std::string("accepted");
  };
  EXPECT_EQ(flag_of(ask(1, 1)), "--context");
  EXPECT_EQ(flag_of(ask(0, 1)), "--context");
  EXPECT_EQ(flag_of(ask(100, 0)), "--batch");
  EXPECT_EQ(flag_of(ask(100, -3)), "--batch");
  PlanRequest request = ask(100, 1);
  request.output = 100_tokens;
  EXPECT_EQ(flag_of(request), "--output-tokens");
  request.output = {};
  request.capacity = 2_GiB;
  EXPECT_EQ(flag_of(request), "--capacity");
  request.capacity = {};
  request.block_tokens = 0;
  EXPECT_EQ(flag_of(request), "--block-size");
  request.block_tokens = {};
  request.threads = 0;
  EXPECT_EQ(flag_of(request), "--threads");
  request.threads = {};
  request.prefill_chunk = Tokens{0};
  EXPECT_EQ(flag_of(request), "--prefill-chunk");
}

TEST(Choices, AssumedDeviceValuesAndLongContextsAreNamed) {
  DeviceCard device = cpu(1_GiB);
  device.launch_s.evidence = Evidence::kAssumed;
  ModelCard card = tiny();
  card.context_limit = 1000;
  const Choices choices = make_choices(source_of(card), device, ask(2000, 1));
  EXPECT_EQ(value_of(choices, "--device"), "2e-06");
  EXPECT_NE(value_of(choices, "--context").find("was made for 1000"), std::string::npos);
}

TEST(Choices, SinksAndAWindowAreChosenOrRefusedByName) {
  PlanRequest request;
  request.kv_policy = KvPolicy::kSinkWindow;
  const auto choices = [&](const ModelCard& card) {
    return make_choices(source_of(card), gpu_80gb(), request);
  };
  EXPECT_EQ(choices(tiny()).decisions.kv_keep, (KvKeep{4_tokens, 1024_tokens}));
  request.kv_sinks = 0_tokens;
  request.kv_window = 64_tokens;
  request.context = 4096_tokens;
  request.prefill_chunk = 512_tokens;
  const Decisions d = choices(tiny()).decisions;
  EXPECT_EQ(d.kv_keep, (KvKeep{0_tokens, 64_tokens}));
  ASSERT_EQ(d.window_pools.size(), 1U);
  EXPECT_EQ(d.window_pools[0].window, 64_tokens);
  EXPECT_EQ(code_of([&] { choices(gpt2()); }), ErrorCode::kUnsupported);
  ModelCard windowed = tiny();
  windowed.layers[0].mixer.kind = MixerKind::kSlidingWindow;
  windowed.layers[0].mixer.window_tokens = 32;
  EXPECT_EQ(code_of([&] { choices(windowed); }), ErrorCode::kUnsupported);
  request.kv_policy = KvPolicy::kKeepAll;
  std::string text;
  EXPECT_EQ(code_of([&] { choices(tiny()); }, &text), ErrorCode::kUsage);
  EXPECT_NE(text.find("--kv-sinks"), std::string::npos);
}

TEST(Choices, BeamsAreAGroupOfSequencesThatShareAPrompt) {
  PlanRequest request;
  request.context = 100_tokens;
  request.beams = 3;
  const auto choices = [&] { return make_choices(source_of(tiny()), cpu(1_GiB), request); };
  EXPECT_EQ(choices().decisions.batch, 3);  // one prompt
  EXPECT_EQ(choices().decisions.samples, 3);
  EXPECT_TRUE(choices().decisions.beam_search);
  request.batch = 4;
  std::string text;
  EXPECT_EQ(code_of([&] { choices(); }, &text), ErrorCode::kUsage);
  EXPECT_NE(text.find("--beams"), std::string::npos);
  request.batch = 6;
  EXPECT_EQ(choices().decisions.kv_blocks, kv_blocks(choices().decisions));
  request.samples = 3;
  EXPECT_EQ(code_of([&] { choices(); }), ErrorCode::kUsage);
  request.samples = {};
  request.kv_policy = KvPolicy::kSinkWindow;
  EXPECT_EQ(code_of([&] { choices(); }), ErrorCode::kUnsupported);
}

TEST(Choices, ABudgetByAttentionIsChosenOrRefusedByName) {
  PlanRequest request = ask(4000, 1);
  request.kv_policy = KvPolicy::kMass;
  const auto choices = [&](const ModelCard& card) {
    return make_choices(source_of(card), cpu(1_GiB), request);
  };
  EXPECT_EQ(choices(tiny()).decisions.kv_keep, (KvKeep{{}, {}, 800_tokens}));  // a fifth
  ModelCard card = tiny();
  // Static scaling turns keys by their own positions, as with the whole cache.
  for (Layer& layer : card.layers) layer.mixer.rope.scaling = "linear";
  EXPECT_EQ(choices(card).decisions.kv_keep.budget, 800_tokens);
  // A kind that nobody knows may turn them by the length, which the budget cuts.
  for (Layer& layer : card.layers) layer.mixer.rope.scaling = "other";
  EXPECT_EQ(code_of([&] { choices(card); }), ErrorCode::kUnsupported);
  card = tiny();
  card.context_limit = 3999;  // positions stay true, so a budget does not stretch a model
  EXPECT_EQ(code_of([&] { choices(card); }), ErrorCode::kUnsupported);
  card = tiny();
  card.layers[0].mixer.kind = MixerKind::kSlidingWindow;
  card.layers[0].mixer.window_tokens = 32;
  EXPECT_EQ(code_of([&] { choices(card); }), ErrorCode::kUnsupported);
  request.kv_budget = 60_tokens;  // the protected tokens alone
  std::string text;
  EXPECT_EQ(code_of([&] { choices(tiny()); }, &text), ErrorCode::kUsage);
  EXPECT_NE(text.find("--kv-budget"), std::string::npos);
  request.kv_budget = {};
  request.kv_layout = KvLayout::kContiguous;
  EXPECT_EQ(code_of([&] { choices(tiny()); }), ErrorCode::kUnsupported);
}

}  // namespace
}  // namespace vramplan
