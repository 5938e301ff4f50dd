#include "planner/explain.h"

#include <gtest/gtest.h>

#include "cards.h"

namespace vramplan {
namespace {

using namespace test;

TEST(Explain, EveryRowStandsThereWithItsFormula) {
  const ModelSource source = source_of(llama_3_70b());
  const DeviceCard device = gpu_80gb();
  const Plan plan = make_plan(source, device, ask(32'768, 1, 2));
  const std::string text = explain(source, device, plan);
  for (const LedgerRow& row : plan.predictions.ledger.rows()) {
    EXPECT_NE(text.find(row.formula), std::string::npos) << row.name;
  }
  for (const Assumption& a : plan.assumptions)
    EXPECT_NE(text.find(a.value), std::string::npos) << a.what;
  EXPECT_NE(text.find("Rank 1: as rank 0"), std::string::npos);
  EXPECT_NE(text.find("327,680 B/token"), std::string::npos);
  EXPECT_NE(text.find("[datasheet] test"), std::string::npos) << "where a number was read";
}

}  // namespace
}  // namespace vramplan
