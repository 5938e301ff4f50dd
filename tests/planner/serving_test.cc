#include "planner/serving.h"

#include <gtest/gtest.h>

#include <rapidcheck/gtest.h>

#include "modelcards/library.h"

namespace vramplan {
namespace {

ServingForecast serve(const char* engine, std::int64_t concurrency, std::int64_t input,
                      std::int64_t output, int tp = 1, const char* card = "llama-3.1-8b",
                      int pp = 1) {
  ModelSource source;
  source.card = model_card(card);
  const DeviceCard device = device_card("h100-sxm-80gb");
  Decisions d;
  d.sharding.tp = tp;
  d.sharding.pp = pp;
  d.device_count = tp * pp;
  d.context = Tokens{input + output};
  d.capacity = {device.capacity_bytes.value};
  EngineRequest request;
  request.id = parse_engine(engine);
  request.max_num_seqs = 1024;
  const EngineOutcome outcome = forecast_engine(source, device, d, request);
  return forecast_serving(source, device, d, request, outcome.devices.front(),
                          {{input}, {output}, concurrency});
}

// A step reads 15 GB of weights once: at 3.35 TB/s no faster than 4.5 ms.
TEST(Serving, OneRequestIsNearTheMemoryFloor) {
  const ServingForecast s = serve("vllm", 1, 1024, 1024);
  EXPECT_GT(s.tpot.v, 15.0e9 / 3.35e12);
  EXPECT_LT(s.tpot.v, 3 * 15.0e9 / 3.35e12);
}

TEST(Serving, RequestsBeyondTheCacheWait) {
  const ServingForecast few = serve("trtllm", 8, 8192, 1024);
  const ServingForecast many = serve("trtllm", 1000, 8192, 1024);
  EXPECT_DOUBLE_EQ(few.running, 8);
  EXPECT_LT(many.running, 100);
  EXPECT_GT(many.ttft.v, 10 * few.ttft.v);
}

TEST(Serving, MoreRanksMakeAPrefillShorter) {
  EXPECT_LT(serve("vllm", 1, 8192, 128, 8).ttft.v, serve("vllm", 1, 8192, 128, 1).ttft.v);
}

TEST(Serving, RequestsASecondFollowFromTheTimesOfOne) {
  const ServingForecast s = serve("sglang", 16, 1000, 500);
  EXPECT_NEAR(s.requests_per_second, 16 / (s.ttft.v + 499 * s.tpot.v), 1e-9);
  EXPECT_NEAR(s.tokens_per_second, 500 * s.requests_per_second, 1e-9);
}

RC_GTEST_PROP(Serving, MoreLoadIsNeverFaster, ()) {
  const std::int64_t a = *rc::gen::inRange(1, 400), b = *rc::gen::inRange(1, 400);
  const char* engine = *rc::gen::element("vllm", "trtllm", "sglang");
  const ServingForecast low = serve(engine, std::min(a, b), 1024, 256);
  const ServingForecast high = serve(engine, std::max(a, b), 1024, 256);
  RC_ASSERT(low.tpot.v <= high.tpot.v);
  RC_ASSERT(low.ttft.v <= high.ttft.v);
}

// A prompt that is held back for 20 steps comes as many steps later as the engine's runs showed.
TEST(Serving, BatchWaitingAddsItsSteps) {
  ModelSource source;
  source.card = model_card("llama-3.1-70b");
  const DeviceCard device = device_card("h200-sxm-141gb");
  Decisions d;
  d.sharding.tp = d.device_count = 2;
  d.context = {2048};
  d.capacity = {device.capacity_bytes.value};
  EngineRequest request;
  request.id = parse_engine("trtllm");
  request.quantization = "fp8";
  const EngineOutcome outcome = forecast_engine(source, device, d, request);
  ServingLoad load{{1024}, {1024}, 8};
  const ServingForecast a =
      forecast_serving(source, device, d, request, outcome.devices.front(), load);
  load.batch_wait_steps = 20;
  const ServingForecast b =
      forecast_serving(source, device, d, request, outcome.devices.front(), load);
  EXPECT_DOUBLE_EQ(a.tpot.v, b.tpot.v);
  const double wait = engine_table(request.id).number("serve_wait");
  EXPECT_NEAR(b.ttft.v - a.ttft.v, 20 * wait * a.tpot.v, 1e-12);
  // A release whose runs on this device in this format are published has their errors, and another
  // release those of set-ups that nobody measured.
  EXPECT_GT(b.ttft_error, 0);
  load.release = "unstated";
  const ServingForecast published =
      forecast_serving(source, device, d, request, outcome.devices.front(), load);
  EXPECT_NE(published.ttft.v, b.ttft.v);
  EXPECT_DOUBLE_EQ(published.tpot_error, engine_table(request.id).number("serve_tpot_error"));
  EXPECT_DOUBLE_EQ(b.tpot_error, engine_table(request.id).number("serve_tpot_error_elsewhere"));
  EXPECT_EQ(parse_arrival("steady"), Arrival::kSteady);
  EXPECT_THROW(parse_arrival("poisson"), Error);
}

// One request is in one stage at a time: a step of a pipeline reads the same weights, one stage
// after another, and hands a vector on. Many requests keep all stages busy.
TEST(Serving, APipelineIsSlowForOneAndSharesForMany) {
  const char* card = "llama-3.1-70b";
  const double one = serve("vllm", 1, 1024, 256, 4, card, 1).tpot.v;
  const double staged = serve("vllm", 1, 1024, 256, 4, card, 2).tpot.v;
  EXPECT_GT(staged, one);
  EXPECT_LT(staged, 1.2 * one);
  const double wide = serve("vllm", 64, 4096, 256, 4, card, 1).tokens_per_second;
  EXPECT_GT(serve("vllm", 64, 4096, 256, 4, card, 4).tokens_per_second, wide);
}

TEST(Serving, RanksWithWholeExpertsWaitForTheBusiest) {
  ModelSource source;
  source.card = model_card("qwen3-30b-a3b");
  const DeviceCard device = device_card("h100-sxm-80gb");
  Decisions d;
  d.sharding.tp = d.device_count = 4;
  d.context = {2048};
  d.capacity = {device.capacity_bytes.value};
  EngineRequest request;
  request.id = parse_engine("vllm");
  const ServingLoad load{{1024}, {1024}, 32};
  const auto experts = [&] {
    return serving_terms(source, device, d, request, load).steps[0].experts;
  };
  const double split = experts();
  request.expert_parallel = 4;
  EXPECT_GT(experts(), split);      // chance is not even
  EXPECT_LT(experts(), 2 * split);  // but nearly
  request.expert_parallel = 2;      // vLLM has all ranks or none
  EXPECT_THROW(experts(), Error);
  request.id = parse_engine("sglang");
  EXPECT_NO_THROW(experts());
  request.expert_parallel = 3;
  EXPECT_THROW(experts(), Error);
}

// With everything kept, k drafts divide a step that is bound by memory by nearly k + 1.
TEST(Serving, DraftsMakeATokenShorterAndFewRequestsGainMost) {
  ModelSource source;
  source.card = model_card("llama-3.1-70b");
  const DeviceCard device = device_card("h200-sxm-141gb");
  Decisions d;
  d.sharding.tp = d.device_count = 4;
  d.context = {2048};
  d.capacity = {device.capacity_bytes.value};
  EngineRequest request;
  request.id = parse_engine("vllm");
  const auto tpot = [&](std::int64_t requests, const char* method, double acceptance) {
    request.speculation.method = method;
    request.speculation.tokens = 3;
    request.speculation.acceptance = acceptance;
    const EngineOutcome outcome = forecast_engine(source, device, d, request);
    return forecast_serving(source, device, d, request, outcome.devices.front(),
                            {{1024}, {1024}, requests})
        .tpot.v;
  };
  const double one = tpot(1, "none", 0);
  EXPECT_NEAR(one / tpot(1, "ngram", 1), 4, 0.6);
  EXPECT_LT(tpot(1, "eagle3", 0.7), one);
  EXPECT_GT(tpot(1, "eagle3", 0), one);  // drafts that are never kept cost
  EXPECT_GT(tpot(256, "eagle3", 0.7) / tpot(256, "none", 0), tpot(1, "eagle3", 0.7) / one);
}

// Groups read less of the cache each, and hold a copy of the attention's weights each.
TEST(Serving, AttentionGroupsHoldMoreOfALatentCache) {
  ModelSource source;
  source.card = model_card("deepseek-v3");
  const DeviceCard device = device_card("h200-sxm-141gb");
  Decisions d;
  d.sharding.tp = d.device_count = 8;
  d.context = {8192};
  d.capacity = {device.capacity_bytes.value};
  EngineRequest request;
  request.id = parse_engine("sglang");
  request.quantization = "fp8_block";
  const auto run = [&](int groups) {
    request.attention_dp = groups;
    const EngineOutcome outcome = forecast_engine(source, device, d, request);
    const EngineForecast f = outcome.devices.front();
    return std::pair(f, forecast_serving(source, device, d, request, f, {{8000}, {1000}, 512}));
  };
  const auto [one, slow] = run(1);
  const auto [eight, fast] = run(8);
  EXPECT_GT(eight.weights, one.weights);
  EXPECT_LT(eight.weights, one.weights + 20_GiB);
  EXPECT_GT(8 * eight.kv_tokens.n, 5 * one.kv_tokens.n);  // all groups together
  EXPECT_GT(fast.running, slow.running);
  EXPECT_GT(fast.tokens_per_second, slow.tokens_per_second);
  request.attention_dp = 3;
  EXPECT_THROW(forecast_engine(source, device, d, request), Error);
  request.id = parse_engine("llamacpp");
  request.attention_dp = 8;
  EXPECT_THROW(forecast_engine(source, device, d, request), Error);
}

// Eight ranks hold eight copies of a latent cache, or an eighth of its tokens each.
TEST(Serving, RanksMayShareTheTokensOfALatentCache) {
  ModelSource source;
  source.card = model_card("deepseek-v3");
  const DeviceCard device = device_card("h200-sxm-141gb");
  Decisions d;
  d.sharding.tp = d.device_count = 8;
  d.context = {32768};
  d.capacity = {device.capacity_bytes.value};
  EngineRequest request;
  request.id = parse_engine("vllm");
  request.quantization = "fp8_block";
  const auto run = [&](int ranks) {
    request.context_parallel = ranks;
    return forecast_engine(source, device, d, request).devices.front();
  };
  const EngineForecast copies = run(1), shared = run(8);
  EXPECT_EQ(shared.kv, copies.kv);
  EXPECT_EQ(shared.kv_tokens.n, 8 * copies.kv_tokens.n);
  EXPECT_NEAR(shared.max_concurrency / copies.max_concurrency, 8, 0.01);
  EXPECT_THROW(run(3), Error);
  source.card = model_card("llama-3.1-70b");  // 8 kv heads on 8 ranks: nothing is held twice
  EXPECT_THROW(run(2), Error);
  request.id = parse_engine("trtllm");
  EXPECT_THROW(run(8), Error);
}

// Every second layer of gpt-oss looks at 128 tokens. TensorRT-LLM keeps all of them in every layer
// unless it is told; then the pool of the other layers holds about twice the requests.
TEST(Serving, WindowsLetMoreRequestsRunInTensorRt) {
  ModelSource source;
  source.card = model_card("gpt-oss-120b");
  const DeviceCard device = device_card("h100-sxm-80gb");
  Decisions d;
  d.sharding.tp = d.device_count = 2;
  d.context = {5000};
  d.capacity = {device.capacity_bytes.value};
  EngineRequest request;
  request.id = parse_engine("trtllm");
  request.quantization = "mxfp4";
  request.max_num_seqs = 4096;
  const auto running = [&] {
    const EngineForecast f = forecast_engine(source, device, d, request).devices.front();
    return forecast_serving(source, device, d, request, f, {{4000}, {1000}, 4096}).running;
  };
  const double all = running();
  request.attention_windows = {128, 5000};
  EXPECT_NEAR(running() / all, 2, 0.1);
}

// What a front end cannot stream in time is waited for; far below its rate it adds next to nothing.
TEST(Serving, AFrontEndTakesOverGradually) {
  ModelSource source;
  source.card = model_card("llama-3.1-8b");
  const DeviceCard device = device_card("h100-sxm-80gb");
  Decisions d;
  d.sharding.tp = d.device_count = 8;
  d.context = {1536};
  d.capacity = {device.capacity_bytes.value};
  EngineRequest request;
  request.id = parse_engine("trtllm");
  request.max_num_seqs = 256;
  const EngineForecast f = forecast_engine(source, device, d, request).devices.front();
  const auto added = [&](std::int64_t requests) {
    ServingLoad load{{1024}, {512}, requests};
    load.arrival = Arrival::kSteady;
    const double alone = forecast_serving(source, device, d, request, f, load).ttft.v;
    load.front_end = true;
    return forecast_serving(source, device, d, request, f, load).ttft.v - alone;
  };
  EXPECT_GT(added(128), 0.5);
  EXPECT_LT(added(8), 0.01);
  EXPECT_GT(added(8), 0);
}

// A static batch of an engine's own benchmark has no server and no queue before its first token.
TEST(Serving, AStaticBatchIsItsPromptsAndThenItsSteps) {
  ModelSource source;
  source.card = model_card("llama-3.1-8b");
  const DeviceCard device = device_card("h100-sxm-80gb");
  Decisions d;
  d.context = {2048};
  d.capacity = {device.capacity_bytes.value};
  EngineRequest request;
  request.id = parse_engine("trtllm");
  const EngineForecast f = forecast_engine(source, device, d, request).devices.front();
  const auto run = [&](Arrival arrival, std::int64_t requests) {
    ServingLoad load{{1024}, {1024}, requests};
    load.arrival = arrival;
    return forecast_serving(source, device, d, request, f, load);
  };
  EXPECT_LT(run(Arrival::kStatic, 1).ttft.v, run(Arrival::kSteady, 1).ttft.v);
  EXPECT_LT(run(Arrival::kStatic, 32).tpot.v, run(Arrival::kSteady, 32).tpot.v);
  EXPECT_GT(run(Arrival::kStatic, 32).ttft.v, 8 * run(Arrival::kStatic, 1).ttft.v);
  EXPECT_EQ(parse_arrival("static"), Arrival::kStatic);
}

// A release whose host holds up every step is slower by that, whatever the model.
TEST(Serving, HostWorkOfAReleaseIsInEveryStep) {
  ModelSource source;
  source.card = model_card("qwen2.5-0.5b");
  const DeviceCard device = device_card("a100-sxm-80gb");
  Decisions d;
  d.context = {4096};
  d.capacity = {device.capacity_bytes.value};
  EngineRequest request;
  request.id = parse_engine("vllm");
  const EngineForecast f = forecast_engine(source, device, d, request).devices.front();
  ServingLoad load{{1024}, {1024}, 1};
  const double recent = forecast_serving(source, device, d, request, f, load).tpot.v;
  load.release = "0.6.3";
  const double old = forecast_serving(source, device, d, request, f, load).tpot.v;
  EXPECT_NEAR(old - recent,
              served_rates(EngineKind::kVllm, "0.6.3", device.name, Quantization::kNone).step_s,
              1e-9);
}

TEST(Serving, WhatWasNotFittedIsRefusedByName) {
  EXPECT_THROW(serve("vllm", 0, 1024, 128), Error);
  try {
    serve("llamacpp", 2, 1024, 128);
    FAIL() << "no error";
  } catch (const Error& error) {
    EXPECT_EQ(error.code(), ErrorCode::kUnsupported);
  }
}

}  // namespace
}  // namespace vramplan
