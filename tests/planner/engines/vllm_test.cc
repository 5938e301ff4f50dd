#include <gtest/gtest.h>

#include <rapidcheck/gtest.h>

#include "modelcards/library.h"
#include "planner/engines/twin.h"
#include "tests/planner/engines/rig.h"

namespace vramplan {
namespace {

constexpr double kGiB = 1024.0 * 1024.0 * 1024.0;

EngineRequest usual(const char* version = "0.19.0") {
  EngineRequest request;
  request.id = {EngineKind::kVllm, version};
  request.memory_fraction = 0.95;
  request.max_model_len = Tokens{8192};
  request.max_num_batched_tokens = Tokens{8192};
  request.max_num_seqs = 1024;
  return request;
}

EngineOutcome run(const char* card, const EngineRequest& request, int tp = 1, int pp = 1) {
  ModelSource source;
  source.card = model_card(card);
  const DeviceCard device = device_card("h100-sxm-80gb");
  Decisions d;
  d.sharding.tp = tp;
  d.sharding.pp = pp;
  d.device_count = tp * pp;
  d.capacity = {device.capacity_bytes.value};
  return forecast_engine(source, device, d, request);
}

EngineModel layers(std::vector<KvLayers> kv) {
  EngineModel model;
  model.kv = std::move(kv);
  return model;
}

// A published log of this set-up printed 58.11 GiB, 476,016 tokens and 58.11x.
TEST(Vllm, Llama8BOnOneH100IsWhatItsLogPrinted) {
  const EngineForecast f = run("llama-3.1-8b", usual()).devices.front();
  EXPECT_NEAR(static_cast<double>(f.weights.n) / kGiB, 14.99, 0.01);
  EXPECT_NEAR(static_cast<double>(f.kv.n) / kGiB, 58.11, 0.05);
  EXPECT_NEAR(static_cast<double>(f.kv_tokens.n), 476016, 476016 * 0.001);
  EXPECT_NEAR(f.max_concurrency, 58.11, 0.06);
  EXPECT_TRUE(f.boots);
}

TEST(Vllm, CacheIsWhatTheFractionLeaves) {
  const EngineForecast f = run("llama-3.1-8b", usual()).devices.front();
  EXPECT_EQ(f.kv + f.weights + f.activations + f.non_torch, f.available);
  EXPECT_EQ(f.total, f.available + f.graphs);
  EXPECT_LT(f.kv_low, f.kv);
  EXPECT_GT(f.kv_high, f.kv);
}

TEST(Vllm, AnAbsoluteCacheOverridesTheFraction) {
  EngineRequest request = usual();
  request.kv_cache_memory = 10_GiB;
  const EngineForecast f = run("llama-3.1-8b", request).devices.front();
  EXPECT_EQ(f.kv, 10_GiB);
  EXPECT_EQ(f.kv_tokens.n, 10 * 1024 * 1024 * 1024LL / 131072);
}

TEST(Vllm, AModelWithoutRoomDoesNotBoot) {
  EXPECT_FALSE(run("llama-3.1-70b", usual()).fits);
  EXPECT_TRUE(run("llama-3.1-70b", usual(), 4).fits);
}

TEST(Vllm, EveryRankOfAPipelineSharesTheLeastTokens) {
  const EngineOutcome out = run("llama-3.1-8b", usual(), 1, 4);
  ASSERT_EQ(out.devices.size(), 4u);
  for (const EngineForecast& f : out.devices) {
    EXPECT_EQ(f.kv_tokens, out.devices.front().kv_tokens);
    EXPECT_GT(f.kv.n, 0);
  }
  // Only the last stage samples.
  EXPECT_GT(out.devices.back().activations, out.devices.front().activations);
}

TEST(Vllm, AVersionWithoutTableIsAnAssumption) {
  const EngineOutcome out = run("llama-3.1-8b", usual("0.20.0"));
  EXPECT_EQ(out.devices.front().version, "0.20.0");
  EXPECT_EQ(out.devices.front().table, "0.19.0");
  ASSERT_FALSE(out.assumptions.empty());
  EXPECT_EQ(out.assumptions.front().what, "engine version");
}

TEST(Vllm, UnsetFlagsAreListedAsAssumptions) {
  EngineRequest request;
  request.id = {EngineKind::kVllm, "0.19.0"};
  ModelSource source;
  source.card = model_card("llama-3.1-8b");
  Decisions d;
  d.context = Tokens{4096};
  const DeviceCard device = device_card("h100-sxm-80gb");
  d.capacity = {device.capacity_bytes.value};
  const EngineOutcome out = forecast_engine(source, device, d, request);
  std::vector<std::string> flags;
  for (const Assumption& a : out.assumptions) flags.push_back(a.flag);
  EXPECT_EQ(flags, (std::vector<std::string>{"--gpu-memory-utilization", "--max-model-len",
                                             "--max-num-batched-tokens", "--max-num-seqs"}));
}

// gpt-oss: 12 windowed and 12 full layers of 2048 B pages a token: two groups of twelve.
TEST(Vllm, EqualKindsShareOnePoolInTwoGroups) {
  const KvPool pool = kv_pool(layers({{MixerKind::kSlidingWindow, 128, 12, {2048}},
                                      {MixerKind::kFullAttention, 0, 12, {2048}}}),
                              {16}, Tokens{8192}, Tokens{8192});
  EXPECT_EQ(pool.group_layers, 12);
  EXPECT_EQ(pool.groups, 2);
  EXPECT_EQ(pool.page.n, 32768);
  EXPECT_EQ(pool.pages_per_sequence, 512 + 513);
}

// With a draft layer 12 and 13: padded to the longer, because 13 < 1.5 x 12.
TEST(Vllm, NearlyEqualKindsArePaddedToTheLonger) {
  const KvPool pool = kv_pool(layers({{MixerKind::kSlidingWindow, 128, 12, {2048}},
                                      {MixerKind::kFullAttention, 0, 13, {2048}}}),
                              {16}, Tokens{8192}, Tokens{8192});
  EXPECT_EQ(pool.group_layers, 13);
  EXPECT_EQ(pool.groups, 2);
}

// Gemma 3 27B: 52 windowed, 10 full: groups of ten, six of them windowed.
TEST(Vllm, UnequalKindsAreCutIntoGroupsOfTheShorter) {
  const KvPool pool = kv_pool(layers({{MixerKind::kSlidingWindow, 1024, 52, {8192}},
                                      {MixerKind::kFullAttention, 0, 10, {8192}}}),
                              {16}, Tokens{8192}, Tokens{8192});
  EXPECT_EQ(pool.group_layers, 10);
  EXPECT_EQ(pool.groups, 7);
  EXPECT_EQ(pool.pages_per_sequence, 512 + 6 * 513);
}

TEST(Vllm, AChunkedLayerKeepsItsChunkAndTheBatch) {
  const KvPool pool = kv_pool(
      layers({{MixerKind::kChunked, 8192, 36, {1024}}, {MixerKind::kFullAttention, 0, 12, {1024}}}),
      {16}, Tokens{65536}, Tokens{8192});
  EXPECT_EQ(pool.groups, 4);
  EXPECT_EQ(pool.pages_per_sequence, 65536 / 16 + 3 * (16384 / 16));
}

RC_GTEST_PROP(Vllm, MoreOfTheDeviceNeverHoldsFewerTokens, ()) {
  EngineRequest low = usual(), high = usual();
  const int a = *rc::gen::inRange(30, 95), b = *rc::gen::inRange(30, 95);
  low.memory_fraction = std::min(a, b) / 100.0;
  high.memory_fraction = std::max(a, b) / 100.0;
  RC_ASSERT(run("qwen3-8b", low).devices.front().kv_tokens <=
            run("qwen3-8b", high).devices.front().kv_tokens);
}

TEST(Vllm, AFractionOutsideOneIsRefused) {
  EngineRequest request = usual();
  request.memory_fraction = 1.5;
  EXPECT_THROW(run("llama-3.1-8b", request), Error);
  request.memory_fraction = 0;
  EXPECT_THROW(run("llama-3.1-8b", request), Error);
}

// Two rows more a sequence and a copy of the bonus row: 3 x rows x vocab x 2 B. Source:
// gpu_model_runner.py, _dummy_sampler_run.
TEST(Vllm, DraftsAreVerifiedBesideTheSampledRows) {
  test::Rig rig(EngineKind::kVllm, "0.19.0");
  rig.settings.max_num_seqs = 1024;
  const Bytes plain = vllm_rank(rig.input()).activations;
  rig.settings.speculation = {"eagle3", 3, "head", {}};
  EXPECT_NEAR(static_cast<double>((vllm_rank(rig.input()).activations - plain).n),
              3.0 * 1024 * 128256 * 2, 2);
}

// Hidden states and residual of a stage: 2 x 8192 tokens x 4096 x 2 B.
TEST(Vllm, StagesHandTwoTensorsOn) {
  test::Rig rig(EngineKind::kVllm, "0.19.0");
  const Bytes alone = vllm_rank(rig.input()).activations;
  rig.decisions.sharding.pp = 2;
  EXPECT_NEAR(static_cast<double>((vllm_rank(rig.input()).activations - alone).n),
              2.0 * 8192 * 4096 * 2, 2);
}

// Fused experts see the tokens of all groups: 8192 x 8 experts x (max(2 x 768, 2048) + 768) x 2 B
// times the fitted factor for each.
TEST(Vllm, ExpertsWriteTheTokensOfEveryGroup) {
  test::Rig rig(EngineKind::kVllm, "0.19.0");
  rig.model.hidden = 2048;
  rig.model.experts_per_token = 8;
  rig.model.expert_intermediate = 768;
  const Bytes one = vllm_rank(rig.input()).activations;
  rig.model.groups = 2;
  EXPECT_NEAR(static_cast<double>((vllm_rank(rig.input()).activations - one).n),
              rig.table.number("expert_workspace") * 8192 * 8 * (2048 + 768) * 2, 2);
}

// Each of 8 ranks holds 65,536 / 8 tokens of a sequence in 512 pages.
TEST(Vllm, RanksOfOneCacheEachHoldAShareOfASequence) {
  test::Rig rig(EngineKind::kVllm, "0.19.0");
  rig.model.context_ranks = 8;
  rig.settings.kv_cache_memory = Bytes{4096LL * 16 * 32 * 5120};
  const EngineForecast f = vllm_rank(rig.input());
  EXPECT_DOUBLE_EQ(f.max_concurrency, 10);
  EXPECT_EQ(f.kv_tokens, Tokens{5120LL * 16 * 8});
}

// 0.9 of 80 GiB must be free at start: 8 GiB of another process leave it, 9 GiB do not.
TEST(Vllm, AnotherProcessMustLeaveTheFraction) {
  test::Rig rig(EngineKind::kVllm, "0.19.0");
  rig.settings.beside = 8_GiB;
  EXPECT_TRUE(vllm_rank(rig.input()).boots);
  rig.settings.beside = 9_GiB;
  EXPECT_FALSE(vllm_rank(rig.input()).boots);
}

// From 0.21 on the room for graphs is inside the fraction (see the table's source).
TEST(Vllm, NewerVersionsKeepTheirGraphsInsideTheFraction) {
  const EngineForecast before = vllm_rank(test::Rig(EngineKind::kVllm, "0.19.0").input());
  const EngineForecast now = vllm_rank(test::Rig(EngineKind::kVllm, "0.21.0").input());
  EXPECT_EQ(before.kv - now.kv, now.graphs);
  EXPECT_GT(now.graphs, 100_MiB);
  EXPECT_LE(now.total, now.available);
}

}  // namespace
}  // namespace vramplan
