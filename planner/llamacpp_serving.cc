#include "planner/llamacpp_serving.h"

#include <fmt/format.h>

#include "planner/llamacpp_times.h"

namespace vramplan {

ServingForecast forecast_llamacpp(const ModelSource& source, const DeviceCard& device,
                                  const Decisions& decisions, const EngineRequest& request,
                                  const ServingLoad& load) {
  if (load.concurrency > 1) {
    throw Error(ErrorCode::kUnsupported,
                fmt::format("no times of llama.cpp with {} requests at once", load.concurrency))
        .at("", "--concurrency")
        .help("give --concurrency 1; times under load exist for vllm, sglang and trtllm");
  }
  const EngineTable table = engine_table(request.id);
  std::vector<Assumption> unused;
  const EngineSettings settings =
      engine_settings(table, source, device, decisions, request, unused);
  if (parse_speculation(settings.speculation.method) != SpeculationMethod::kNone) {
    throw Error(ErrorCode::kUnsupported, "no times of llama.cpp with a draft")
        .at("", "--speculate");
  }
  std::vector<RankModel> stages;
  for (int stage = 0; stage < decisions.sharding.pp; ++stage) {
    stages.push_back(
        rank_model(source.card, decisions, source.stored, stage * decisions.sharding.tp));
  }
  const LlamacppLoad asked{load.input, load.output, settings.max_num_batched_tokens,
                           settings.flash_attention};
  const LlamacppRates& rates = llamacpp_rates();
  const LlamacppTimes times = llamacpp_times(llamacpp_terms(stages, device, asked), rates);
  ServingForecast out;
  out.input_tokens = load.input.n;
  out.output_tokens = load.output.n;
  out.concurrency = 1;
  out.running = 1;
  out.ttft = times.prompt;
  out.tpot = times.step;
  const auto output = static_cast<double>(load.output.n);
  out.requests_per_second = 1 / (out.ttft.v + out.tpot.v * (output - 1));
  out.tokens_per_second = out.requests_per_second * output;
  out.ttft_error = rates.prompt_error;
  out.tpot_error = rates.step_error;
  return out;
}

}  // namespace vramplan
