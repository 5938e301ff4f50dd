#include "planner/engines/twin.h"

#include <gtest/gtest.h>

#include "modelcards/library.h"

namespace vramplan {
namespace {

EngineSettings settled(const char* engine, const char* card, int tp, EngineRequest request) {
  ModelSource source;
  source.card = model_card(card);
  Decisions d;
  d.sharding.tp = d.device_count = tp;
  request.id = parse_engine(engine);
  std::vector<Assumption> assumptions;
  return engine_settings(engine_table(request.id), source, {}, d, request, assumptions);
}

// server_args.py divides both by the groups; attention and the input table are whole on each of
// them, dense layers and the head lie over all ranks.
TEST(Twin, SglangsGroupsShareItsLimits) {
  EngineRequest request;
  request.max_model_len = Tokens{4096};
  request.attention_dp = 4;
  request.max_num_seqs = 256;
  request.max_num_batched_tokens = Tokens{8192};
  const EngineSettings s = settled("sglang", "deepseek-v3", 8, request);
  EXPECT_EQ(s.max_num_seqs, 64);
  EXPECT_EQ(s.max_num_batched_tokens, Tokens{2048});
  EXPECT_TRUE(s.formats.groups.whole_head && s.formats.groups.whole_feed_forward);
  EXPECT_FALSE(s.formats.groups.whole_embedding);
  const EngineSettings vllm = settled("vllm@0.19.0", "deepseek-v3", 8, request);
  EXPECT_EQ(vllm.max_num_seqs, 256) << "of one group";
  EXPECT_FALSE(vllm.formats.groups.whole_head);
}

EngineOutcome forecast(const char* engine, const char* card, int pp, EngineRequest request) {
  ModelSource source;
  source.card = model_card(card);
  const DeviceCard device = device_card("h100-sxm-80gb");
  Decisions d;
  d.sharding.pp = d.device_count = pp;
  d.capacity = {device.capacity_bytes.value};
  d.context = Tokens{8192};
  request.id = parse_engine(engine);
  return forecast_engine(source, device, d, request);
}

// A scheduler hands out blocks to all stages alike.
TEST(Twin, EveryStageServesWhatTheFullestOneCan) {
  const EngineOutcome out = forecast("vllm@0.19.0", "llama-3.1-8b", 4, {});
  double least = out.devices.front().max_concurrency;
  for (const EngineForecast& rank : out.devices) least = std::min(least, rank.max_concurrency);
  for (const EngineForecast& rank : out.devices) {
    EXPECT_DOUBLE_EQ(rank.max_concurrency, least);
  }
}

// A layer of Gemma 3 27B: 2 x 16 heads x 128 elements of 2 B a token, at most the longest context,
// which is shorter than its window of 1,024 here.
TEST(Twin, UnpackedLayersAreNoLongerThanTheContext) {
  EngineRequest request;
  request.kv_cache_dtype = "q4_0";
  request.max_model_len = Tokens{512};
  EXPECT_EQ(forecast("llamacpp", "gemma-3-27b", 1, request).devices.front().transient.n,
            2LL * 2 * 16 * 128 * 512);
}

// What this executor's planner shares between ranks is no plan of an engine's.
TEST(Twin, RanksOfThisPlannerAloneAreRefused) {
  ModelSource source;
  source.card = model_card("llama-3.1-8b");
  Decisions d;
  d.sharding.cp = d.device_count = 2;
  EngineRequest request;
  request.id = parse_engine("vllm");
  EXPECT_THROW(forecast_engine(source, device_card("h100-sxm-80gb"), d, request), Error);
}

}  // namespace
}  // namespace vramplan
