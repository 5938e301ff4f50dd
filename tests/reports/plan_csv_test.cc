#include "reports/plan_csv.h"

#include <gtest/gtest.h>

#include <algorithm>

#include "modelcards/library.h"

namespace vramplan {
namespace {

TEST(PlanCsv, OneLineARowAndItsExactBytes) {
  ModelSource source;
  source.card = model_card("smollm2-135m");
  PlanRequest request;
  request.model = "smollm2-135m";
  const Plan plan = make_plan(source, device_card("cpu-generic"), request);
  const std::string text = plan_csv(plan);
  const auto lines = static_cast<std::size_t>(std::count(text.begin(), text.end(), '\n'));
  EXPECT_EQ(lines, plan.predictions.ledger.rows().size() + 1);
  const LedgerRow& first = plan.predictions.ledger.rows().front();
  EXPECT_NE(text.find("," + std::to_string(first.bytes.n) + "\n"), std::string::npos);
}

TEST(PlanCsv, CellsWithCommasAndQuotesAreQuoted) {
  EXPECT_EQ(csv_cell("plain"), "plain");
  EXPECT_EQ(csv_cell("a,b"), "\"a,b\"");
  EXPECT_EQ(csv_cell("say \"so\""), "\"say \"\"so\"\"\"");
}

}  // namespace
}  // namespace vramplan
