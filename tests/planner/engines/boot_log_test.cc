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

// Form: vllm#14447 (0.8, V0, four workers) and vllm#12529.
TEST(BootLog, OfSeveralWorkersTheDriversLinesCount) {
  const BootLog log = parse_boot_log(
      "(VllmWorkerProcess pid=521) INFO 04-12 08:21:19 [worker.py:267] model weights take "
      "20.00GiB; "
      "non_torch_memory takes 0.90GiB; PyTorch activation peak memory takes 0.37GiB; the rest of "
      "the memory reserved for KV Cache is 1.57GiB.\n"
      "INFO 04-12 08:21:19 [worker.py:267] model weights take 21.21GiB; non_torch_memory takes "
      "0.20GiB; PyTorch activation peak memory takes 0.37GiB; the rest of the memory reserved for "
      "KV Cache is 1.97GiB.\n"
      "INFO 04-12 08:21:20 [executor_base.py:111] # cuda blocks: 5148, # CPU blocks: 9362\n"
      "INFO 04-12 08:21:20 [executor_base.py:116] Maximum concurrency for 2000 tokens per request: "
      "41.18x\n");
  EXPECT_EQ(log.weights, gib(21.21));
  EXPECT_EQ(log.non_torch, gib(0.20));
  EXPECT_EQ(log.kv, gib(1.97));
  EXPECT_EQ(log.kv_blocks, Blocks{5148});
  EXPECT_DOUBLE_EQ(log.max_concurrency.value(), 41.18);
}

// Form: vllm#10511 (0.6.5, a line a value) and vllm#12569 (0.7, V1).
TEST(BootLog, OlderFormsOfVllmAreRead) {
  const BootLog table = parse_boot_log(
      "INFO 12-13 19:54:18 worker.py:243] Memory profiling results:\n"
      "INFO 12-13 19:54:18 worker.py:243] model weights take   14.96GiB\n"
      "INFO 12-13 19:54:18 worker.py:243] non_torch_memory     1.79GiB\n"
      "INFO 12-13 19:54:18 worker.py:243] PyTorch activation peak memory       1.26GiB\n"
      "INFO 12-13 19:54:18 worker.py:243] available_kv_cache_memory    53.29GiB\n");
  EXPECT_EQ(table.weights, gib(14.96));
  EXPECT_EQ(table.non_torch, gib(1.79));
  EXPECT_EQ(table.activations, gib(1.26));
  EXPECT_EQ(table.kv, gib(53.29));
  const BootLog first = parse_boot_log(
      "INFO 01-30 03:18:12 gpu_model_runner.py:848] Loading model weights took 67.7229 GB\n"
      "INFO 01-30 03:19:14 kv_cache_utils.py:395] # GPU blocks: 1381\n");
  EXPECT_EQ(first.weights, gib(67.7229));  // "GB" of that line is GiB
  EXPECT_EQ(first.kv_blocks, Blocks{1381});
}

// Form: gpustack/runner#251 (0.27.1), colours as a terminal shows them; vllm#38820.
TEST(BootLog, NewerFormsOfVllmAreRead) {
  const BootLog log = parse_boot_log(
      "\x1b[36m(APIServer pid=1)\x1b[0;0m INFO 08-14 14:05:01 [utils.py:325]  "
      "\xe2\x96\x84\xe2\x96\x84 "
      "\xe2\x96\x84\xe2\x96\x88 \xe2\x96\x88     \xe2\x96\x88     \xe2\x96\x88 version 0.27.1\n"
      "(APIServer pid=1) INFO 08-14 14:05:01 [utils.py:233] vLLM is starting\n"
      "(Worker_TP1 pid=448) INFO 08-14 14:06:59 [gpu_model_runner.py:4879] Model loading took "
      "13.00 "
      "GiB memory and 31.6 seconds\n"
      "\x1b[36m(Worker_TP0 pid=447)\x1b[0;0m INFO 08-14 14:06:59 [gpu_model_runner.py:4879] Model "
      "loading took 12.66 GiB memory and 31.657031 seconds\n"
      "(Worker_TP0 pid=447) INFO 08-14 14:07:22 [gpu_worker.py:563] Available KV cache memory: "
      "6.87 "
      "GiB\n"
      "(EngineCore pid=367) INFO 08-14 14:07:23 [kv_cache_utils.py:1287] GPU KV cache size: "
      "120,064 "
      "tokens\n"
      "(Worker_TP0 pid=447) INFO 08-14 14:07:40 [gpu_worker.py:700] Free memory on device "
      "(23.2/23.57 GiB) on startup. Actual usage is 12.66 GiB for weight, 0.61 GiB for peak "
      "activation, 0.11 GiB for non-torch memory, and 0.36 GiB for CUDAGraph memory.\n");
  EXPECT_EQ(log.version, "0.27.1");
  EXPECT_EQ(log.engine, EngineKind::kVllm);
  EXPECT_EQ(log.weights, gib(12.66));
  EXPECT_EQ(log.kv, gib(6.87));
  EXPECT_EQ(log.kv_tokens, Tokens{120064});
  EXPECT_EQ(log.activations, gib(0.61));
  EXPECT_EQ(log.non_torch, gib(0.11));
  EXPECT_EQ(log.graphs, gib(0.36));
  EXPECT_FALSE(log.failure);
}

