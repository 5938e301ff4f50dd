#include <cstdlib>
#include <set>

#include "tests/cli/program.h"

namespace vramplan::testing {
namespace {

/// A model small enough to run anywhere in a moment, on a cpu with room to spare.
const std::vector<std::string> kSmall = {
    "smollm2-135m",    "--set", "layer_count=2", "--set", "vocab=1024", "--context", "64",
    "--output-tokens", "8",     "--threads",     "1",     "--weights",  "q8_0"};

std::vector<std::string> small(const std::string& command, const std::vector<std::string>& more) {
  std::vector<std::string> arguments = {command};
  arguments.insert(arguments.end(), kSmall.begin(), kSmall.end());
  arguments.insert(arguments.end(), more.begin(), more.end());
  return arguments;
}

TEST(VerifyCommand, TheDryRunOf405BOnSixteenCardsAgreesToTheByte) {
  const Outcome run = run_program({"verify", "llama-3.1-405b", "--device", "h100-sxm-80gb",
                                   "--count", "16", "--context", "8k", "--json"});
  ASSERT_EQ(run.code, 0) << run.err;
  const auto verdict = run.json();
  EXPECT_EQ(verdict["schema"], "vramplan.verify/1");
  ASSERT_GE(verdict["rows"].size(), 16U * 8U);
  for (const auto& row : verdict["rows"]) {
    EXPECT_EQ(row["predicted_bytes"], row["observed_bytes"]) << row.dump();
    EXPECT_EQ(row["outcome"], "within") << row.dump();
  }
  EXPECT_TRUE(verdict["process"]["observed_bytes"].is_null());  // dry takes no memory
}

TEST(VerifyCommand, ACpuRunIsMeasuredAndEveryTensorRowIsExact) {
  const Outcome run = run_program(small("verify", {"--tolerance", "process-floor=64MiB",
                                                   "--tolerance", "process-under=1", "--json"}));
  ASSERT_EQ(run.code, 0) << run.err << run.out;
  const auto verdict = run.json();
  int gating = 0;
  for (const auto& row : verdict["rows"]) {
    if (row["category"] != "weights" && row["category"] != "kv_cache") continue;
    ++gating;
    EXPECT_EQ(row["predicted_bytes"], row["observed_bytes"]) << row.dump();
  }
  EXPECT_GE(gating, 4);
  EXPECT_GT(verdict["process"]["observed_bytes"].get<std::int64_t>(), 1 << 20);
  EXPECT_HOLDS(run.out, "random");  // the card has no weights: said as an assumption
}

const std::vector<std::string> kLoose = {"--tolerance", "process-floor=64MiB", "--tolerance",
                                         "process-under=1", "--json"};

std::vector<std::string> loose(std::vector<std::string> more) {
  more.insert(more.end(), kLoose.begin(), kLoose.end());
  return small("verify", more);
}

TEST(VerifyCommand, ReplicasHoldOneCopyOfTheWeights) {
  const Outcome run = run_program(loose({"--replicas", "3"}));
  ASSERT_EQ(run.code, 0) << run.err << run.out;
  const auto verdict = run.json();
  for (const auto& row : verdict["rows"]) {
    if (row["category"] != "weights" && row["category"] != "kv_cache") continue;
    EXPECT_EQ(row["predicted_bytes"], row["observed_bytes"]) << row.dump();
  }
  ASSERT_EQ(verdict["replicas"]["processes"].size(), 3U);
  std::int64_t sum = verdict["replicas"]["parent_proportional_bytes"].get<std::int64_t>();
  for (const auto& replica : verdict["replicas"]["processes"]) {
    EXPECT_EQ(replica["same_output"], true);
    EXPECT_LT(replica["proportional_bytes"], replica["resident_bytes"]);
    sum += replica["proportional_bytes"].get<std::int64_t>();
  }
  EXPECT_EQ(verdict["process"]["observed_bytes"], sum);
  const Outcome refused = run_program(loose({"--replicas", "2", "--weight-offload", "0.5"}));
  EXPECT_EQ(refused.code, 6);
  EXPECT_HOLDS(refused.err, "--replicas");
}

TEST(VerifyCommand, GuessesAreAskedAboutAndCounted) {
  const Outcome run =
      run_program(loose({"--speculate", "ngram:3", "--speculate-acceptance", "0.5"}));
  ASSERT_EQ(run.code, 0) << run.err << run.out;
  const auto verdict = run.json();
  EXPECT_EQ(verdict["speculation_counts"]["tokens"], 7);  // of 8, one comes from prefill
  EXPECT_GT(verdict["speculation_counts"]["asked"], 3);
  EXPECT_NEAR(verdict["plan"]["speculation_forecast"]["tokens_a_step"].get<double>(), 1.875, 1e-9);
  EXPECT_EQ(run_program(loose({"--speculate", "4"})).code, 2) << "nobody to guess";
  EXPECT_EQ(run_program(loose({"--speculate", "ngram:x"})).code, 2);
  EXPECT_EQ(run_program(loose({"--speculate-acceptance", "0.5"})).code, 2);
  EXPECT_EQ(run_program(loose({"--speculate", "ngram:2", "--kv-policy", "mass"})).code, 6);
}

TEST(VerifyCommand, ADraftModelRunsBesideTheOtherOnDry) {
  const Outcome run = run_program({"verify", "llama-3.1-8b", "--draft", "llama-3.2-1b", "--device",
                                   "cpu-generic", "--weights", "q4_k", "--context", "2k", "--batch",
                                   "2", "--backend", "dry", "--json"});
  ASSERT_EQ(run.code, 0) << run.err;
  const auto verdict = run.json();
  int draft = 0;
  for (const auto& row : verdict["rows"]) {
    EXPECT_EQ(row["outcome"], "within") << row.dump();
    draft += row["category"] == "draft";
  }
  EXPECT_EQ(draft, 3);
}

/// Codes and scales as published checkpoints pack them; tables, head and norms in 16 bits beside.
TEST(VerifyCommand, PackedWeightsRunOnTheCpuExactToTheByte) {
  for (const char* format : {"fp8", "fp8-tensor", "fp8-block", "int8-channel", "awq-int4-g64",
                             "gptq-int4-g32", "packed-int4-g64"}) {
    const Outcome run = run_program({"verify",          "smollm2-135m",
                                     "--set",           "layer_count=2",
                                     "--set",           "vocab=1024",
                                     "--context",       "40",
                                     "--output-tokens", "4",
                                     "--threads",       "1",
                                     "--weights",       format,
                                     "--rounds",        "1",
                                     "--tolerance",     "process-floor=64MiB",
                                     "--tolerance",     "process-under=1",
                                     "--json"});
    ASSERT_EQ(run.code, 0) << format << run.err << run.out;
    const auto verdict = run.json();
    for (const auto& row : verdict["rows"]) {
      if (row["category"] == "runtime" || row["observed_bytes"].is_null()) continue;
      EXPECT_EQ(row["predicted_bytes"], row["observed_bytes"]) << format << row.dump();
    }
  }
  const Outcome refused = run_program({"verify", "smollm2-135m", "--weights", "nf4", "--backend",
                                       "cpu", "--device", "cpu-generic"});
  EXPECT_EQ(refused.code, 6);
  EXPECT_HOLDS(refused.err, "nf4");
}

/// 320 GiB of cache in f16, 160 in fp8: two bits a code bring it under one card.
TEST(VerifyCommand, AMillionTokensOf70BRunOnOneCardWithTwoBits) {
  const std::vector<std::string> model = {
      "llama-3-70b", "--device", "h200-sxm-141gb",  "--weights", "q4_k",
      "--context",   "1M",       "--kv-cache-dtype"};
  const auto outcome = [&](const char* command, std::vector<std::string> more) {
    std::vector<std::string> arguments = {command};
    arguments.insert(arguments.end(), model.begin(), model.end());
    arguments.insert(arguments.end(), more.begin(), more.end());
    return run_program(arguments);
  };
  EXPECT_EQ(outcome("plan", {"f16"}).code, 3);
  EXPECT_EQ(outcome("plan", {"fp8"}).code, 3);
  const Outcome run = outcome("verify", {"kivi2", "--kv-residual", "8224", "--json"});
  ASSERT_EQ(run.code, 0) << run.err;
  std::int64_t cache = 0;
  const auto verdict = run.json();
  for (const auto& row : verdict["rows"]) {
    EXPECT_EQ(row["predicted_bytes"], row["observed_bytes"]) << row.dump();
    if (row["category"] == "kv_cache") cache += row["observed_bytes"].get<std::int64_t>();
  }
  // 1048575 tokens are cached: ceil((1048575 - 8224) / 32) x 32 in 3 bits, 8224 places in 16.
  constexpr std::int64_t kElements = 80 * 2 * 8 * 128;
  EXPECT_EQ(cache, 1'040'352 * kElements * 3 / 8 + 8'224 * kElements * 2);
}

TEST(VerifyCommand, CompressedCachesAreExactToTheByte) {
  const std::vector<std::vector<std::string>> choices = {
      {"--kv-cache-dtype", "kivi2"},
      {"--kv-cache-dtype", "kivi4", "--kv-residual", "96"},
      {"--kv-policy", "strided", "--kv-residual", "64"},
      {"--kv-layers", "0:kivi4/1", "--kv-cache-dtype", "int8"},
      {"--kv-cache-dtype", "kivi2", "--kv-full-heads", "0"},
      {"--kv-cache-dtype", "kivi2", "--kv-placement", "host", "--kv-offload", "0.5"}};
  for (const auto& choice : choices) {
    std::vector<std::string> more = {
        "--context",       "400",   "--tolerance", "process-floor=64MiB", "--tolerance",
        "process-under=1", "--json"};
    more.insert(more.end(), choice.begin(), choice.end());
    auto arguments = small("verify", more);
    arguments.erase(std::find(arguments.begin(), arguments.end(), "64") - 1,
                    std::find(arguments.begin(), arguments.end(), "64") + 1);
    const Outcome run = run_program(arguments);
    ASSERT_EQ(run.code, 0) << run.err << run.out;
    int caches = 0;
    const auto verdict = run.json();
    for (const auto& row : verdict["rows"]) {
      if (row["category"] != "kv_cache") continue;
      ++caches;
      EXPECT_EQ(row["predicted_bytes"], row["observed_bytes"]) << row.dump();
    }
    EXPECT_GE(caches, 2) << choice[1];
  }
}

TEST(VerifyCommand, WeightFormatsOfLayersAreExactToTheByte) {
  const Outcome run = run_program(
      small("verify", {"--weight-layers", "0:f16,1:fp8", "--tolerance", "process-floor=64MiB",
                       "--tolerance", "process-under=1", "--json"}));
  ASSERT_EQ(run.code, 0) << run.err << run.out;
  std::set<std::string> names;
  const auto verdict = run.json();
  for (const auto& row : verdict["rows"]) {
    if (row["category"] != "weights") continue;
    names.insert(row["name"]);
    EXPECT_EQ(row["predicted_bytes"], row["observed_bytes"]) << row.dump();
  }
  EXPECT_EQ(names.count("attention f16"), 1U);
  EXPECT_EQ(names.count("feed_forward fp8"), 1U);
  EXPECT_EQ(names.count("attention"), 0U);
}

/// The real model's file, converted: the same rows in the plan and in the run.
TEST(VerifyCommand, AFileConvertedAtLoadIsExactToTheByte) {
  const char* const path = std::getenv("VRAMPLAN_TEST_MODEL");
  if (path == nullptr) GTEST_SKIP() << "set VRAMPLAN_TEST_MODEL to a SmolLM2 GGUF file";
  const Outcome run =
      run_program({"verify", path, "--context", "24", "--output-tokens", "2", "--weights", "q4_0",
                   "--weight-layers", "0-3:q8_0,29:stored", "--json"});
  ASSERT_NE(run.out, "") << run.err;
  int rows = 0;
  const auto verdict = run.json();
  for (const auto& row : verdict["rows"]) {
    if (row["category"] != "weights") continue;
    ++rows;
    EXPECT_EQ(row["predicted_bytes"], row["observed_bytes"]) << row.dump();
  }
  EXPECT_EQ(rows, 2 + 2 * 3);  // embedding, norms; attention and feed-forward in three formats
  const Outcome searched = run_program(
      {"verify", path, "--weights", "q8_0", "--weight-layers", "0:int8", "--context", "24"});
  EXPECT_EQ(searched.code, 6) << searched.err;
  EXPECT_HOLDS(searched.err, "converting a file's weights to int8");
}

TEST(VerifyCommand, AToleranceOfNothingIsExceeded) {
  const Outcome run =
      run_program(small("verify", {"--tolerance", "process=0", "--tolerance", "process-floor=0",
                                   "--tolerance", "process-under=0"}));
  EXPECT_EQ(run.code, 5) << run.out << run.err;
  EXPECT_HOLDS(run.out, "OUT OF TOLERANCE");
}

TEST(VerifyCommand, ReportsAreWritten) {
  const Folder folder;
  const Outcome run = run_program({"verify", "llama-2-7b", "--device", "h100-sxm-80gb", "--report",
                                   folder / "r.html", "--markdown", folder / "r.md", "--junit",
                                   folder / "r.xml", "--out", folder / "p.yaml"});
  ASSERT_EQ(run.code, 0) << run.err;
  EXPECT_HOLDS(contents(folder / "r.html"), "<html");
  EXPECT_HOLDS(contents(folder / "r.md"), "|");
  EXPECT_HOLDS(contents(folder / "r.xml"), "<testsuite");
  EXPECT_HOLDS(contents(folder / "p.yaml"), "decisions:");
  EXPECT_FALSE(std::filesystem::exists(folder / "r.html.partial"));
}

TEST(VerifyCommand, WhatCannotRunIsRefusedByItsCode) {
  EXPECT_EQ(run_program({"verify", "llama-2-7b", "--backend", "cuda"}).code, 7);
  EXPECT_EQ(run_program({"verify", "llama-2-7b", "--backend", "abacus"}).code, 2);
  const Outcome bf16 =
      run_program({"verify", "llama-2-7b", "--device", "h100-sxm-80gb", "--backend", "cpu"});
  EXPECT_EQ(bf16.code, 6);
  EXPECT_HOLDS(bf16.err, "VP0601");
  const Outcome large = run_program({"verify", "llama-3.1-405b", "--device", "h100-sxm-80gb"});
  EXPECT_EQ(large.code, 3);
  EXPECT_HOLDS(large.err, "VP0301");
  EXPECT_HOLDS(large.err, "missing");
  const Outcome tolerance = run_program({"verify", "llama-2-7b", "--tolerance", "proces=0.1"});
  EXPECT_EQ(tolerance.code, 2);
  EXPECT_HOLDS(tolerance.err, "process");
  EXPECT_EQ(run_program({"verify", "llama-2-7b", "--tolerance", "process=-1"}).code, 2);
}

}  // namespace
}  // namespace vramplan::testing
