#include "reports/junit.h"

#include <gtest/gtest.h>

#include "tests/reports/samples.h"
#include "tests/reports/temporary_file.h"

namespace vramplan {
namespace {

int count(const std::string& text, const std::string& part) {
  int n = 0;
  for (std::size_t at = text.find(part); at != std::string::npos; at = text.find(part, at + 1)) ++n;
  return n;
}

RunRecord hostile_run() {
  Plan plan = samples::cpu_plan();
  plan.decisions.model = "]]></testcase><x \"'&\x01\x1b\xff";
  Measurement m = samples::cpu_measurement();
  m.environment.machine =
      "a\x0c"
      "b\xef\xbf\xbf";
  m.observed.add(
      samples::row(0, TierKind::kDevice, Category::kWeights, "<\x02>", Phase::kLoad, 1, ""));
  return make_run("name \"<&>\x08", plan, m, {});
}

TEST(JUnit, OneTestcaseARowAndCountsThatAddUp) {
  const RunRecord run = samples::cpu_run();
  const std::string xml = junit_xml({run});
  // rows, the process, four times, the verdict
  EXPECT_EQ(count(xml, "<testcase "), static_cast<int>(run.verdict.rows.size()) + 1 + 4 + 1);
  EXPECT_NE(xml.find("tests=\"16\" failures=\"0\" errors=\"0\" skipped=\"0\""), std::string::npos);
  EXPECT_NE(xml.find("timestamp=\"2026-11-20T18:00:00Z\""), std::string::npos);
}

TEST(JUnit, GatingRowsFailAndWhatWasNotMeasuredNeverPasses) {
  Plan plan = samples::cpu_plan();
  plan.predictions.ledger.add(
      samples::row(0, TierKind::kDevice, Category::kWeights, "positions", Phase::kLoad, 5, "5 B"));
  const std::string xml = junit_xml({make_run("r", plan, samples::cpu_measurement(), {})});
  EXPECT_NE(xml.find("name=\"positions (load)\" time=\"0\"><failure type=\"not_measured\" "
                     "message=\"predicted 5 B, not measured\"/>"),
            std::string::npos);
  EXPECT_NE(xml.find("name=\"verdict\" time=\"0\"><failure"), std::string::npos);
  const std::string dry = junit_xml({samples::dry_run()});
  EXPECT_NE(dry.find("name=\"process peak (prefill)\" time=\"0\"><skipped"), std::string::npos);
  EXPECT_EQ(count(dry, "<failure"), 0);
}

TEST(JUnit, IsWellFormedWhateverTheNames) {
  const std::string xml = junit_xml({hostile_run(), samples::cpu_run(), samples::dry_run()});
  for (const char c : xml) EXPECT_TRUE(c == '\n' || static_cast<unsigned char>(c) >= 0x20);
  EXPECT_EQ(xml.find("]]></testcase>"), std::string::npos);
  if (!testing_files::has_program("xmllint")) GTEST_SKIP() << "no xmllint (libxml2-utils)";
  const std::string path = testing_files::write_temporary("junit.xml", xml);
  const auto result = testing_files::run_command("xmllint --noout " + path);
  EXPECT_EQ(result.status, 0) << result.output;
}

}  // namespace
}  // namespace vramplan
