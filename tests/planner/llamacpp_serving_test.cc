#include "planner/llamacpp_serving.h"

#include <gtest/gtest.h>

#include "modelcards/library.h"
#include "planner/published_rates.h"

namespace vramplan {
namespace {

ServingForecast serve(std::int64_t requests, bool flash, const char* draft = "none") {
  const ModelSource source = open_model("llama-3.1-8b");
  const DeviceCard device = device_card("rtx-4090-24gb");
  Decisions d;
  d.context = {2048};
  d.weights = DType::kQ4_K;
  d.capacity = {device.capacity_bytes.value};
  EngineRequest request;
  request.id = parse_engine("llamacpp");
  request.flash_attention = flash;
  request.speculation.method = draft;
  return forecast_serving(source, device, d, request, {}, {{1500}, {500}, requests});
}

// 4.5 GB at 1 TB/s: no faster than 4.5 ms a token.
TEST(LlamacppServing, OneRequestHasTheTimesOfAPromptAndItsSteps) {
  const ServingForecast s = serve(1, true);
  EXPECT_GT(s.tpot.v, 4.5e-3);
  EXPECT_LT(s.tpot.v, 9e-3);
  EXPECT_NEAR(s.tokens_per_second, 500 / (s.ttft.v + 499 * s.tpot.v), 1e-9);
  EXPECT_DOUBLE_EQ(s.tpot_error, llamacpp_rates().step_error);
  EXPECT_GT(serve(1, false).ttft.v, s.ttft.v);  // scores in memory
}

TEST(LlamacppServing, SeveralRequestsAreRefusedByName) {
  try {
    serve(2, true);
    FAIL() << "no error";
  } catch (const Error& error) {
    EXPECT_EQ(error.code(), ErrorCode::kUnsupported);
  }
}

}  // namespace
}  // namespace vramplan
