#pragma once
// Serving: time to first token and time a token of an engine that keeps `concurrency` requests
// running: an additive model of one decode step and one prefill, each term bytes or flops over the
// device's peak times a factor of the engine, fitted to published end-to-end rows. What prefill
// takes from decode, queueing before the first token, and waiting for room in the cache are terms.
#include "planner/engines/twin.h"

namespace vramplan {

struct ServingLoad {
  Tokens input, output;
  std::int64_t concurrency = 1;
};

/// `forecast` gives the tokens its cache holds. Terms of a step on one rank with B running
/// requests, each at input + output / 2 tokens:
///   linear and head weights, and the share 1 - (1 - k / E)^B of the experts, over bandwidth;
///   cache of B requests over bandwidth; 2 x matrices x B over the peak; collectives by call and
///   byte; seconds a layer and a step.
/// tpot = step + interference x B / output x prefill
/// ttft = prefill x (1 + queue x (B - 1)^power) + step + wait for a place in the cache
/// Errors: kUnsupported for an engine without fitted rows, pipelines, and devices without the
/// numbers.
ServingForecast forecast_serving(const ModelSource& source, const DeviceCard& device,
                                 const Decisions& decisions, const EngineRequest& request,
                                 const EngineForecast& forecast, const ServingLoad& load);

}  // namespace vramplan
