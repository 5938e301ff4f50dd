#include <nlohmann/json.hpp>

#include "tests/cli/program.h"

namespace vramplan::testing {
namespace {

TEST(EmitCommand, WhatIsEmittedLintsToTheSamePlan) {
  const Folder folder;
  const std::string plan = folder / "plan.yaml", out = folder / "out.yaml";
  ASSERT_EQ(run_program({"plan", "llama-3-8b", "--device", "h100-sxm-80gb", "--count", "2",
                         "--context", "4k", "--batch", "8", "--out", plan})
                .code,
            0);
  for (const char* target :
       {"vllm@0.19.0", "sglang", "trtllm", "llamacpp", "k8s", "lws", "kserve", "ray", "compose"}) {
    const Outcome emitted = run_program({"emit", plan, "--engine", target, "--out", out});
    ASSERT_EQ(emitted.code, 0) << target << emitted.err;
    const Outcome linted = run_program({"lint", out, "--json"});
    ASSERT_EQ(linted.code, 0) << target << linted.err;
    const auto d = nlohmann::json::parse(linted.out).at("decisions");
    EXPECT_EQ(d.at("model"), "llama-3-8b") << target;
    EXPECT_EQ(d.at("device"), "h100-sxm-80gb") << target;
    EXPECT_EQ(d.at("tp"), 2) << target;
    EXPECT_EQ(d.at("context_tokens"), 4096) << target;
    EXPECT_EQ(d.at("batch"), 8) << target;
    EXPECT_EQ(d.at("kv_format"), "bf16") << target;
  }
}

// The plan counts windows; TensorRT-LLM only with a list of them, which emit writes.
TEST(EmitCommand, WindowsAreToldToTensorRt) {
  const Folder folder;
  const std::string out = folder / "out.yaml";
  for (const char* model : {"gemma-3-27b", "gpt-oss-120b"}) {
    const Outcome emitted =
        run_program({"emit", model, "--device", "h200-sxm-141gb", "--context", "32k", "--batch",
                     "16", "--engine", "trtllm", "--out", out});
    ASSERT_EQ(emitted.code, 0) << model << emitted.err;
    const Outcome linted = run_program({"lint", out, "--json"});
    ASSERT_EQ(linted.code, 0) << model << linted.err;
    const auto plan = linted.json();
    EXPECT_EQ(plan["decisions"]["engine"]["attention_windows"].back(), 32768) << model;
    const auto engine = plan["devices"][0]["engine"];
    EXPECT_EQ(engine["kv_pools"].size(), 2u) << model;
    EXPECT_GE(engine["max_concurrency"].get<double>(), 16.0) << model;
    EXPECT_LT(engine["max_concurrency"].get<double>(), 16.1) << model;
  }
}

// Dense, experts, latent attention and windows through every kind of manifest: read back to the
// same bytes, or refused by name. The four that stand here are the corners of a larger matrix.
TEST(EmitCommand, EveryManifestReadsBackOrIsRefusedByName) {
  const Folder folder;
  const std::string out = folder / "out.yaml";
  const std::vector<std::vector<const char*>> pairs = {
      {"llama-3.1-8b", "trtllm", "k8s"},   {"llama-3.1-8b", "trtllm", "compose"},
      {"qwen3-30b-a3b", "sglang", "lws"},  {"qwen3-30b-a3b", "trtllm", "kserve"},
      {"gemma-3-27b", "sglang", "kserve"}, {"gemma-3-27b", "llamacpp", "compose"},
      {"gpt-oss-120b", "vllm", "ray"},     {"deepseek-v3", "vllm", "lws"},
      {"llama-3.1-8b", "sglang", "ray"},   {"llama-3.1-8b", "llamacpp", "lws"}};
  int refusals = 0;
  for (const auto& pair : pairs) {
    const std::string what = std::string(pair[0]) + " " + pair[1] + " " + pair[2];
    const bool large = std::string(pair[0]) == "deepseek-v3";
    const Outcome emitted =
        run_program({"emit", pair[0], "--device", "h200-sxm-141gb", "--tp", large ? "8" : "2",
                     "--pp", large ? "2" : "1", "--context", "4k", "--batch", "4", "--runs",
                     pair[1], "--engine", pair[2], "--out", out});
    if (emitted.code == 6) {
      ++refusals;
      EXPECT_HOLDS(emitted.err, pair[1]);
      continue;
    }
    ASSERT_EQ(emitted.code, 0) << what << emitted.err;
    const Outcome linted = run_program({"lint", out, "--json"});
    ASSERT_EQ(linted.code, 0) << what << linted.err;
    const auto d = linted.json()["decisions"];
    EXPECT_EQ(d["model"], pair[0]) << what;
    EXPECT_EQ(d["context_tokens"], 4096) << what;
    EXPECT_EQ(d["batch"], 4) << what;
    EXPECT_EQ(d["device_count"], large ? 16 : 2) << what;
  }
  EXPECT_EQ(refusals, 2);
}

// The cache format of a plan is the engine's, or it is refused: it was passed over once.
TEST(EmitCommand, AFormatTheEngineDoesNotHaveIsRefused) {
  const auto plan = [](const char* engine, const char* format) {
    return run_program({"plan", "llama-3.1-8b", "--device", "h100-sxm-80gb", "--engine", engine,
                        "--kv-cache-dtype", format, "--json"});
  };
  const Outcome refused = plan("vllm", "kivi2");
  EXPECT_EQ(refused.code, 6);
  EXPECT_HOLDS(refused.err, "kivi2");
  EXPECT_EQ(plan("sglang", "q8_0").code, 6);
  const auto tokens = [&](const char* format) {
    return plan("vllm@0.19.0", format).json()["devices"][0]["engine"]["kv_tokens"].get<double>();
  };
  EXPECT_NEAR(tokens("fp8") / tokens("bf16"), 2.0, 0.01);
}

TEST(EmitCommand, SharedExpertsComeBack) {
  const Folder folder;
  const std::string out = folder / "out.yaml";
  for (const char* target : {"vllm@0.19.0", "sglang", "trtllm"}) {
    const Outcome emitted =
        run_program({"emit", "qwen3-30b-a3b", "--device", "h100-sxm-80gb", "--tp", "4", "--ep", "4",
                     "--context", "4k", "--engine", target, "--out", out});
    ASSERT_EQ(emitted.code, 0) << target << emitted.err;
    const Outcome linted = run_program({"lint", out, "--device", "h100-sxm-80gb", "--json"});
    ASSERT_EQ(linted.code, 0) << target << linted.err;
    EXPECT_EQ(linted.json()["decisions"]["engine"]["expert_parallel"], 4) << target;
  }
}

TEST(EmitCommand, GroupsAndDraftsComeBack) {
  const Folder folder;
  const std::string out = folder / "out.yaml";
  for (const char* target : {"vllm@0.19.0", "sglang", "trtllm", "k8s", "lws", "ray", "compose"}) {
    const Outcome emitted = run_program({"emit",           "qwen3-30b-a3b",
                                         "--device",       "h100-sxm-80gb",
                                         "--tp",           "4",
                                         "--ep",           "4",
                                         "--attention-dp", "4",
                                         "--speculate",    "eagle3:3",
                                         "--draft",        "org/a-head",
                                         "--context",      "4k",
                                         "--batch",        "8",
                                         "--engine",       target,
                                         "--out",          out});
    ASSERT_EQ(emitted.code, 0) << target << emitted.err;
    const Outcome linted = run_program({"lint", out, "--device", "h100-sxm-80gb", "--json"});
    ASSERT_EQ(linted.code, 0) << target << linted.err;
    const auto engine = linted.json()["decisions"]["engine"];
    EXPECT_EQ(engine["attention_dp"], 4) << target;
    EXPECT_EQ(engine["speculation"]["method"], "eagle3") << target;
    EXPECT_EQ(engine["speculation"]["tokens"], 3) << target;
    EXPECT_EQ(engine["speculation"]["draft"], "org/a-head") << target;
    EXPECT_EQ(linted.json()["decisions"]["batch"], 8) << target;
  }
}

TEST(EmitCommand, ADraftModelIsInThePlanAndItsFile) {
  const Folder folder;
  const std::string file = folder / "plan.yaml";
  const Outcome made =
      run_program({"plan", "llama-3.1-8b", "--device", "h100-sxm-80gb", "--engine", "vllm@0.19.0",
                   "--context", "4k", "--speculate", "5", "--draft", "llama-3.2-1b",
                   "--speculate-acceptance", "0.8", "--concurrency", "4", "--out", file, "--json"});
  ASSERT_EQ(made.code, 0) << made.err;
  const auto read = run_program({"explain", file, "--json"}).json(), plan = made.json();
  EXPECT_GT(plan["devices"][0]["engine"]["draft_bytes"], 2'400'000'000);
  EXPECT_NEAR(plan["serving"]["tokens_per_step"].get<double>(), 3.69, 0.01);
  EXPECT_EQ(read["decisions"]["engine"], plan["decisions"]["engine"]);
  EXPECT_EQ(read["devices"][0]["engine"], plan["devices"][0]["engine"]);
  EXPECT_EQ(read["serving"], plan["serving"]);
  const Outcome half = run_program({"plan", "llama-3.1-8b", "--device", "h100-sxm-80gb", "--engine",
                                    "vllm", "--speculate", "ngram"});
  EXPECT_EQ(half.code, 2);
  EXPECT_HOLDS(half.err, "--speculate ngram:K");
  const Outcome head =
      run_program({"plan", "llama-3.1-8b", "--device", "h100-sxm-80gb", "--speculate", "eagle3:3"});
  EXPECT_EQ(head.code, 6) << "the executor has no heads";
  EXPECT_HOLDS(head.err, "--engine");
  const Outcome wrong = run_program({"plan", "llama-3.1-8b", "--device", "h100-sxm-80gb",
                                     "--engine", "vllm", "--speculate", "eagel3:3"});
  EXPECT_EQ(wrong.code, 2);
  EXPECT_HOLDS(wrong.err, "eagle3");
}

// Planned by bytes and seconds; neither this executor nor an engine's twin takes such a plan.
TEST(EmitCommand, ContextAndExpertRanksArePlannedAndNotRun) {
  const Folder folder;
  const std::string file = folder / "plan.yaml";
  const std::vector<std::string> asked = {
      "plan", "qwen3-30b-a3b", "--device", "h100-sxm-80gb", "--tp", "2",     "--cp",
      "2",    "--ep",          "2",        "--out",         file,   "--json"};
  const Outcome plan = run_program(asked);
  ASSERT_EQ(plan.code, 0) << plan.err;
  const auto d = plan.json()["decisions"];
  EXPECT_EQ(d["cp"], 2);
  EXPECT_EQ(d["ep"], 2);
  EXPECT_EQ(plan.json()["devices"].size(), 4u);
  EXPECT_EQ(run_program({"explain", file, "--json"}).json()["decisions"], d);
  EXPECT_EQ(run_program({"run", file, "--backend", "dry"}).code, 6);
  const Outcome emitted = run_program({"emit", file, "--engine", "vllm"});
  EXPECT_EQ(emitted.code, 6);
  EXPECT_HOLDS(emitted.err, "--decode-context-parallel");
  const auto refused = [](const std::vector<std::string>& flags) {
    std::vector<std::string> all = {"plan", "gemma-2-9b", "--device", "h100-sxm-80gb"};
    all.insert(all.end(), flags.begin(), flags.end());
    return run_program(all);
  };
  EXPECT_EQ(refused({"--cp", "2"}).code, 6) << "windows";
  const Outcome dense = refused({"--tp", "2", "--ep", "2"});
  EXPECT_EQ(dense.code, 2);
  EXPECT_HOLDS(dense.err, "no experts");
}

TEST(EmitCommand, APlanKeepsTheEngineItWasMadeFor) {
  const Folder folder;
  const std::string file = folder / "plan.yaml";
  const Outcome made =
      run_program({"plan", "llama-3.1-8b", "--device", "h100-sxm-80gb", "--engine", "vllm@0.19.0",
                   "--max-model-len", "4096", "--gpu-memory-utilization", "0.8", "--max-num-seqs",
                   "32", "--concurrency", "16", "--input-tokens", "1000", "--out", file, "--json"});
  ASSERT_EQ(made.code, 0) << made.err;
  const auto read = run_program({"explain", file, "--json"}).json(), plan = made.json();
  EXPECT_EQ(read["decisions"]["engine"], plan["decisions"]["engine"]);
  EXPECT_EQ(read["devices"][0]["engine"], plan["devices"][0]["engine"]);
  EXPECT_EQ(read["serving"], plan["serving"]);
  const Outcome emitted = run_program({"emit", file});
  ASSERT_EQ(emitted.code, 0) << emitted.err;
  EXPECT_HOLDS(emitted.out, "--gpu-memory-utilization 0.8");
  EXPECT_HOLDS(emitted.out, "--max-num-seqs 32");
}

TEST(EmitCommand, AnUnknownTargetNamesTheNearest) {
  const Outcome run = run_program({"emit", "llama-3-8b", "--engine", "kube"});
  EXPECT_EQ(run.code, 2);
  EXPECT_HOLDS(run.err, "nothing is emitted for 'kube'");
}

TEST(EmitCommand, PlanWithAnEngineSaysWhatItWouldPrint) {
  const Outcome run =
      run_program({"plan", "llama-3.1-8b", "--device", "h100-sxm-80gb", "--engine", "vllm@0.19.0",
                   "--gpu-memory-utilization", "0.95", "--max-model-len", "8192",
                   "--max-num-batched-tokens", "8192", "--max-num-seqs", "1024", "--json"});
  ASSERT_EQ(run.code, 0) << run.err;
  const auto engine = nlohmann::json::parse(run.out).at("devices").at(0).at("engine");
  for (const char* field : {"weight_bytes", "activation_bytes", "non_torch_bytes", "graph_bytes",
                            "kv_bytes", "kv_tokens"}) {
    EXPECT_TRUE(engine.at(field).is_number_integer()) << field;
  }
  EXPECT_EQ(engine.at("name"), "vllm");
  EXPECT_EQ(engine.at("version"), "0.19.0");
  EXPECT_NEAR(engine.at("max_concurrency").get<double>(), 58.11, 0.1);
}

}  // namespace
}  // namespace vramplan::testing
