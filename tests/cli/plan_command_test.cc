#include "tests/cli/program.h"

namespace vramplan::testing {
namespace {

const std::vector<std::string> kTwoCards = {"plan",    "llama-3-70b", "--device",  "h100-sxm-80gb",
                                            "--count", "2",           "--weights", "fp16"};

std::vector<std::string> with(std::vector<std::string> arguments,
                              const std::vector<std::string>& more) {
  arguments.insert(arguments.end(), more.begin(), more.end());
  return arguments;
}

TEST(PlanCommand, OneLongSequenceOf70BFitsTwo80GbCards) {
  const Outcome run = run_program(with(kTwoCards, {"--context", "32k", "--batch", "1", "--json"}));
  ASSERT_EQ(run.code, 0) << run.err;
  const auto plan = run.json();
  EXPECT_EQ(plan["schema"], "vramplan.plan/1");
  EXPECT_EQ(plan["verdict"], "fits");
  EXPECT_EQ(plan["totals"]["kv_bytes_per_token"], 327680);
  EXPECT_EQ(plan["totals"]["kv_bytes"], 10LL << 30);
  EXPECT_EQ(plan["totals"]["parameters"], 70553706496LL);
  EXPECT_EQ(plan["devices"].size(), 2U);
  EXPECT_TRUE(plan["devices"][0]["predicted_bytes"].is_number_integer());
  EXPECT_GE(plan["devices"][0]["headroom_bytes"], 0);
}

TEST(PlanCommand, SixtyFourShortSequencesDoNotFitAndTheMissingBytesAreNamed) {
  const std::vector<std::string> load = {"--context", "2k", "--batch", "64"};
  const Outcome json = run_program(with(with(kTwoCards, load), {"--json"}));
  EXPECT_EQ(json.code, 3) << json.err;
  const auto plan = json.json();
  EXPECT_EQ(plan["verdict"], "does_not_fit");
  EXPECT_EQ(plan["totals"]["kv_bytes"], 40LL << 30);
  std::int64_t worst = 0;
  for (const auto& device : plan["devices"]) {
    worst = std::min(worst, device["headroom_bytes"].get<std::int64_t>());
  }
  EXPECT_LT(worst, 0);
  EXPECT_EQ(plan["missing_bytes"], -worst);

  const Outcome text = run_program(with(kTwoCards, load));
  EXPECT_EQ(text.code, 3);
  EXPECT_EQ(text.out.rfind("DOES NOT FIT", 0), 0U) << text.out;
  EXPECT_HOLDS(text.out, "missing");
}

TEST(PlanCommand, SetTurnsGroupedHeadsIntoFullOnes) {
  const Outcome run =
      run_program(with(kTwoCards, {"--set", "layers.kv_heads=64", "--context", "32k", "--json"}));
  EXPECT_EQ(run.json()["totals"]["kv_bytes_per_token"], 2621440) << run.err;
}

TEST(PlanCommand, EveryFormatIsWritten) {
  const std::vector<std::string> plan = {"plan", "llama-2-7b", "--device", "h100-sxm-80gb"};
  EXPECT_HOLDS(run_program(with(plan, {"-o", "md"})).out, "|");
  EXPECT_HOLDS(run_program(with(plan, {"-o", "yaml"})).out, "decisions:");
  EXPECT_TRUE(run_program(with(plan, {"-o", "json"})).json().is_object());
  EXPECT_EQ(run_program(with(plan, {"-o", "xml"})).code, 2);
}

TEST(PlanCommand, ThePlanFileIsReadBackByExplain) {
  const Folder folder;
  const Outcome plan = run_program(
      {"plan", "llama-2-7b", "--device", "h100-sxm-80gb", "--out", folder / "plan.yaml"});
  ASSERT_EQ(plan.code, 0) << plan.err;
  const Outcome explained = run_program({"explain", folder / "plan.yaml"});
  EXPECT_EQ(explained.code, 0) << explained.err;
  EXPECT_HOLDS(explained.out, "kv_cache");
  EXPECT_HOLDS(explained.out, "llama-2-7b");
}

TEST(PlanCommand, AnUnnamedDeviceIsAnAssumptionWithItsFlag) {
  const Outcome run = run_program({"plan", "smollm2-135m", "--context", "1k", "--json"});
  ASSERT_EQ(run.code, 0) << run.err;
  bool named = false;
  const auto plan = run.json();
  for (const auto& assumption : plan["assumptions"]) {
    if (assumption["what"] != "device") continue;
    EXPECT_EQ(assumption["flag"], "--device");
    named = true;
    EXPECT_HOLDS(assumption["value"].get<std::string>(), "cpu-generic");
  }
  EXPECT_TRUE(named);
}

TEST(PlanCommand, AnUnknownModelOrDeviceNamesTheNearest) {
  const Outcome model = run_program({"plan", "llama-3-70", "--device", "h100-sxm-80gb"});
  EXPECT_EQ(model.code, 2);
  EXPECT_TRUE(model.out.empty());
  EXPECT_HOLDS(model.err, "error[VP0102]");
  EXPECT_HOLDS(model.err, "llama-3-70b");
  const Outcome device = run_program({"plan", "llama-3-70b", "--device", "h100-sxm-80g"});
  EXPECT_EQ(device.code, 2);
  EXPECT_HOLDS(device.err, "h100-sxm-80gb");
}

TEST(PlanCommand, APublishedNameAndOtherLettersFindTheirCards) {
  const Outcome run = run_program({"plan", "meta-llama/Llama-3.1-8B-Instruct", "--device",
                                   "H100-SXM-80GB", "--context", "4k", "--json"});
  ASSERT_EQ(run.code, 0) << run.err;
  EXPECT_EQ(run.json()["decisions"]["model"], "llama-3.1-8b");
  EXPECT_EQ(run.json()["decisions"]["device"], "h100-sxm-80gb");
  EXPECT_HOLDS(run.err, "is planned as the card llama-3.1-8b");
}

TEST(PlanCommand, WordsThatAreNoValuesAreRefusedByFlag) {
  const std::vector<std::pair<std::string, std::string>> wrong = {
      {"--context", "many"},
      {"--context", "-5"},
      {"--batch", "0"},
      {"--batch", "1.5"},
      {"--tp", "-1"},
      {"--weights", "fp15"},
      {"--kv-cache-dtype", "x"},
      {"--capacity", "80"},
      {"--attention", "flash"},
      {"--count", "0"},
      {"--block-size", "0"},
      {"--set", "layers.kv_hed=3"},
      {"--context", "9999999999999999999999"}};
  for (const auto& [flag, value] : wrong) {
    if (flag == "--capacity") continue;
    const Outcome run =
        run_program({"plan", "llama-2-7b", "--device", "h100-sxm-80gb", flag + "=" + value});
    EXPECT_EQ(run.code, 2) << flag << " " << value << run.out;
    EXPECT_HOLDS(run.err, "error[VP0");
  }
}

TEST(PlanCommand, HostileFilesAreBadInput) {
  const Folder folder;
  const std::string zeros(64, '\0');
  const std::string huge_counts = std::string("GGUF\x03\0\0\0", 8) + std::string(16, '\xff');
  std::vector<std::string> paths = {folder.write("empty.gguf", ""),
                                    folder.write("zeros.gguf", zeros),
                                    folder.write("cut.gguf", std::string("GGUF\x03\0\0\0", 8)),
                                    folder.write("huge.gguf", huge_counts)};
  std::filesystem::create_directories(folder / "checkpoint");
  folder.write("checkpoint/config.json", std::string(100000, '['));
  paths.push_back(folder / "checkpoint");
  for (const auto& path : paths) {
    const Outcome run = run_program({"plan", path, "--device", "h100-sxm-80gb"});
    EXPECT_EQ(run.code, 2) << path << "\n" << run.err;
    EXPECT_HOLDS(run.err, "error[VP02");
  }
  const std::vector<std::string> cards = {folder.write("alias.yaml", "a: &x [1]\nb: [*x, *x]\n"),
                                          folder.write("deep.yaml", std::string(5000, '[')),
                                          folder.write("type.yaml", "name: [1, 2]\n"),
                                          folder.write("binary.yaml", zeros)};
  for (const auto& path : cards) {
    const Outcome run = run_program({"plan", "llama-2-7b", "--device", path});
    EXPECT_EQ(run.code, 2) << path << "\n" << run.err;
    EXPECT_HOLDS(run.err, "error[VP02");
  }
}

TEST(PlanCommand, AnUnwritableFileIsSaid) {
  const Outcome run = run_program({"plan", "llama-2-7b", "--device", "h100-sxm-80gb", "--out",
                                   "/nonexistent-folder/plan.yaml"});
  EXPECT_EQ(run.code, 2);
  EXPECT_HOLDS(run.err, "VP0205");
}

TEST(PlanCommand, AFullDiskUnderStdoutIsNoSuccess) {
  if (!std::filesystem::exists("/dev/full")) GTEST_SKIP() << "no /dev/full here";
  const std::string line = std::string(VRAMPLAN_BINARY) +
                           " plan llama-2-7b --device h100-sxm-80gb >/dev/full 2>/dev/null";
  const int status = std::system(line.c_str());
  EXPECT_EQ(WEXITSTATUS(status), 1);
}

}  // namespace
}  // namespace vramplan::testing
