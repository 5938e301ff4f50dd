#include "tests/cli/program.h"

namespace vramplan::testing {
namespace {

/// A saved dry verify: the same on every machine.
std::string saved_run(const Folder& folder, const std::string& name) {
  const Outcome run = run_program(
      {"verify", "llama-2-7b", "--device", "h100-sxm-80gb", "--context", "1k", "--json"});
  EXPECT_EQ(run.code, 0) << run.err;
  return folder.write(name, run.out);
}

/// The run with `change` more observed bytes in its KV row.
std::string with_kv_bytes(const Folder& folder, const std::string& run, std::int64_t change) {
  auto object = nlohmann::json::parse(contents(run));
  for (auto& row : object["rows"]) {
    if (row["category"] == "kv_cache") {
      row["observed_bytes"] = row["observed_bytes"].get<std::int64_t>() + change;
    }
  }
  return folder.write("changed.json", object.dump());
}

TEST(ReportCommand, ASavedRunIsRenderedAgain) {
  const Folder folder;
  const std::string run = saved_run(folder, "run.json");
  const Outcome report = run_program({"report", run, "--html", folder / "r.html", "--md",
                                      folder / "r.md", "--junit", folder / "r.xml"});
  EXPECT_EQ(report.code, 0) << report.err;
  EXPECT_HOLDS(report.out, "WITHIN TOLERANCE");
  for (const char* name : {"r.html", "r.md", "r.xml"}) {
    EXPECT_FALSE(contents(folder / name).empty()) << name;
  }
  EXPECT_EQ(run_program({"report", run, "--json"}).json()["schema"], "vramplan.verify/1");
}

TEST(ReportCommand, TheSameRunIsNoRegressionAndMoreBytesAre) {
  const Folder folder;
  const std::string run = saved_run(folder, "run.json");
  EXPECT_EQ(run_program({"report", run, "--baseline", run}).code, 0);
  const std::string less = with_kv_bytes(folder, run, -4096);
  const Outcome report = run_program({"report", run, "--baseline", less, "--md", folder / "r.md"});
  EXPECT_EQ(report.code, 4) << report.out << report.err;
  EXPECT_HOLDS(report.out, "kv_cache");
  EXPECT_HOLDS(contents(folder / "r.md"), "kv_cache");
  const Outcome json = run_program({"report", run, "--baseline", less, "--json"});
  EXPECT_EQ(json.code, 4);
  EXPECT_EQ(json.json()["schema"], "vramplan.comparison/1");
}

TEST(ReportCommand, ASavedVerdictIsNotBelieved) {
  const Folder folder;
  const std::string run = saved_run(folder, "run.json");
  EXPECT_EQ(run_program({"report", with_kv_bytes(folder, run, 4096)}).code, 5);
}

TEST(ReportCommand, HostileFilesAreBadInput) {
  const Folder folder;
  const std::vector<std::string> texts = {"",
                                          "{",
                                          "[]",
                                          "{\"schema\":\"vramplan.verify/1\"}",
                                          std::string(200000, '['),
                                          "{\"schema\":\"vramplan.verify/99\"}",
                                          std::string(64, '\0'),
                                          "{\"a\":1e999}"};
  for (const auto& text : texts) {
    const Outcome run = run_program({"report", folder.write("bad.json", text)});
    EXPECT_EQ(run.code, 2) << text.substr(0, 60) << "\n" << run.err;
    EXPECT_HOLDS(run.err, "error[VP02");
  }
  EXPECT_EQ(run_program({"report", folder / "missing.json"}).code, 2);
  const std::string run = saved_run(folder, "run.json");
  EXPECT_EQ(run_program({"report", run, run, run, "--baseline", run, "--baseline", run}).code, 2);
}

}  // namespace
}  // namespace vramplan::testing
