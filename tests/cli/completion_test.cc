#include "tests/cli/program.h"

namespace vramplan::testing {
namespace {

bool has_program(const std::string& name) {
  return std::system(("command -v " + name + " >/dev/null 2>&1").c_str()) == 0;
}

TEST(Completion, EveryShellKnowsEverySubcommandAndFlag) {
  for (const char* shell : {"bash", "zsh", "fish"}) {
    const Outcome run = run_program({"completion", shell});
    ASSERT_EQ(run.code, 0) << run.err;
    for (const char* word :
         {"plan", "explain", "run", "verify", "calibrate", "report", "models", "devices", "schema",
          "completion", "version", "kv-cache-dtype", "gate-times", "max-tokens"}) {
      EXPECT_HOLDS(run.out, word);
    }
    EXPECT_FALSE(holds(run.out, "process-base")) << "the hidden subcommand shows";
  }
  EXPECT_EQ(run_program({"completion", "tcsh"}).code, 2);
}

/// What bash offers for the last word.
std::string bash_offers(const Folder& folder, const std::string& words) {
  folder.write("completion", run_program({"completion", "bash"}).out);
  const std::string script =
      "PATH=" + shell_word(std::filesystem::path(VRAMPLAN_BINARY).parent_path().string()) +
      ":$PATH; source " + shell_word(folder / "completion") + "; COMP_WORDS=(" + words +
      "); COMP_CWORD=$((${#COMP_WORDS[@]}-1)); _vramplan; printf '%s\\n' \"${COMPREPLY[@]}\"";
  std::system(("bash -c " + shell_word(script) + " > " + shell_word(folder / "offers")).c_str());
  return contents(folder / "offers");
}

TEST(Completion, BashOffersSubcommandsFlagsAndCards) {
  if (!has_program("bash")) GTEST_SKIP() << "no bash here";
  const Folder folder;
  EXPECT_EQ(bash_offers(folder, "vramplan ver"), "verify\nverify-log\nversion\n");
  EXPECT_HOLDS(bash_offers(folder, "vramplan plan --kv"), "--kv-cache-dtype\n");
  EXPECT_EQ(bash_offers(folder, "vramplan plan llama-3-70"), "llama-3-70b\n");
  EXPECT_HOLDS(bash_offers(folder, "vramplan plan x --device h100"), "h100-sxm-80gb\n");
}

TEST(Completion, ScriptsOfOtherShellsParse) {
  const Folder folder;
  for (const std::string shell : {"zsh", "fish"}) {
    if (!has_program(shell)) continue;
    const std::string path = folder.write(shell, run_program({"completion", shell}).out);
    EXPECT_EQ(std::system((shell + " -n " + shell_word(path)).c_str()), 0) << shell;
  }
}

}  // namespace
}  // namespace vramplan::testing
