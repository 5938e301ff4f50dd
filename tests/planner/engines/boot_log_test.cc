#include "planner/engines/boot_log.h"

#include <gtest/gtest.h>

#include <rapidcheck/gtest.h>

#include <cmath>

namespace vramplan {
namespace {

constexpr double kGiB = 1024.0 * 1024.0 * 1024.0;

Bytes gib(double value) { return {std::llround(value * kGiB)}; }

const char* const kVllmLog =
    "INFO 04-10 10:00:01 [api_server.py:100] vLLM API server version 0.19.0\n"
    "INFO 04-10 10:00:30 [gpu_model_runner.py:1] Model loading took 14.99 GiB memory and 3.1 s\n"
    "INFO 04-10 10:00:40 [gpu_worker.py:1] Available KV cache memory: 58.11 GiB\n"
    "INFO 04-10 10:00:41 [kv_cache_utils.py:1] GPU KV cache size: 476,016 tokens\n"
    "INFO 04-10 10:00:41 [kv_cache_utils.py:1] Maximum concurrency for 8,192 tokens per request: "
    "58.11x\n"
    "INFO 04-10 10:00:50 [gpu_model_runner.py:1] Graph capturing finished in 9 secs, took 0.91 "
    "GiB\n";

TEST(BootLog, AVllmLogIsRead) {
  const BootLog log = parse_boot_log(kVllmLog);
  EXPECT_EQ(log.engine, EngineKind::kVllm);
  EXPECT_EQ(log.version, "0.19.0");
  EXPECT_EQ(log.weights, gib(14.99));
  EXPECT_EQ(log.kv, gib(58.11));
  EXPECT_EQ(log.graphs, gib(0.91));
  EXPECT_EQ(log.kv_tokens, Tokens{476016});
  EXPECT_EQ(log.max_model_len, Tokens{8192});
  EXPECT_DOUBLE_EQ(log.max_concurrency.value(), 58.11);
}

TEST(BootLog, TheOneLineOfOlderVersionsIsRead) {
  const BootLog log = parse_boot_log(
      "vllm worker: model weights take 14.99GiB; non_torch_memory takes 0.35GiB; PyTorch "
      "activation peak memory takes 1.72GiB; the rest of the memory reserved for KV Cache is "
      "3.81GiB.");
  EXPECT_EQ(log.weights, gib(14.99));
  EXPECT_EQ(log.non_torch, gib(0.35));
  EXPECT_EQ(log.activations, gib(1.72));
  EXPECT_EQ(log.kv, gib(3.81));
}

TEST(BootLog, AnSglangLogIsRead) {
  const BootLog log = parse_boot_log(
      "[TP0] Load weight end. type=Qwen3, dtype=bf16, avail mem=22.1 GB, mem usage=15.54 GB.\n"
      "[TP0] KV Cache is allocated. #tokens: 367404, K size: 8.23 GB, V size: 8.23 GB\n");
  EXPECT_EQ(log.engine, EngineKind::kSglang);
  EXPECT_EQ(log.weights, gib(15.54));
  EXPECT_EQ(log.kv, gib(8.23) + gib(8.23));
  EXPECT_EQ(log.kv_tokens, Tokens{367404});
}

TEST(BootLog, ALlamacppLogIsReadWithoutItsHostBuffers) {
  const BootLog log = parse_boot_log(
      "load_tensors:   CPU_Mapped model buffer size =   245.62 MiB\n"
      "load_tensors:        CUDA0 model buffer size =  5049.71 MiB\n"
      "llama_kv_cache_init:      CUDA0 KV buffer size =   640.00 MiB\n"
      "llama_new_context_with_model:  CUDA_Host compute buffer size =     9.01 MiB\n"
      "llama_new_context_with_model:      CUDA0 compute buffer size =   162.00 MiB\n");
  EXPECT_EQ(log.engine, EngineKind::kLlamacpp);
  EXPECT_EQ(log.weights, Bytes{std::llround(5049.71 * 1048576)});
  EXPECT_EQ(log.kv, 640_MiB);
  EXPECT_EQ(log.compute, 162_MiB);
}

TEST(BootLog, ANegativeSizePrintedUnsignedIsLeftOut) {
  EXPECT_FALSE(parse_log_bytes("17592186036877 MiB", 0).has_value());
  EXPECT_FALSE(parse_log_bytes("-3 MiB", 0).has_value());
  EXPECT_FALSE(parse_log_bytes("12 parsecs", 0).has_value());
  EXPECT_EQ(parse_log_bytes(" = 1,024.5 MiB", 0), Bytes{std::llround(1024.5 * 1048576)});
}

TEST(BootLog, ALogWithoutMemoryIsEmpty) {
  EXPECT_TRUE(parse_boot_log("").empty());
  EXPECT_TRUE(parse_boot_log("Hello\nworld 12 GiB\n").empty());
}

RC_GTEST_PROP(BootLog, NoTextBreaksTheReader, (const std::string& noise)) {
  const BootLog log = parse_boot_log(std::string(kVllmLog) + noise + "\nGPU KV cache size: " + noise);
  RC_ASSERT(log.kv_tokens == Tokens{476016});
}

TEST(BootLog, RowsSayWhichSideTheyMissed) {
  const BootLog log = parse_boot_log(kVllmLog);
  EngineForecast forecast;
  forecast.weights = gib(14.99);
  forecast.kv = gib(50);
  forecast.kv_tokens = Tokens{476016};
  forecast.max_concurrency = 70;
  forecast.graphs = gib(0.91);
  const auto rows = compare_log(log, forecast, 0.03, 256_MiB);
  ASSERT_EQ(rows.size(), 5u);
  EXPECT_EQ(rows[0].outcome, "within");  // weights
  EXPECT_EQ(rows[2].outcome, "under");   // kv_cache
  EXPECT_EQ(rows[3].outcome, "within");  // kv_tokens
  EXPECT_EQ(rows[4].outcome, "over");    // max_concurrency
  EXPECT_NEAR(rows[4].error, 70 / 58.11 - 1, 1e-9);
}

}  // namespace
}  // namespace vramplan
