#include "reports/verify_text.h"

#include <gtest/gtest.h>

#include <sstream>

#include "reports/escape.h"
#include "reports/plan_text.h"
#include "tests/reports/samples.h"

namespace vramplan {
namespace {

bool has(const std::string& text, const std::string& part) {
  return text.find(part) != std::string::npos;
}

TEST(VerifyText, TheVerdictComesFirst) {
  EXPECT_EQ(verify_text(samples::cpu_run(), {}).rfind("WITHIN TOLERANCE  ", 0), 0u);
  Measurement m = samples::cpu_measurement();
  m.complete = false;
  const std::string text = verify_text(make_run("r", samples::cpu_plan(), m, {}), {});
  EXPECT_EQ(text.rfind("OUT OF TOLERANCE  ", 0), 0u);
  EXPECT_TRUE(has(text, "the run did not complete"));
}

TEST(VerifyText, EqualRanksAreFolded) {
  const std::string text = verify_text(samples::dry_run(), {});
  EXPECT_TRUE(has(text, "ranks 0-7"));
  Plan plan = samples::dry_plan();
  plan.predictions.devices[3].capacity += 1_B;
  const std::string other = plan_text(plan, {});
  EXPECT_TRUE(has(other, "ranks 0-2, 4-7"));
  EXPECT_TRUE(has(other, "rank 3"));
}

TEST(VerifyText, NotMeasuredIsSaidInWords) {
  const std::string text = verify_text(samples::dry_run(), {});
  EXPECT_TRUE(has(text, "not measured (informative)"));
  EXPECT_TRUE(has(text, "there is no process peak to measure"));
  EXPECT_TRUE(has(text, "virtual clock"));
}

TEST(VerifyText, NoLineIsLongerThanTheTerminalAndAsciiIsAscii) {
  for (const int width : {40, 60, 80, 100, 140}) {
    TextOptions options;
    options.width = width;
    options.ascii = true;
    for (const std::string& text :
         {verify_text(samples::cpu_run(), options), plan_text(samples::dry_plan(), options)}) {
      std::istringstream lines(text);
      for (std::string line; std::getline(lines, line);) {
        EXPECT_LE(text_columns(line), width) << line;
        for (const char c : line) EXPECT_TRUE(c >= 0x20 && c < 0x7f) << line;
      }
    }
  }
}

TEST(VerifyText, NamesCannotDriveTheTerminal) {
  Plan plan = samples::cpu_plan();
  plan.decisions.model = "m\x1b]0;title\x07";
  plan.assumptions[0].value = "\x1b[2J";
  Measurement m = samples::cpu_measurement();
  m.environment.machine =
      "\xc2\x9b"
      "31m";
  m.observed.add(
      samples::row(0, TierKind::kDevice, Category::kWeights, "\x1b[5m", Phase::kLoad, 1, "\r"));
  const std::string text = plan_text(plan, {}) + verify_text(make_run("r", plan, m, {}), {});
  EXPECT_FALSE(has(text, "\x1b"));
  EXPECT_FALSE(has(text, "\x07"));
  EXPECT_FALSE(has(text, "\r"));
  EXPECT_FALSE(has(text, "\xc2\x9b"));
}

TEST(VerifyText, AnAssumedAcceptanceStandsBesideTheObservedOrSaysThatItWasDrawn) {
  Plan plan = samples::cpu_plan();
  plan.decisions.speculation = {Guess::kNgram, 4, "", 0, 0.6};
  plan.predictions.speculation = SpeculationPrediction{2.3, {0.04}, {0.02}, 1.2};
  Measurement m = samples::cpu_measurement();
  m.speculation = SpeculationCounts{20, 80, 45, 65, 60, false};
  const std::string seen = verify_text(make_run("r", plan, m, {}), {});
  for (const char* part : {"assumed", "observed", "60.0 %", "75.0 %", "decode step",
                           "TPOT predicted given the observed acceptance"}) {
    EXPECT_TRUE(has(seen, part)) << part;
  }
  m.speculation->by_chance = true;
  const std::string drawn = verify_text(make_run("r", plan, m, {}), {});
  EXPECT_TRUE(has(drawn, "as often as the plan assumes"));
  EXPECT_FALSE(has(drawn, "given the observed acceptance"));
}

}  // namespace
}  // namespace vramplan
