#pragma once
// LlamacppServing: TTFT and TPOT of llama.cpp with one request at a time, from
// planner/llamacpp_times.h. Several requests at once share its batches in ways that no published
// row shows: refused by name.
#include "planner/serving.h"

namespace vramplan {

/// As forecast_serving, which calls it. Errors: kUnsupported for more than one request, a draft,
/// and what llamacpp_terms refuses.
ServingForecast forecast_llamacpp(const ModelSource& source, const DeviceCard& device,
                                  const Decisions& decisions, const EngineRequest& request,
                                  const ServingLoad& load);

}  // namespace vramplan
