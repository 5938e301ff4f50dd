#include "planner/engines/command.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <functional>

#include <rapidcheck/gtest.h>

#include "modelcards/library.h"

namespace vramplan {
namespace {

std::string code_of(const std::function<void()>& act) {
  try {
    act();
  } catch (const Error& error) {
    return std::to_string(static_cast<int>(error.code())) + " " + error.fix();
  }
  return "none";
}

/// A setup an engine can say in full.
EngineSetup any_setup(EngineKind kind) {
  EngineSetup s;
  s.id = {kind, engine_table({kind, ""}).version};
  s.model = *rc::gen::element<std::string>("llama-3-8b", "org/Model Name", "it's/here.gguf", "a$b");
  s.tp = *rc::gen::element(1, 2, 4, 8);
  s.pp = kind == EngineKind::kLlamacpp && s.tp > 1 ? 1 : *rc::gen::element(1, 2, 3);
  if (kind != EngineKind::kLlamacpp && kind != EngineKind::kTrtllm) {
    s.nodes = *rc::gen::element(1, 2);
  }
  const bool shares = kind != EngineKind::kLlamacpp && *rc::gen::arbitrary<bool>();
  if (shares) s.expert_parallel = s.tp;
  if (kind == EngineKind::kTrtllm && *rc::gen::arbitrary<bool>()) s.attention_dp = s.tp;
  if (kind == EngineKind::kTrtllm) {
    using Windows = std::vector<std::int64_t>;
    s.attention_windows =
        *rc::gen::elementOf(std::vector<Windows>{{}, {512}, {128, 4096}, {1024, 1024, 8192}});
  }
  if (kind == EngineKind::kSglang || (kind == EngineKind::kVllm && s.nodes == 1)) {
    s.attention_dp = *rc::gen::element(1, s.tp);
  }
  if (kind == EngineKind::kVllm || kind == EngineKind::kSglang) {
    s.context_parallel = *rc::gen::element(1, s.tp);
  }
  if (kind != EngineKind::kLlamacpp && *rc::gen::arbitrary<bool>()) {
    s.speculation.method = *rc::gen::element<std::string>("ngram", "mtp", "eagle3");
    s.speculation.tokens = *rc::gen::inRange<std::int64_t>(1, 9);
    if (s.speculation.method == "eagle3") s.speculation.model = "org/it's a \"head\"";
  }
  if (kind == EngineKind::kVllm || kind == EngineKind::kSglang) {
    s.eager = *rc::gen::arbitrary<bool>();
  }
  s.max_model_len = Tokens{*rc::gen::inRange<std::int64_t>(2, 1 << 20)};
  s.max_num_seqs = *rc::gen::inRange<std::int64_t>(1, 4096);
  s.max_num_batched_tokens = Tokens{*rc::gen::inRange<std::int64_t>(1, 1 << 17)};
  if (kind == EngineKind::kLlamacpp) {
    s.kv_cache_dtype = *rc::gen::element<std::string>("auto", "q8_0", "bf16", "q4_0");
    s.flash_attention = *rc::gen::arbitrary<bool>();
    return s;
  }
  s.block_tokens = *rc::gen::element<std::int64_t>(16, 32, 64);
  s.memory_fraction = *rc::gen::inRange(1, 1000) / 1000.0;
  if (kind == EngineKind::kSglang) {
    s.kv_tokens = Tokens{*rc::gen::inRange<std::int64_t>(1, 1 << 30)};
    s.kv_cache_dtype = *rc::gen::element<std::string>("auto", "bf16", "fp8_e4m3");
  } else {
    s.kv_cache_memory = Bytes{*rc::gen::inRange<std::int64_t>(1, std::int64_t{1} << 40)};
    s.kv_cache_dtype = *rc::gen::element<std::string>("auto", "fp8");
  }
  s.dtype = *rc::gen::element<std::string>("auto", "float16", "bfloat16");
  if (kind != EngineKind::kTrtllm) {
    s.quantization = *rc::gen::element<std::string>("none", "fp8", "awq");
  }
  return s;
}

RC_GTEST_PROP(EngineCommand, ASetupComesBackFromItsCommand, ()) {
  const EngineSetup setup = any_setup(*rc::gen::elementOf(
      std::vector<EngineKind>(std::begin(kEngineKinds), std::end(kEngineKinds))));
  const EngineTable table = engine_table(setup.id);
  RC_ASSERT(setup_of(command_of(setup, table), table) == setup);
}

RC_GTEST_PROP(EngineCommand, ASetupComesBackThroughTheShell, ()) {
  const EngineSetup setup =
      any_setup(*rc::gen::element(EngineKind::kVllm, EngineKind::kSglang, EngineKind::kLlamacpp));
  const EngineTable table = engine_table(setup.id);
  const std::string text = shell_text(command_of(setup, table));
  RC_ASSERT(setup_of(parse_command(shell_words(text), setup.id.version), table) == setup);
}

RC_GTEST_PROP(EngineCommand, AnyWordSurvivesQuoting, (const std::vector<std::string>& words)) {
  std::string text;
  std::vector<std::string> expected;
  for (std::string word : words) {
    word.erase(std::remove(word.begin(), word.end(), '\0'), word.end());
    expected.push_back(word);
    text += shell_quoted(word) + " ";
  }
  RC_ASSERT(shell_words(text) == expected);
}

TEST(EngineCommand, ShellSyntaxBeyondPlainWordsIsRefused) {
  EXPECT_THROW(shell_words("vllm serve x | tee log"), Error);
  EXPECT_THROW(shell_words("vllm serve $(cat name)"), Error);
  EXPECT_THROW(shell_words("vllm serve 'open"), Error);
  EXPECT_EQ(shell_words("a \\\n b # note\nc"), (std::vector<std::string>{"a", "b", "c"}));
}

TEST(EngineCommand, AFlagOfAnotherVersionIsRefusedWithWhatReplacedIt) {
  const auto parse = [](const std::string& line, const char* version) {
    return code_of([&] { parse_command(shell_words(line), version); });
  };
  EXPECT_EQ(parse("vllm serve m --swap-space 4", "0.19.0"),
            "102 removed with the V1 engine: it swaps nothing");
  EXPECT_NE(parse("vllm serve m --max-model-length 8192", "0.19.0").find("--max-model-len"),
            std::string::npos);
  EXPECT_EQ(parse("vllm serve m --kv-cache-dtype nvfp4", "0.19.0").substr(0, 3), "101");
  EXPECT_EQ(parse("vllm serve m --kv-cache-dtype nvfp4", "0.22.0"), "none");
  EXPECT_EQ(parse("llama-server -m f -sm tensor", "b4000").substr(0, 3), "101");
  EXPECT_EQ(parse("llama-server -m f -sm tensor", "b6000"), "none");
}

TEST(EngineCommand, AValueMustHaveTheFlagsType) {
  const auto parse = [](const std::string& line) {
    return code_of([&] { parse_command(shell_words(line), "0.19.0"); }).substr(0, 3);
  };
  EXPECT_EQ(parse("vllm serve m --max-model-len 1.048576e+06"), "101");
  EXPECT_EQ(parse("vllm serve m --max-num-seqs 32k"), "101") << "no suffix in this one";
  EXPECT_EQ(parse("vllm serve m --gpu-memory-utilization high"), "101");
  EXPECT_EQ(parse("vllm serve m --max-model-len"), "101");
  EXPECT_EQ(parse("vllm serve m --enforce-eager=yes"), "101");
  EXPECT_EQ(parse("docker run something"), "101");
}

TEST(EngineCommand, NumbersWithASuffixAreWorkedOut) {
  const EngineCommand command =
      parse_command(shell_words("vllm serve m --max-model-len 25.6k --max-num-batched-tokens=8K "
                                "--kv-cache-memory-bytes 2G"),
                    "0.19.0");
  const EngineSetup setup = setup_of(command, engine_table(command.id));
  EXPECT_EQ(setup.max_model_len, Tokens{25600});
  EXPECT_EQ(setup.max_num_batched_tokens, Tokens{8192});
  EXPECT_EQ(setup.kv_cache_memory, Bytes{2147483648});
}

TEST(EngineCommand, ShortNamesAndEqualsSignsAreRead) {
  const EngineCommand command = parse_command(
      shell_words("/usr/bin/vllm serve org/m -tp 4 --max-model-len=8192 --port 80"), "0.19.0");
  const EngineSetup setup = setup_of(command, engine_table(command.id));
  EXPECT_EQ(setup.model, "org/m");
  EXPECT_EQ(setup.tp, 4);
  EXPECT_EQ(setup.max_model_len, Tokens{8192});
}

TEST(EngineCommand, WhatNoTwinModelsIsRefusedByName) {
  const auto read = [](const std::string& line) {
    return code_of([&] {
             const EngineCommand command = parse_command(shell_words(line), "");
             setup_of(command, engine_table(command.id));
           })
        .substr(0, 3);
  };
  EXPECT_EQ(read("vllm serve m --cpu-offload-gb 10"), "601");
  EXPECT_EQ(read("vllm serve m --max-model-len -1"), "601");
  EXPECT_EQ(read("vllm serve m --max-model-len auto"), "601");
  EXPECT_EQ(read("python -m sglang.launch_server --model-path m --dp-size 2"), "601");
  EXPECT_EQ(read("python -m sglang.launch_server --model-path m --dp-size 1"), "non");
  EXPECT_EQ(read("llama-server -m f --mmproj p.gguf"), "601");
  EXPECT_EQ(read("vllm serve m --num-gpu-blocks-override 100"), "601");
  EXPECT_EQ(read("llama-server -m f -ngl 10"), "601");
}

// vLLM counts the ranks of one engine, SGLang those of all groups.
TEST(EngineCommand, GroupsOfRanksHaveEachEnginesWords) {
  const auto read = [](const std::string& line) {
    const EngineCommand command = parse_command(shell_words(line), "");
    return setup_of(command, engine_table(command.id));
  };
  const EngineSetup vllm = read("vllm serve m -tp 2 -dp 4 -ep --enforce-eager");
  EXPECT_EQ(vllm.tp, 8);
  EXPECT_EQ(vllm.attention_dp, 4);
  EXPECT_EQ(vllm.expert_parallel, 8);
  EXPECT_TRUE(vllm.eager);
  const EngineSetup sglang =
      read("python -m sglang.launch_server --model-path m --tp 8 --dp 4 --enable-dp-attention");
  EXPECT_EQ(sglang.tp, 8);
  EXPECT_EQ(sglang.attention_dp, 4);
}

TEST(EngineCommand, ContextOfLlamacppIsSharedByItsSlots) {
  const EngineCommand command = parse_command(shell_words("llama-server -m f -c 32768 -np 4"), "");
  const EngineSetup setup = setup_of(command, engine_table(command.id));
  EXPECT_EQ(setup.max_model_len, Tokens{8192});
  EXPECT_EQ(setup.max_num_seqs, 4);
}

TEST(EngineCommand, APlansDecisionsComeBackFromItsSetup) {
  ModelSource source;
  source.card = model_card("llama-3-8b");
  const DeviceCard device = device_card("h100-sxm-80gb");
  PlanRequest request;
  request.model = "llama-3-8b";
  request.count = 2;
  request.context = Tokens{4096};
  request.batch = 24;
  request.prefill_chunk = Tokens{2048};
  request.block_tokens = 32;
  const Plan plan = make_plan(source, device, request);
  for (const EngineKind kind : kEngineKinds) {
    EngineRequest engine;
    engine.id = {kind, ""};
    const EngineSetup setup = setup_of_plan(plan, engine, source, device);
    const EngineTable table = engine_table(setup.id);
    PlanRequest again = plan_request_of(setup_of(command_of(setup, table), table));
    const Decisions d = make_plan(source, device, again).decisions;
    EXPECT_EQ(d.context, plan.decisions.context) << name_of(kind);
    EXPECT_EQ(d.batch, plan.decisions.batch) << name_of(kind);
    EXPECT_EQ(d.prefill_chunk, plan.decisions.prefill_chunk) << name_of(kind);
    EXPECT_EQ(d.sharding.tp, plan.decisions.sharding.tp) << name_of(kind);
    EXPECT_EQ(d.kv_format, plan.decisions.kv_format) << name_of(kind);
    const bool cells = kind == EngineKind::kLlamacpp;  // it has no blocks
    EXPECT_TRUE(cells || d.block == plan.decisions.block) << name_of(kind);
  }
}

TEST(EngineCommand, WeightsAnEngineCannotRecodeAreRefused) {
  ModelSource source;
  source.card = model_card("llama-3-8b");
  const DeviceCard device = device_card("h100-sxm-80gb");
  PlanRequest request;
  request.model = "llama-3-8b";
  request.weights = DType::kQ4_K;
  const Plan plan = make_plan(source, device, request);
  EngineRequest engine;
  engine.id = {EngineKind::kVllm, ""};
  EXPECT_EQ(code_of([&] { setup_of_plan(plan, engine, source, device); }).substr(0, 3), "601");
}

TEST(EngineCommand, BlocksOfFp8AreACheckpointsAndNoFlags) {
  for (const EngineKind kind : {EngineKind::kVllm, EngineKind::kSglang}) {
    EngineSetup setup;
    setup.id = {kind, engine_table({kind, ""}).version};
    setup.model = "org/model";
    setup.quantization = "fp8_block";
    EXPECT_EQ(code_of([&] { command_of(setup, engine_table(setup.id)); }),
              "601 name a checkpoint in that format and leave --quantization out");
    setup.quantization = "fp8";
    EXPECT_EQ(code_of([&] { command_of(setup, engine_table(setup.id)); }), "none");
  }
}

/// As their projects' pages and issues publish them.
TEST(EngineCommand, PublishedCommandLinesAreRead) {
  const auto read = [](const std::string& line) {
    const EngineCommand command = parse_command(shell_words(line), "");
    return setup_of(command, engine_table(command.id));
  };
  const EngineSetup module = read(
      "CUDA_VISIBLE_DEVICES=0,1 python3 -m vllm.entrypoints.openai.api_server "
      "--model=meta-llama/Llama-3.1-8B-Instruct --tensor-parallel-size 2 --max_model_len 8192 "
      "--disable-log-stats");
  EXPECT_EQ(module.model, "meta-llama/Llama-3.1-8B-Instruct");
  EXPECT_EQ(module.tp, 2);
  EXPECT_EQ(module.max_model_len, Tokens{8192});
  const EngineSetup image = read(
      "docker run --gpus all -v hub:/hub --env HF_TOKEN=x -p "
      "8000:8000 --ipc=host vllm/vllm-openai:v0.19.1 --model org/m -tp=4 --generation-config vllm");
  EXPECT_EQ(image.id.version, "0.19.1");
  EXPECT_EQ(image.model, "org/m");
  EXPECT_EQ(image.tp, 4);
  const EngineSetup sglang = read(
      "docker run --gpus all lmsysorg/sglang:latest python3 -m sglang.launch_server --model-path "
      "org/m --tp 2 --enable-torch-compile --schedule-policy lpm");
  EXPECT_EQ(sglang.tp, 2);
  const EngineSetup llama =
      read("docker run ghcr.io/ggml-org/llama.cpp:server-cuda -m /m.gguf -fa -ngl 99 -c 8192 -fa");
  EXPECT_EQ(llama.id.kind, EngineKind::kLlamacpp);
  EXPECT_TRUE(llama.flash_attention);
  EXPECT_EQ(llama.max_model_len, Tokens{8192});
  EXPECT_EQ(code_of([&] { read("vllm serve m --enable-lora"); }).substr(0, 3), "601");
}

}  // namespace
}  // namespace vramplan
