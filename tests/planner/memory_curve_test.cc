#include "planner/memory_curve.h"

#include <gtest/gtest.h>
#include <rapidcheck/gtest.h>

#include "cards.h"

namespace vramplan {
namespace {

using namespace test;

RC_GTEST_PROP(MemoryCurve, RunsForwardInTimeAndNeverAboveThePeak, ()) {
  PlanRequest request =
      ask(*rc::gen::inRange<std::int64_t>(2, 500), *rc::gen::inRange<std::int64_t>(1, 40));
  request.output = Tokens{*rc::gen::inRange<std::int64_t>(1, request.context->n)};
  const Plan plan = plan_of(tiny(), cpu(1_GiB), request);
  const auto& curve = plan.predictions.curve;
  for (std::size_t i = 1; i < curve.size(); ++i) {
    RC_ASSERT(curve[i].at >= curve[i - 1].at);
    RC_ASSERT(curve[i].phase >= curve[i - 1].phase);
  }
  for (const CurvePoint& point : curve) {
    RC_ASSERT(point.bytes <= plan.predictions.devices[0].predicted);
  }
  // When decode or prefill ends the cache is full.
  const Phase last = curve.back().phase;
  RC_ASSERT(last == (request.output->n > 1 ? Phase::kDecode : Phase::kPrefill));
  RC_ASSERT(curve.back().bytes == plan.predictions.ledger.live(0, TierKind::kDevice, last));
}

TEST(MemoryCurve, LoadGoesThroughTheSlowestLink) {
  const Plan plan = plan_of(llama_2_7b(), gpu_80gb(), ask(2'048, 1));
  EXPECT_EQ(plan.predictions.curve.front().at.v, 0);
  EXPECT_NEAR(plan.predictions.curve[1].at.v, 6'738'415'616 * 2 / 7e9, 1e-6);
}

}  // namespace
}  // namespace vramplan
