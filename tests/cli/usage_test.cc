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
