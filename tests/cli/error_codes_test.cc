#include <regex>

#include "tests/cli/program.h"

namespace vramplan::testing {
namespace {

TEST(ErrorCodes, EveryCodeOfTheHeaderIsExplained) {
  const std::string header = contents(std::string(VRAMPLAN_SOURCE_DIR) + "/modelcards/error.h");
  const std::string table = run_program({"explain", "codes"}).out;
  const std::regex entry("k[A-Za-z]+ = ([0-9]{3}),");
  int count = 0;
  for (std::sregex_iterator it(header.begin(), header.end(), entry), end; it != end;
       ++it, ++count) {
    const std::string code = "VP0" + (*it)[1].str();
    EXPECT_HOLDS(table, code);
    const Outcome page = run_program({"explain", code});
    EXPECT_EQ(page.code, 0) << code;
    EXPECT_HOLDS(page.out, code);
    EXPECT_HOLDS(page.out, "exit code");
  }
  EXPECT_GE(count, 20);
}

TEST(ErrorCodes, JsonHoldsTheSame) {
  const auto codes = run_program({"explain", "codes", "--json"}).json();
  EXPECT_EQ(codes["schema"], "vramplan.codes/1");
  for (const auto& entry : codes["codes"]) {
    const auto page = run_program({"explain", entry["code"].get<std::string>(), "--json"}).json();
    EXPECT_EQ(page["schema"], "vramplan.code/1");
    EXPECT_EQ(page["title"], entry["title"]);
    EXPECT_EQ(page["exit_code"], entry["exit_code"]);
  }
}

TEST(ErrorCodes, AnUnknownCodeIsSaid) {
  const Outcome run = run_program({"explain", "VP0999"});
  EXPECT_EQ(run.code, 2);
  EXPECT_HOLDS(run.err, "VP0999");
  EXPECT_EQ(run_program({"explain", "vp0203"}).code, 0);
}

}  // namespace
}  // namespace vramplan::testing
