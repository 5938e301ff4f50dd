#include "tests/cli/program.h"

namespace vramplan::testing {
namespace {

Outcome on_fake(const std::vector<std::string>& arguments) {
  return run_program(arguments, "", VRAMPLAN_ON_FAKE);
}

const std::vector<std::string> kVerify = {
    "verify", "smollm2-135m",    "--device", "h200-sxm-141gb", "--context",
    "24",     "--backend",       "cuda",     "--set",          "layer_count=2",
    "--json", "--output-tokens", "4"};

TEST(Execution, ACudaRunIsVerifiedRowByRowOnTheFakeDriver) {
  const Outcome outcome = on_fake(kVerify);
  ASSERT_EQ(outcome.code, 0) << outcome.err;
  const auto run = outcome.json();
  int device_rows = 0;
  for (const auto& row : run["rows"]) {
    if (row["tier"] != "device") continue;
    ++device_rows;
    EXPECT_EQ(row["predicted_bytes"], row["observed_bytes"]) << row["name"];
  }
  EXPECT_GE(device_rows, 14);
  EXPECT_EQ(run["process"]["predicted_bytes"], run["process"]["observed_bytes"]);
}

/// What a cache, sequences and memory beyond the device do differently, by the flags that say so.
TEST(Execution, TechniquesAreVerifiedRowByRowOnTheFakeDriver) {
  const std::vector<std::vector<std::string>> techniques = {
      {"--kv-cache-dtype", "kivi2"},
      {"--kv-policy", "sink_window", "--kv-window", "16"},
      {"--kv-placement", "host"},
      {"--beams", "2", "--batch", "2"},
      {"--weight-offload", "0.5", "--activation-offload"}};
  for (const std::vector<std::string>& flags : techniques) {
    SCOPED_TRACE(flags[1]);
    std::vector<std::string> arguments = kVerify;
    arguments.insert(arguments.end(), flags.begin(), flags.end());
    const Outcome outcome = on_fake(arguments);
    ASSERT_EQ(outcome.code, 0) << outcome.err;
    const auto run = outcome.json();
    for (const auto& row : run["rows"]) {
      if (row["tier"] != "device") continue;
      EXPECT_EQ(row["predicted_bytes"], row["observed_bytes"]) << row["name"];
    }
    EXPECT_EQ(run["process"]["predicted_bytes"], run["process"]["observed_bytes"]);
  }
}

TEST(Execution, GraphsCanBeLeftOut) {
  std::vector<std::string> arguments = kVerify;
  arguments.push_back("--no-graphs");
  const Outcome outcome = on_fake(arguments);
  ASSERT_EQ(outcome.code, 0) << outcome.err;
  for (const auto& row : outcome.json()["rows"]) {
    if (row["category"] != "graphs") continue;
    EXPECT_EQ(row["outcome"], "not_measured");
  }
}

TEST(Execution, CudaWithoutADeviceExitsSevenInWords) {
  const Outcome outcome = run_program(kVerify);
  if (outcome.code == 0) GTEST_SKIP() << "this machine has a CUDA device";
  EXPECT_EQ(outcome.code, 7);
  EXPECT_HOLDS(outcome.err, "no CUDA device");
}

TEST(Execution, APlanForACpuDoesNotRunOnAGpu) {
  const Outcome outcome = on_fake({"verify", "smollm2-135m", "--device", "cpu-generic", "--context",
                                   "24", "--backend", "cuda"});
  EXPECT_EQ(outcome.code, 6);
  EXPECT_HOLDS(outcome.err, "no GPU");
}

}  // namespace
}  // namespace vramplan::testing