// Form: vllm#32105 and vllm#2418.
TEST(BootLog, AStartThatFailsSaysWhy) {
  const BootLog now = parse_boot_log(
      "(EngineCore_DP0 pid=379) ERROR 01-28 00:18:18 [core.py:935] ValueError: To serve at least "
      "one "
      "request with the models's max seq len (202752), (71.16 GiB KV cache is needed, which is "
      "larger than the available KV cache memory (28.57 GiB). Based on the available memory, the "
      "estimated maximum model length is 81392. Try increasing `gpu_memory_utilization`\n");
  ASSERT_TRUE(now.failure);
  EXPECT_EQ(now.engine, EngineKind::kVllm);
  EXPECT_EQ(now.failure->needed, gib(71.16));
  EXPECT_EQ(now.failure->available, gib(28.57));
  EXPECT_EQ(now.failure->longest_that_fits, Tokens{81392});
  EXPECT_NEAR(now.max_concurrency.value(), 28.57 / 71.16, 1e-6);
  const BootLog before = parse_boot_log(
      "ValueError: The model's max seq len (4096) is larger than the maximum number of tokens that "
      "can be stored in KV cache (3664). Try increasing `gpu_memory_utilization`\n");
  EXPECT_EQ(before.failure->longest_that_fits, Tokens{3664});
  EXPECT_FALSE(before.failure->needed);
}

TEST(BootLog, AFailureStandsBesideWhatWasPredicted) {
  const BootLog log = parse_boot_log(
      "vllm torch.OutOfMemoryError: CUDA out of memory. Tried to allocate 1.25 GiB.\n");
  EngineForecast forecast;
  const auto wrong = compare_log(log, forecast, 0.03, 256_MiB);
  ASSERT_EQ(wrong.size(), 1u);
  EXPECT_EQ(wrong[0].term, "starts");
  EXPECT_EQ(wrong[0].outcome, "over");  // more was promised
  forecast.boots = false;
  EXPECT_EQ(compare_log(log, forecast, 0.03, 256_MiB)[0].outcome, "within");
  const BootLog good = parse_boot_log(kVllmLog);
  EXPECT_EQ(compare_log(good, forecast, 0.03, 256_MiB).back().outcome, "under");
  // Advice about running out of memory is no failure.
  EXPECT_FALSE(parse_boot_log("vllm If you are running out of memory, consider decreasing "
                              "`gpu_memory_utilization`. If out-of-memory error occurs\n")
                   .failure);
}

