#include <algorithm>
#include <regex>

#include "tests/cli/program.h"

namespace vramplan::testing {
namespace {

TEST(Usage, NoArgumentsIsBadUsage) {
  const Outcome run = run_program({});
  EXPECT_EQ(run.code, 2);
  EXPECT_TRUE(run.out.empty());
  EXPECT_HOLDS(run.err, "error[VP0101]");
  EXPECT_HOLDS(run.err, "--help");
}

TEST(Usage, AnUnknownSubcommandNamesTheNearest) {
  const Outcome run = run_program({"plna", "llama-3-70b"});
  EXPECT_EQ(run.code, 2);
  EXPECT_HOLDS(run.err, "error[VP0102]");
  EXPECT_HOLDS(run.err, "did you mean plan?");
}

TEST(Usage, LaterWorkIsNotOfferedAsIfItWorked) {
  const std::string help = run_program({"--help"}).out;
  for (const char* word : {"simulate"}) {
    EXPECT_EQ(run_program({word}).code, 2) << word;
    EXPECT_FALSE(holds(help, std::string("\n  ") + word)) << word;
  }
}

TEST(Usage, AnUnknownFlagNamesTheNearest) {
  const Outcome run = run_program({"plan", "llama-3-70b", "--contxt", "32k"});
  EXPECT_EQ(run.code, 2);
  EXPECT_HOLDS(run.err, "error[VP0101]");
  EXPECT_HOLDS(run.err, "--context");
  const Outcome underscore = run_program({"plan", "llama-3-70b", "--kv_cache_dtype=f16"});
  EXPECT_HOLDS(underscore.err, "--kv-cache-dtype");
}

TEST(Usage, AFlagWithoutItsValueIsBadUsage) {
  const Outcome run = run_program({"plan", "llama-3-70b", "--batch"});
  EXPECT_EQ(run.code, 2);
  EXPECT_HOLDS(run.err, "error[VP0101]");
  EXPECT_EQ(run_program({"plan"}).code, 2);
  EXPECT_EQ(run_program({"plan", "a", "b"}).code, 2);
}

TEST(Usage, HelpStartsWithThreeExamples) {
  for (const char* command : {"", "plan", "explain", "run", "verify", "calibrate", "report",
                              "import", "models", "devices", "schema", "completion"}) {
    std::vector<std::string> arguments;
    if (*command != '\0') arguments.emplace_back(command);
    arguments.emplace_back("--help");
    const Outcome run = run_program(arguments);
    EXPECT_EQ(run.code, 0) << command;
    EXPECT_TRUE(run.err.empty()) << run.err;
    const std::size_t examples = run.out.find("Examples:"), usage = run.out.find("Usage:");
    ASSERT_NE(examples, std::string::npos) << command;
    ASSERT_NE(usage, std::string::npos) << command;
    ASSERT_LT(examples, usage) << command;
    EXPECT_HOLDS(run.out, std::string("Usage: vramplan ") + command);
    std::size_t count = 0;
    const std::string block = run.out.substr(examples, usage - examples);
    for (std::size_t at = 0; (at = block.find("vramplan ", at)) != std::string::npos; ++at) ++count;
    EXPECT_GE(count, 3U) << command;
  }
}

/// Long flags by subcommand, from the completion script that knows them all.
std::vector<std::pair<std::string, std::vector<std::string>>> all_flags() {
  std::vector<std::pair<std::string, std::vector<std::string>>> out;
  const std::string script = run_program({"completion", "bash"}).out;
  const std::regex line("(\\w[\\w-]*)\\) flags=\"([^\"]*)\""), flag("--[a-z][a-z0-9-]*");
  for (std::sregex_iterator it(script.begin(), script.end(), line), end; it != end; ++it) {
    const std::string flags = (*it)[2];
    out.emplace_back((*it)[1], std::vector<std::string>{});
    for (std::sregex_iterator f(flags.begin(), flags.end(), flag); f != end; ++f) {
      out.back().second.push_back(f->str());
    }
  }
  return out;
}

// A letter left out, or two swapped, in every flag of every subcommand: one error, exit 2, and the
// flag that was meant, where it is long enough to be near.
TEST(Usage, AMistypedFlagIsRecognisedEverywhere) {
  const auto commands = all_flags();
  ASSERT_GT(commands.size(), 15u);
  bool swaps = false;
  for (const auto& [command, flags] : commands) {
    ASSERT_FALSE(flags.empty()) << command;
    for (const std::string& flag : flags) {
      swaps = !swaps;
      const std::size_t at = 2 + (flag.size() - 2) / 2;
      std::string wrong = flag;
      if (swaps && at + 1 < flag.size()) std::swap(wrong[at], wrong[at + 1]);
      if (wrong == flag) wrong.erase(at, 1);
      if (wrong == "--" || std::find(flags.begin(), flags.end(), wrong) != flags.end()) continue;
      const Outcome run = run_program({command, wrong, "1"});
      EXPECT_EQ(run.code, 2) << command << " " << wrong;
      EXPECT_TRUE(run.out.empty()) << command << " " << wrong;
      EXPECT_EQ(run.err.find("error["), run.err.rfind("error[")) << run.err;
      EXPECT_TRUE(flag.size() < 8 || holds(run.err, flag)) << wrong << "\n" << run.err;
    }
  }
}

TEST(Usage, AMistypedSubcommandIsRecognised) {
  for (const auto& [command, flags] : all_flags()) {
    std::string wrong = command;
    wrong.erase(wrong.size() / 2, 1);
    const Outcome run = run_program({wrong});
    EXPECT_EQ(run.code, 2) << wrong;
    EXPECT_HOLDS(run.err, command);
  }
}

// Names behind flags: the nearest is said, and none when none is near.
TEST(Usage, AMistypedChoiceIsRecognised) {
  const std::vector<std::string> h100 = {"plan", "llama-3.1-8b", "--device", "h100-sxm-80gb"};
  const auto asked = [&](const std::string& flag, const std::string& word) {
    std::vector<std::string> all = h100;
    all.insert(all.end(), {flag, word});
    const Outcome run = run_program(all);
    EXPECT_EQ(run.code, 2) << flag << " " << word;
    EXPECT_EQ(run.err.find("error["), run.err.rfind("error[")) << run.err;
    return run.err;
  };
  EXPECT_HOLDS(asked("--weights", "q4_kk"), "did you mean q4_k");
  EXPECT_HOLDS(asked("--kv-cache-dtype", "fp9"), "did you mean fp8");
  EXPECT_HOLDS(asked("--engine", "vlm"), "did you mean vllm?");
  EXPECT_HOLDS(asked("--output", "jsn"), "did you mean json");
  EXPECT_FALSE(holds(asked("--output", "spreadsheet"), "did you mean"));
  EXPECT_HOLDS(run_program({"plan", "lama-3.1-8b"}).err, "did you mean llama-3.1-8b");
  EXPECT_HOLDS(run_program({"plan", "llama-3.1-8b", "--device", "h100-smx-80gb"}).err,
               "did you mean h100-sxm-80gb");
  EXPECT_HOLDS(run_program({"run", "llama-3.1-8b", "--backend", "cdua"}).err, "did you mean cuda");
  EXPECT_HOLDS(run_program({"completion", "bsh"}).err, "did you mean bash");
  EXPECT_HOLDS(run_program({"emit", "llama-3.1-8b", "--engine", "kserv"}).err,
               "did you mean kserve?");
}

TEST(Usage, ErrorsAreAJsonObjectWhenJsonWasAsked) {
  for (const std::vector<std::string>& arguments : std::vector<std::vector<std::string>>{
           {"plan", "no-such-model", "--json"},
           {"plan", "llama-3-70b", "--flag-nobody-knows", "--json"},
           {"plan", "llama-3-70b", "--device", "no-such-device", "-o", "json"},
           {"nonsense", "--json"}}) {
    const Outcome run = run_program(arguments);
    EXPECT_EQ(run.code, 2);
    const auto object = run.json();
    EXPECT_EQ(object["schema"], "vramplan.error/1");
    EXPECT_EQ(object["exit_code"], 2);
    EXPECT_EQ(object["code"].get<std::string>().substr(0, 4), "VP01");
    EXPECT_FALSE(object["message"].get<std::string>().empty());
    EXPECT_HOLDS(run.err, "error[VP01");
  }
}

TEST(Usage, ColourIsOffInAFileAndOnWhenForced) {
  EXPECT_FALSE(holds(run_program({"plna"}).err, "\x1b["));
  EXPECT_TRUE(holds(run_program({"plna"}, "FORCE_COLOR=1").err, "\x1b["));
  EXPECT_FALSE(holds(run_program({"plna"}, "FORCE_COLOR=1 NO_COLOR=1").err, "\x1b["));
}

TEST(Usage, EscapesInAnArgumentDoNotReachTheTerminal) {
  const Outcome run = run_program({"plan", "evil\x1b[31mname"});
  EXPECT_EQ(run.code, 2);
  EXPECT_FALSE(holds(run.err, "\x1b"));
}

TEST(Usage, VersionNamesTheCommit) {
  const Outcome run = run_program({"version"});
  EXPECT_EQ(run.code, 0);
  EXPECT_HOLDS(run.out, "vramplan 0.");
  EXPECT_HOLDS(run.out, "commit");
  EXPECT_EQ(run_program({"--version"}).out, run.out);
  EXPECT_EQ(run_program({"version", "--json"}).json()["schema"], "vramplan.version/1");
}

}  // namespace
}  // namespace vramplan::testing
