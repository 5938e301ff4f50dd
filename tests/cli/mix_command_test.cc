#include <gtest/gtest.h>

#include <cstdlib>

#include "tests/cli/program.h"

namespace vramplan::testing {
namespace {

TEST(MixCommand, AQuestionItCannotAnswerNamesTheFlag) {
  const Folder folder;
  folder.write("text.txt", "a few words");
  const auto run = [&](std::vector<std::string> more) {
    std::vector<std::string> arguments = {"mix", "smollm2-135m", folder / "text.txt"};
    arguments.insert(arguments.end(), more.begin(), more.end());
    return run_program(arguments);
  };
  const Outcome weights = run({"--quality-floor", "kl:0.02"});
  EXPECT_EQ(weights.code, 2);
  EXPECT_HOLDS(weights.err, "without weights");
  EXPECT_EQ(run({}).code, 2);  // no floor
}

/// The real model over few tokens: what is found keeps the floor, and its flags give its bytes.
TEST(MixCommand, WhatIsFoundIsAPlan) {
  const char* const path = std::getenv("VRAMPLAN_TEST_MODEL");
  if (path == nullptr) GTEST_SKIP() << "set VRAMPLAN_TEST_MODEL to a SmolLM2 GGUF file";
  const std::string text = std::string(VRAMPLAN_SOURCE_DIR) + "/bench/techniques/text.txt";
  const Outcome run =
      run_program({"mix", path, text, "--quality-floor", "kl:0.05", "--tokens", "192", "--formats",
                   "int8,kivi2", "--layers-together", "15", "--context", "1k", "--json"});
  ASSERT_EQ(run.code, 0) << run.err;
  const auto answer = run.json();
  EXPECT_EQ(answer["schema"], "vramplan.mix/1");
  EXPECT_EQ(answer["groups"].size(), 2U);
  EXPECT_LE(answer["found"]["mean_divergence"].get<double>(), 0.05);
  EXPECT_TRUE(answer["found"]["keeps_floor"].get<bool>());
  std::vector<std::string> plan = {"plan", path, "--context", "1k", "--json"};
  std::istringstream flags(answer["flags"].get<std::string>());
  for (std::string word; flags >> word;) plan.push_back(word);
  const Outcome planned = run_program(plan);
  ASSERT_EQ(planned.code, 0) << planned.err;
  EXPECT_EQ(planned.json()["totals"]["kv_bytes"], answer["found"]["kv_bytes"]);
}

TEST(MixCommand, OfWeightsGivesFlagsOfAPlan) {
  const char* const path = std::getenv("VRAMPLAN_TEST_MODEL");
  if (path == nullptr) GTEST_SKIP() << "set VRAMPLAN_TEST_MODEL to a SmolLM2 GGUF file";
  const std::string text = std::string(VRAMPLAN_SOURCE_DIR) + "/bench/techniques/text.txt";
  const auto mix = [&](std::vector<std::string> more) {
    std::vector<std::string> arguments = {
        "mix", path, text, "--of", "weights", "--quality-floor", "kl:0.1", "--tokens", "192"};
    arguments.insert(arguments.end(), more.begin(), more.end());
    return run_program(arguments);
  };
  EXPECT_EQ(mix({"--weights", "q8_0"}).code, 2);
  const Outcome searched = mix({"--formats", "q4_k"});
  EXPECT_EQ(searched.code, 2);  // rows of 576 are no K-quants
  // Layers that cost most of this: in a format that loses next to nothing, against their own.
  const Outcome run =
      mix({"--formats", "fp8,q4_0", "--layers-together", "15", "--most-runs", "1", "--json"});
  ASSERT_EQ(run.code, 0) << run.err;
  const auto answer = run.json();
  EXPECT_EQ(answer["of"], "weights");
  EXPECT_EQ(answer["groups"].size(), 2U);
  EXPECT_HOLDS(run.err, "fp8 saves no byte of this file");
  std::vector<std::string> plan = {"plan", path, "--json"};
  std::istringstream flags(answer["flags"].get<std::string>());
  for (std::string word; flags >> word;) plan.push_back(word);
  const Outcome planned = run_program(plan);
  ASSERT_EQ(planned.code, 0) << planned.err;
  EXPECT_EQ(planned.json()["totals"]["weight_bytes"], answer["found"]["weight_bytes"]);
}

}  // namespace
}  // namespace vramplan::testing