// Form: sglang#22537, four ranks whose lines interleave; sglang#5893 for graphs.
TEST(BootLog, OfSeveralSglangRanksTheFirstCounts) {
  const BootLog log = parse_boot_log(
      "[2026-04-10 23:19:05 TP1] Load weight end. elapsed=112.68 s, type=Qwen3ForCausalLM, avail "
      "mem=160.78 GB, mem usage=15.52 GB.\n"
      "[2026-04-10 23:19:05 TP0] Load weight end. elapsed=112.68 s, type=Qwen3ForCausalLM, avail "
      "mem=160.78 GB, mem usage=15.50 GB.\n"
      "[2026-04-10 23:19:05 TP1] KV Cache is allocated. #tokens: 2206208, K size: 67.33 GB, V "
      "size: "
      "67.33 GB\n"
      "[2026-04-10 23:19:05 TP0] KV Cache is allocated. #tokens: 2206208, K size: 67.33 GB, V "
      "size: "
      "67.33 GB\n"
      "[2026-04-10 23:19:34 TP7] Capture cuda graph end. Time elapsed: 56.90 s. mem usage=6.22 GB. "
      "avail mem=5.61 GB.\n"
      "[2026-04-10 23:19:34 TP0] Capture cuda graph end. Time elapsed: 56.90 s. mem usage=6.20 GB. "
      "avail mem=5.61 GB.\n");
  EXPECT_EQ(log.weights, gib(15.50));
  EXPECT_EQ(log.kv, gib(67.33) + gib(67.33));
  EXPECT_EQ(log.graphs, gib(6.20));
  EXPECT_EQ(log.kv_tokens, Tokens{2206208});
}

// A latent cache has one size; a model that drafts loads and keeps its own. sglang#29575.
TEST(BootLog, SglangsLatentCacheAndItsDraftsAreAddedUp) {
  const BootLog log = parse_boot_log(
      "[2026-06-28 15:16:45] Load weight end. type=DeepseekV3ForCausalLM, mem usage=80.00 GB.\n"
      "[2026-06-28 15:16:45] KV Cache is allocated. #tokens: 73472, KV size: 4.73 GB\n"
      "[2026-06-28 15:16:50] Load weight end. type=DeepseekV3ForCausalLMNextN, mem usage=1.25 GB.\n"
      "[2026-06-28 15:16:50] KV Cache is allocated. #tokens: 73472, KV size: 0.08 GB\n"
      "[2026-06-28 15:16:55] max_total_num_tokens=73472, chunked_prefill_size=8192, "
      "context_len=1\n");
  EXPECT_EQ(log.weights, gib(80.00) + gib(1.25));
  EXPECT_EQ(log.kv, gib(4.73) + gib(0.08));
  EXPECT_EQ(log.kv_tokens, Tokens{73472});
  const BootLog failed = parse_boot_log(
      "RuntimeError: Not enough memory. Please try to increase --mem-fraction-static.\n");
  EXPECT_EQ(failed.engine, EngineKind::kSglang);
  EXPECT_TRUE(failed.failure);
}

// Form: triton tutorials#150, TensorRT-LLM#1400 and #6294.
TEST(BootLog, TensorRtLlmsLastPoolIsTheOneItServesFrom) {
  const BootLog log = parse_boot_log(
      "[TensorRT-LLM] TensorRT-LLM version: 1.0.0\n"
      "[TensorRT-LLM][INFO] [MemUsageChange] Allocated 1.05 GiB for max tokens in paged KV cache "
      "(8448).\n"
      "[TRT-LLM] [I] Memory used after loading model weights (inside torch) in memory usage "
      "profiling: 15.01 GiB\n"
      "[TensorRT-LLM][INFO] [MemUsageChange] Allocated 78.30 GiB for max tokens in paged KV cache "
      "(3731744).\n");
  EXPECT_EQ(log.engine, EngineKind::kTrtllm);
  EXPECT_EQ(log.version, "1.0.0");
  EXPECT_EQ(log.weights, gib(15.01));
  EXPECT_EQ(log.kv, gib(78.30));
  EXPECT_EQ(log.kv_tokens, Tokens{3731744});
  const BootLog old = parse_boot_log(
      "[TensorRT-LLM][INFO] Allocate 69524783104 bytes for k/v cache. \n"
      "[TensorRT-LLM][INFO] Using 132608 tokens in paged KV cache.\n");
  EXPECT_EQ(old.kv, Bytes{69524783104});
  EXPECT_EQ(old.kv_tokens, Tokens{132608});
}

