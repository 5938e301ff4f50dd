#include <spawn.h>
#include <unistd.h>
#include <csignal>

#include "tests/cli/program.h"

namespace vramplan::testing {
namespace {

std::string plan_file(const Folder& folder, const std::vector<std::string>& more) {
  std::vector<std::string> arguments = {
      "plan", "smollm2-135m", "--threads", "1", "--weights", "q8_0", "--out", folder / "plan.yaml"};
  arguments.insert(arguments.end(), more.begin(), more.end());
  const Outcome plan = run_program(arguments);
  EXPECT_TRUE(plan.code == 0 || plan.code == 3) << plan.err;
  return folder / "plan.yaml";
}

const std::vector<std::string> kSmall = {
    "--set", "layer_count=2", "--set", "vocab=1024", "--context", "64", "--output-tokens", "8"};

TEST(RunCommand, APlanRunsOnTheCpuAndOnTheDryBackend) {
  const Folder folder;
  const std::string plan = plan_file(folder, kSmall);
  for (const char* backend : {"cpu", "dry"}) {
    const Outcome run = run_program({"run", plan, "--backend", backend, "--json"});
    ASSERT_EQ(run.code, 0) << backend << run.err;
    const auto result = run.json();
    EXPECT_EQ(result["schema"], "vramplan.run/1");
    EXPECT_EQ(result["environment"]["backend"], backend);
    EXPECT_EQ(result["complete"], true);
  }
}

TEST(RunCommand, APlanThatDoesNotFitIsRefusedBeforeAnythingIsTaken) {
  const Folder folder;
  const std::string plan = plan_file(folder, {"--context", "8k", "--batch", "512"});
  const Outcome run = run_program({"run", plan});
  EXPECT_EQ(run.code, 3);
  EXPECT_HOLDS(run.err, "VP0301");
  EXPECT_HOLDS(run.err, "nothing was taken");
}

TEST(RunCommand, ACapacityBelowThePlanStopsAtTheFirstTakeThatGoesOver) {
  const Folder folder;
  const std::string plan = plan_file(folder, kSmall);
  const std::vector<std::string> edge = {"run", plan, "--capacity", "20MiB"};
  const Outcome refused = run_program(edge);
  EXPECT_EQ(refused.code, 3);
  EXPECT_HOLDS(refused.err, "VP0301");
  std::vector<std::string> unchecked = edge;
  unchecked.emplace_back("--no-precheck");
  unchecked[3] = "10MiB";
  const Outcome stopped = run_program(unchecked);
  EXPECT_EQ(stopped.code, 3) << stopped.out;
  EXPECT_HOLDS(stopped.err, "VP0302");
}

TEST(RunCommand, ATraceIsWrittenOfTheCpuAndRefusedElsewhere) {
  const Folder folder;
  const std::string plan = plan_file(folder, kSmall);
  const std::string file = folder / "trace.json";
  const Outcome run = run_program({"run", plan, "--trace", file, "--json"});
  ASSERT_EQ(run.code, 0) << run.err;
  EXPECT_HOLDS(run.err, "events");
  const auto trace = nlohmann::json::parse(contents(file));
  int passes = 0, operations = 0;
  for (const auto& event : trace["traceEvents"]) {
    if (event["ph"] != "X") continue;
    ++(event["cat"] == "pass" ? passes : operations);
  }
  EXPECT_EQ(passes, 1 + 7);  // a chunk, and a step for each token but the first
  EXPECT_GT(operations, 8 * passes);
  EXPECT_EQ(run_program({"run", plan, "--backend", "dry", "--trace", file}).code, 6);
  EXPECT_EQ(run_program({"run", plan, "--replicas", "2", "--trace", file}).code, 6);
}

TEST(RunCommand, ReplicasOfAPlanAreThoseThatAreAskedFor) {
  const Folder folder;
  const std::string plan = plan_file(folder, kSmall);
  const Outcome run = run_program({"run", plan, "--replicas", "2", "--json"});
  ASSERT_EQ(run.code, 0) << run.err;
  EXPECT_EQ(run.json()["replicas"]["processes"].size(), 2U);
  EXPECT_EQ(run.json()["plan"]["decisions"]["replicas"], 2);
}

TEST(RunCommand, ResultsAreKeptOfPromptsOnly) {
  const Folder folder;
  const std::string plan = plan_file(folder, kSmall);
  const Outcome run = run_program({"run", plan, "--result-cache", folder / "results"});
  EXPECT_EQ(run.code, 2);
  EXPECT_HOLDS(run.err, "--result-cache");
}

TEST(RunCommand, TheSameRequestIsAnsweredFromWhatWasKept) {
  const char* model = std::getenv("VRAMPLAN_TEST_MODEL");
  if (model == nullptr) GTEST_SKIP() << "VRAMPLAN_TEST_MODEL names no GGUF file";
  const Folder folder;
  const Outcome planned = run_program(
      {"plan", model, "--context", "128", "--output-tokens", "8", "--out", folder / "plan.yaml"});
  ASSERT_EQ(planned.code, 0) << planned.err;
  const auto ask = [&](std::vector<std::string> more) {
    std::vector<std::string> arguments = {"run",        folder / "plan.yaml", "--prompt",
                                          "The sky is", "--max-tokens",       "8",
                                          "--json",     "--result-cache",     folder / "results"};
    arguments.insert(arguments.end(), more.begin(), more.end());
    const Outcome run = run_program(arguments);
    EXPECT_EQ(run.code, 0) << run.err;
    return run.json();
  };
  const auto first = ask({}), again = ask({});
  EXPECT_EQ(first["result_cache"]["hit"], false);
  EXPECT_EQ(again["result_cache"]["hit"], true);
  EXPECT_EQ(again["output"], first["output"]);
  EXPECT_EQ(again["result_cache"]["entries"], 1);
  EXPECT_GT(again["result_cache"]["bytes"], 0);
  EXPECT_EQ(ask({"--seed", "5"})["result_cache"]["hit"], true) << "greedy tokens need no seed";
  const std::vector<std::string> drawn = {"--temperature", "1", "--seed", "5"};
  EXPECT_EQ(ask(drawn)["result_cache"]["hit"], false);
  EXPECT_EQ(ask(drawn)["result_cache"]["hit"], true);
  EXPECT_EQ(ask({"--temperature", "1", "--seed", "6"})["result_cache"]["hit"], false);
}

TEST(RunCommand, AnotherCardThanAtPlanTimeIsStale) {
  const Folder folder;
  const std::string plan = plan_file(folder, kSmall);
  std::string text = contents(plan);
  const std::size_t at = text.find("layer_count=2");
  ASSERT_NE(at, std::string::npos);
  text.replace(at, 13, "layer_count=3");
  const Outcome run = run_program({"run", folder.write("stale.yaml", text)});
  EXPECT_EQ(run.code, 3);
  EXPECT_HOLDS(run.err, "VP0303");
}

TEST(RunCommand, MistakesAreBadUsage) {
  const Folder folder;
  const std::string plan = plan_file(folder, kSmall);
  const std::vector<std::vector<std::string>> wrong = {
      {"run", plan, "--prompt", "a", "--chat", "b"},
      {"run", plan, "--prompt", "no tokenizer"},
      {"run", plan, "--temperature", "-1"},
      {"run", plan, "--top-p", "0"},
      {"run", plan, "--max-tokens", "0"},
      {"run", plan, "--max-tokens", "1000"},
      {"run", plan, "--prompt", "x", "--backend", "dry"},
      {"run", folder / "missing.yaml"},
      {"run", folder.write("bad.yaml", "decisions: [1, 2\n")},
      {"run", folder.write("empty.yaml", "")}};
  for (const auto& arguments : wrong) {
    const Outcome run = run_program(arguments);
    EXPECT_EQ(run.code, 2) << arguments.back() << "\n" << run.err << run.out;
  }
  EXPECT_EQ(run_program({"run", plan, "--backend", "cuda"}).code, 7);
}

TEST(RunCommand, TextStreamsToStdoutAndTheMeasurementToStderr) {
  const char* model = std::getenv("VRAMPLAN_TEST_MODEL");
  if (model == nullptr || !std::filesystem::exists(model)) {
    GTEST_SKIP() << "VRAMPLAN_TEST_MODEL names no GGUF file";
  }
  const Folder folder;
  const Outcome plan =
      run_program({"plan", model, "--context", "128", "--out", folder / "plan.yaml"});
  ASSERT_EQ(plan.code, 0) << plan.err;
  const Outcome run = run_program(
      {"run", folder / "plan.yaml", "--prompt", "The capital of France is", "--max-tokens", "8"});
  ASSERT_EQ(run.code, 0) << run.err;
  EXPECT_HOLDS(run.out, "Paris");
  EXPECT_FALSE(holds(run.out, "tokens/s"));
  EXPECT_HOLDS(run.err, "tokens/s");
  const Outcome json = run_program({"run", folder / "plan.yaml", "--prompt",
                                    "The capital of France is", "--max-tokens", "8", "--json"});
  const auto result = json.json();
  bool seen = false;
  for (const auto& row : result["rows"]) {
    if (row["category"] != "kv_cache") continue;
    seen = true;
    EXPECT_EQ(row["predicted_bytes"], row["observed_bytes"]) << "the plan is that of the prompt";
  }
  EXPECT_TRUE(seen);
}

TEST(RunCommand, AnInterruptEndsWith130AndNoCrash) {
  const Folder folder;
  // Minutes of work; the test ends it after it has begun.
  const std::string plan =
      plan_file(folder, {"--context", "8k", "--output-tokens", "4k", "--batch", "2"});
  for (const auto& [signal, code] : {std::pair(SIGINT, 130), std::pair(SIGTERM, 143)}) {
    const pid_t child = fork();
    ASSERT_GE(child, 0);
    if (child == 0) {
      const std::string out = folder / "out", err = folder / "err";
      if (std::freopen(out.c_str(), "w", stdout) == nullptr) _exit(99);
      if (std::freopen(err.c_str(), "w", stderr) == nullptr) _exit(99);
      execl(VRAMPLAN_BINARY, "vramplan", "run", plan.c_str(), static_cast<char*>(nullptr));
      _exit(99);
    }
    usleep(300000);
    kill(child, signal);
    int status = 0;
    ASSERT_EQ(waitpid(child, &status, 0), child);
    ASSERT_TRUE(WIFEXITED(status)) << "killed by signal " << WTERMSIG(status);
    EXPECT_EQ(WEXITSTATUS(status), code) << contents(folder / "err");
    EXPECT_TRUE(contents(folder / "out").empty());
  }
}

}  // namespace
}  // namespace vramplan::testing
