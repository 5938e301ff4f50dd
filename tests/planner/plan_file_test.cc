// write_plan and read_plan.
#include <gtest/gtest.h>

#include "cards.h"
#include "planner/kv_mix.h"
#include "planner/weight_mix.h"

namespace vramplan {
namespace {

using namespace test;

Plan sample() {
  PlanRequest request = ask(4'096, 3);
  request.model = "models/\"quoted\": #1.gguf";
  request.set = {"layers.kv_heads=8", "vocab=128256"};
  request.seed = 0xfedcba9876543210ULL;
  request.count = 8;
  request.tp = 4;
  request.weights = DType::kQ8_0;
  return plan_of(llama_3_70b(), gpu_80gb(), request);
}

TEST(PlanFile, RoundTripsToTheByte) {
  for (const Plan& plan : {sample(), plan_of(tiny(), cpu(1_GiB), ask(64, 1)),
                           plan_of(llama_3_70b(), gpu_80gb(), ask(64, 1))}) {
    const std::string text = write_plan(plan);
    EXPECT_EQ(write_plan(read_plan(text, "plan.yaml")), text);
  }
}

TEST(PlanFile, EveryDecisionReadsBackExactly) {
  const Plan plan = sample();
  const Plan back = read_plan(write_plan(plan), "plan.yaml");
  const Decisions &a = plan.decisions, &b = back.decisions;
  EXPECT_EQ(a.model, b.model);
  EXPECT_EQ(a.set, b.set);
  EXPECT_EQ(a.card_hash, b.card_hash);
  EXPECT_EQ(a.device, b.device);
  EXPECT_EQ(b.device_count, 8);
  EXPECT_EQ(b.sharding.tp, 4);
  EXPECT_EQ(b.sharding.pp, 2);
  EXPECT_EQ(a.weights, b.weights);
  EXPECT_EQ(a.activations, b.activations);
  EXPECT_EQ(a.kv_format, b.kv_format);
  EXPECT_EQ(a.block, b.block);
  EXPECT_EQ(a.kv_blocks, b.kv_blocks);
  EXPECT_EQ(a.context, b.context);
  EXPECT_EQ(a.output, b.output);
  EXPECT_EQ(a.batch, b.batch);
  EXPECT_EQ(a.prefill_chunk, b.prefill_chunk);
  EXPECT_EQ(a.attention, b.attention);
  EXPECT_EQ(a.threads, b.threads);
  EXPECT_EQ(b.seed, 0xfedcba9876543210ULL);
  EXPECT_EQ(a.capacity, b.capacity);
}

TEST(PlanFile, PredictionsReadBackExactly) {
  const Plan plan = sample();
  const Plan back = read_plan(write_plan(plan), "plan.yaml");
  const Predictions &p = plan.predictions, &q = back.predictions;
  ASSERT_EQ(p.ledger.rows().size(), q.ledger.rows().size());
  for (std::size_t i = 0; i < p.ledger.rows().size(); ++i) {
    const LedgerRow &r = p.ledger.rows()[i], &s = q.ledger.rows()[i];
    EXPECT_EQ(r.rank, s.rank);
    EXPECT_EQ(r.tier, s.tier);
    EXPECT_EQ(r.category, s.category);
    EXPECT_EQ(r.name, s.name);
    EXPECT_EQ(r.phase, s.phase);
    EXPECT_EQ(r.bytes, s.bytes);
    EXPECT_EQ(r.formula, s.formula);
  }
  EXPECT_EQ(p.performance.tpot, q.performance.tpot);
  EXPECT_EQ(p.performance.decode_terms.size(), q.performance.decode_terms.size());
  EXPECT_EQ(p.curve.size(), q.curve.size());
  EXPECT_EQ(p.advice, q.advice);
  EXPECT_EQ(p.fits, q.fits);
  EXPECT_EQ(plan.assumptions.size(), back.assumptions.size());
}

TEST(PlanFile, TheEngineAndTheAssumedFamilyReadBackExactly) {
  Plan plan = sample();
  EngineDecision engine;
  engine.engine = "vllm@0.19.0";
  engine.memory_fraction = 0.925;
  engine.max_model_len = Tokens{8192};
  engine.max_num_seqs = 256;
  engine.kv_cache_memory = Bytes{5'000'000'000};
  engine.kv_cache_dtype = "fp8";
  engine.quantization = "awq";
  engine.quantized_parts = "experts";
  engine.tower = Bytes{423'404'400};
  engine.beside = Bytes{1};
  engine.tower_shape = {21904, 16};
  engine.flash_attention = false;
  engine.serving = ServingDecision{{1024}, {512}, 64, "steady"};
  plan.engine = engine;
  plan.decisions.assume_like = "llama: #1";
  const std::string text = write_plan(plan);
  const Plan back = read_plan(text, "plan.yaml");
  EXPECT_EQ(back.engine, engine);
  EXPECT_EQ(back.decisions.assume_like, "llama: #1");
  EXPECT_EQ(write_plan(back), text);
  EXPECT_FALSE(read_plan(write_plan(sample()), "plan.yaml").engine);
  std::string broken = text;
  broken.replace(broken.find("concurrency: 64"), 15, "concurrency: 0 ");
  EXPECT_EQ(code_of([&] { read_plan(broken, "plan.yaml"); }), ErrorCode::kBadYaml);
}

TEST(PlanFile, WhatAPolicyKeepsReadsBack) {
  Plan plan = sample();
  plan.decisions.kv_policy = KvPolicy::kMass;
  plan.decisions.kv_keep = {{}, {}, Tokens{816}};
  plan.decisions.kv_score = KvScore::kDecayed;
  plan.decisions.window_pools = {{Tokens{0}, Blocks{99}}};
  const std::string text = write_plan(plan);
  const Decisions back = read_plan(text, "plan.yaml").decisions;
  EXPECT_EQ(back.kv_keep, plan.decisions.kv_keep);
  EXPECT_EQ(back.kv_score, KvScore::kDecayed);
  EXPECT_EQ(back.window_pools, plan.decisions.window_pools);
  EXPECT_FALSE(back.beam_search);
  plan.decisions.beam_search = true;
  EXPECT_TRUE(read_plan(write_plan(plan), "plan.yaml").decisions.beam_search);
  std::string broken = text;
  broken.replace(broken.find("score: decayed"), 14, "score: decades");
  EXPECT_EQ(code_of([&] { read_plan(broken, "plan.yaml"); }), ErrorCode::kBadYaml);
}

TEST(PlanFile, FormatsOfLayersReadBack) {
  Plan plan = sample();
  plan.decisions.kv_format = KvFormat::kKivi2;
  plan.decisions.kv_full_heads = KvHeads{5};
  plan.decisions.kv_layers = parse_kv_layers("0-1:f16,7:kivi4/3", "");
  plan.decisions.kv_residual = {Tokens{128}, 1, Blocks{4}, Blocks{9}};
  const std::string text = write_plan(plan);
  const Decisions back = read_plan(text, "plan.yaml").decisions;
  EXPECT_EQ(back.kv_full_heads, plan.decisions.kv_full_heads);
  EXPECT_EQ(back.kv_layers, plan.decisions.kv_layers);
  EXPECT_EQ(back.kv_residual, plan.decisions.kv_residual);
  EXPECT_EQ(write_plan(read_plan(text, "plan.yaml")), text);
  for (const auto& [good, bad] : {std::pair{"0-1:f16", "1-0:f16"}, {"\"0,2\"", "\"0,64\""}}) {
    std::string broken = text;
    broken.replace(broken.find(good), std::string(good).size(), bad);
    try {
      read_plan(broken, "plan.yaml");
      ADD_FAILURE() << bad;
    } catch (const Error& error) {
      EXPECT_EQ(error.code(), ErrorCode::kBadYaml);
      EXPECT_NE(error.field().find("kv_"), std::string::npos) << error.field();
    }
  }
}

TEST(PlanFile, WeightFormatsOfLayersReadBack) {
  Plan plan = sample();
  plan.decisions.weights = DType::kQ4_0;
  plan.decisions.weight_layers = parse_weight_layers("0-3:q8_0,7:stored", "");
  const std::string text = write_plan(plan);
  EXPECT_EQ(read_plan(text, "plan.yaml").decisions.weight_layers, plan.decisions.weight_layers);
  EXPECT_EQ(write_plan(read_plan(text, "plan.yaml")), text);
  std::string broken = text;
  broken.replace(broken.find("7:stored"), 8, "7:storee");
  try {
    read_plan(broken, "plan.yaml");
    ADD_FAILURE();
  } catch (const Error& error) {
    EXPECT_EQ(error.code(), ErrorCode::kBadYaml);
    EXPECT_NE(error.field().find("weight_layers"), std::string::npos) << error.field();
  }
}

TEST(PlanFile, BrokenFilesNameTheirField) {
  const std::string good = write_plan(sample());
  const auto broken = [&](const std::string& from, const std::string& to) {
    std::string text = good;
    const std::size_t at = text.find(from);
    EXPECT_NE(at, std::string::npos) << from;
    text.replace(at, from.size(), to);
    std::string message;
    EXPECT_EQ(code_of([&] { read_plan(text, "plan.yaml"); }, &message), ErrorCode::kBadYaml) << to;
    EXPECT_NE(message.find("plan.yaml"), std::string::npos) << message;
    return message;
  };
  broken("vramplan.plan/1", "vramplan.plan/2");
  broken("  batch: 3", "  batch: 0");
  broken("  batch: 3", "  bach: 3");
  broken("  batch: 3", "  batch: 99999999999999999999");
  broken("kv_format: bf16", "kv_format: q4_9");
  broken("kv_policy: keep_all", "kv_policy: windows");
  broken("  output_tokens: 128", "  output_tokens: 4096");
  broken("card_hash: \"0x", "card_hash: \"0xg");
  EXPECT_NE(broken("phase: load", "phase: lode").find("phase"), std::string::npos);
}

TEST(PlanFile, MoreRanksThanThereCanBeAreRefused) {
  const std::string good = write_plan(plan_of(tiny(), gpu_80gb(), ask(64, 1)));
  const std::string was = "tp: 1, pp: 1, cp: 1, ep: 1";
  ASSERT_NE(good.find(was), std::string::npos);
  for (const char* hostile : {"tp: 65536, pp: 1, cp: 65536, ep: 1", "tp: 2, pp: 1, cp: 1, ep: 3",
                              "tp: 65536, pp: 65536, cp: 65536, ep: 1"}) {
    std::string text = good;
    text.replace(text.find(was), was.size(), hostile);
    EXPECT_EQ(code_of([&] { read_plan(text, "plan.yaml"); }), ErrorCode::kBadYaml) << hostile;
  }
}

TEST(PlanFile, DevicesAreAsManyAsRanks) {
  std::string text = write_plan(plan_of(tiny(), gpu_80gb(), ask(64, 1)));
  const std::string was = "device_count: 1";
  text.replace(text.find(was), was.size(), "device_count: 2");
  EXPECT_EQ(code_of([&] { read_plan(text, "plan.yaml"); }), ErrorCode::kBadYaml);
}

}  // namespace
}  // namespace vramplan