// Form: llama.cpp#14043 (windows: two caches), ik_llama.cpp#749 (many devices), koboldcpp; a
// context that is reserved again prints its buffers again.
TEST(BootLog, LlamacppsFirstDeviceHasAllItsBuffers) {
  const BootLog log = parse_boot_log(
      "build: 5554 (3600cc28) with cc (Ubuntu 13.3.0) for x86_64-linux-gnu\n"
      "load_tensors:   CPU_Mapped model buffer size =  1408.04 MiB\n"
      "load_tensors:        CUDA1 model buffer size =  4300.00 MiB\n"
      "load_tensors:        CUDA0 model buffer size =  4100.50 MiB\n"
      "llama_context: constructing llama_context\n"
      "llama_kv_cache_unified_iswa: creating non-SWA KV cache, size = 8192 cells\n"
      "llama_kv_cache_unified:      CUDA0 KV buffer size =   128.00 MiB\n"
      "llama_kv_cache_unified:      CUDA1 KV buffer size =   160.00 MiB\n"
      "llama_kv_cache_unified_iswa: creating     SWA KV cache, size = 1536 cells\n"
      "llama_kv_cache_unified:      CUDA0 KV buffer size =   120.00 MiB\n"
      "llama_kv_cache_unified:        CPU KV buffer size =   999.00 MiB\n"
      "llama_context:      CUDA0 compute buffer size =   700.00 MiB\n"
      "llama_context:      CUDA0 compute buffer size =   522.00 MiB\n"
      "llama_context:  CUDA_Host compute buffer size =    30.00 MiB\n");
  EXPECT_EQ(log.engine, EngineKind::kLlamacpp);
  EXPECT_EQ(log.version, "b5554");
  EXPECT_EQ(log.weights, Bytes{std::llround(4100.50 * 1048576)});
  EXPECT_EQ(log.kv, 248_MiB);
  EXPECT_EQ(log.compute, 522_MiB);
  const BootLog many = parse_boot_log(
      "llama_kv_cache_init:     CUDA10 KV buffer size =    16.00 MiB\n"
      "llama_kv_cache_init:      CUDA2 KV buffer size =    65.00 MiB\n");
  EXPECT_EQ(many.kv, 65_MiB);
  const BootLog old = parse_boot_log("llm_load_tensors:      CUDA0 buffer size =  4807.00 MiB\n");
  EXPECT_EQ(old.weights, 4807_MiB);
}

// Form: llama.cpp#20431 and llama.cpp PR 26297.
TEST(BootLog, ASecondTryWithLessIsNoFailure) {
  const std::string failed =
      "ggml_backend_cuda_buffer_type_alloc_buffer: allocating 51748.72 MiB on device 1: cudaMalloc "
      "failed: out of memory\n";
  EXPECT_TRUE(parse_boot_log(failed).failure);
  EXPECT_FALSE(parse_boot_log(failed +
                              "sched_reserve: compute buffer allocation failed, retrying without "
                              "pipeline parallelism\n")
                   .failure);
}

// A pod that crashed and was started again: the last start is what runs.
TEST(BootLog, OfSeveralStartsTheLastCounts) {
  const BootLog log = parse_boot_log(
      "vLLM API server version 0.11.0\n"
      "Model loading took 10.00 GiB and 3 seconds\nCUDA out of memory\n" +
      std::string(kVllmLog));
  EXPECT_EQ(log.weights, gib(14.99));
  EXPECT_EQ(log.version, "0.19.0");
  EXPECT_FALSE(log.failure);
}

// As docker, kubectl and docker compose hand them on.
TEST(BootLog, LinesOfContainersAreRead) {
  const BootLog log = parse_boot_log(
      "2026-03-11T17:57:58.953878239Z (EngineCore_DP0 pid=274) INFO 03-11 17:57:58 "
      "[gpu_worker.py:1] "
      "Available KV cache memory: 8.11 GiB\n"
      "engine-1  | (EngineCore_DP0 pid=274) INFO 03-11 [kv_cache_utils.py:1] GPU KV cache size: "
      "178,880 tokens\n"
      "{\"log\":\"\\u001b[36m(EngineCore_DP0 pid=274)\\u001b[0m INFO Model loading took 54.79 GiB "
      "memory\\n\",\"stream\":\"stdout\"}\n");
  EXPECT_EQ(log.kv, gib(8.11));
  EXPECT_EQ(log.kv_tokens, Tokens{178880});
  EXPECT_EQ(log.weights, gib(54.79));
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
  const BootLog log =
      parse_boot_log(std::string(kVllmLog) + noise + "\nGPU KV cache size: " + noise);
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
