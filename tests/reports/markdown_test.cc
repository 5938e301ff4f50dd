#include "reports/markdown.h"

#include <gtest/gtest.h>

#include "tests/reports/samples.h"

namespace vramplan {
namespace {

bool has(const std::string& text, const std::string& part) {
  return text.find(part) != std::string::npos;
}

TEST(Markdown, TheVerdictThenTheWorstRowThenTheRest) {
  Measurement m = samples::cpu_measurement();
  m.observed.add(samples::row(0, TierKind::kDevice, Category::kWeights, "positions", Phase::kLoad,
                              77, "tensors taken"));
  const std::string text = run_markdown({make_run("r", samples::cpu_plan(), m, {})});
  EXPECT_EQ(text.rfind("### \u274c out of tolerance", 0), 0u) << text;
  const std::size_t worst = text.find("| positions | load | 0 | 77 |");
  ASSERT_NE(worst, std::string::npos);
  EXPECT_LT(text.find("predicted 0 B, observed 77 B"), worst);
  EXPECT_LT(worst, text.find("| process peak"));
  EXPECT_LT(text.find("| process peak"), text.find("<details>"));
  EXPECT_TRUE(has(text, "</details>"));
}

TEST(Markdown, FailedRunsComeFirst) {
  Measurement m = samples::cpu_measurement();
  m.complete = false;
  const std::string text =
      run_markdown({samples::cpu_run(), make_run("bad", samples::cpu_plan(), m, {})});
  EXPECT_LT(text.find("out of tolerance"), text.find("within tolerance"));
}

TEST(Markdown, NamesAreNoMarkup) {
  Plan plan = samples::cpu_plan();
  plan.decisions.model = "<img src=x>|`@all`\n# title";
  Measurement m = samples::cpu_measurement();
  m.environment.machine = "[click](x)";
  for (const std::string& text :
       {plan_markdown(plan), run_markdown({make_run("r", plan, m, {})})}) {
    EXPECT_FALSE(has(text, "<img"));
    EXPECT_FALSE(has(text, "@all"));
    EXPECT_FALSE(has(text, "\n# title"));
    EXPECT_FALSE(has(text, "[click]"));
  }
}

TEST(Markdown, ACommentHasAnUpperLimit) {
  Plan plan = samples::cpu_plan();
  Measurement m = samples::cpu_measurement();
  for (int i = 0; i < 3000; ++i) {
    const std::string name = "tensor " + std::to_string(i);
    plan.predictions.ledger.add(samples::row(0, TierKind::kDevice, Category::kWeights, name,
                                             Phase::kLoad, i, "some formula of some length"));
  }
  const RunRecord run = make_run("r", plan, m, {});  // 3000 rows were never observed
  EXPECT_LT(run_markdown({run, run}).size(), 65'536u);
  EXPECT_LT(plan_markdown(plan).size(), 65'536u);
  EXPECT_TRUE(has(plan_markdown(plan), "more rows are in the JSON"));
}

TEST(Markdown, APlanShowsItsReasons) {
  const std::string text = plan_markdown(samples::dry_plan());
  EXPECT_TRUE(has(text, "### \u2705 fits"));
  EXPECT_TRUE(has(text, "**Binding constraint:**"));
  EXPECT_TRUE(
      has(text, "| ranks 0-7 | device | weights | feed\\_forward | load | 14,092,861,440 |"));
  EXPECT_TRUE(has(text, "--prefill-chunk"));
}

}  // namespace
}  // namespace vramplan
