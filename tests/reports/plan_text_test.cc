#include "reports/plan_text.h"

#include <gtest/gtest.h>

#include "tests/reports/samples.h"

namespace vramplan {
namespace {

TEST(PlanText, TheAnswerThenTheReasons) {
  const std::string text = plan_text(samples::cpu_plan(), {});
  std::size_t last = 0;
  for (const char* part :
       {"FITS  smollm2-135m on 1 x this-machine", "feed_forward", "peak", "binding constraint",
        "what the memory left over buys", "limits", "time (predicted)",
        "limited by memory bandwidth", "change with", "--prefill-chunk"}) {
    const std::size_t at = text.find(part, last);
    ASSERT_NE(at, std::string::npos) << part;
    last = at;
  }
}

TEST(PlanText, APlanThatDoesNotFitSaysHowMuchIsMissing) {
  Plan plan = samples::cpu_plan();
  plan.predictions.fits = false;
  plan.predictions.devices[0].capacity = 100_MiB;
  plan.predictions.devices[0].headroom = 100_MiB - plan.predictions.devices[0].predicted;
  TextOptions wide;
  wide.width = 200;
  const std::string text = plan_text(plan, wide);
  EXPECT_EQ(text.rfind("DOES NOT FIT  ", 0), 0u);
  EXPECT_NE(text.find("25.99 MiB missing"), std::string::npos);
  EXPECT_NE(text.find("MISSING"), std::string::npos);
  EXPECT_NE(text.find("cheapest changes that would help"), std::string::npos);
}

}  // namespace
}  // namespace vramplan
