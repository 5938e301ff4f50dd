#include "bench/techniques/setting.h"

#include <fstream>
#include <iterator>

#include "executor/timing_rounds.h"
#include "modelcards/library.h"

namespace vramplan {

PlanRequest base_request() {
  PlanRequest request;
  request.kv_format = KvFormat::kF16;
  request.prefill_chunk = kChunk;
  request.batch = 1;
  request.threads = 2;
  return request;
}

Setting::Setting(const std::string& model, const std::string& text, const std::string& device_name)
    : source(open_model(model)), device(device_card(device_name)) {
  std::ifstream file(text, std::ios::binary);
  const std::string words((std::istreambuf_iterator<char>(file)), std::istreambuf_iterator<char>());
  tokenizer = Tokenizer::from_gguf(*source.gguf);
  ids = tokenizer->encode(words, false);
  if (ids.size() < 1100) throw Error(ErrorCode::kUsage, text + " is too short");
}

std::vector<std::int32_t> Setting::first(std::size_t count) const {
  return {ids.begin(), ids.begin() + static_cast<std::ptrdiff_t>(count)};
}

Plan Setting::plan_of(PlanRequest request, std::int64_t prompt, std::int64_t output) const {
  request.model = source.path;
  request.context = Tokens{prompt + output};
  request.output = Tokens{output};
  return make_plan(source, device, request);
}

PlannedRun Setting::run_of(const PlanRequest& request,
                           std::vector<std::vector<std::int32_t>> prompts,
                           std::int64_t output) const {
  PlannedRun result;
  result.plan = plan_of(request, static_cast<std::int64_t>(prompts.front().size()), output);
  RunRequest run;
  run.prompts = std::move(prompts);
  result.measurement = run_plan(result.plan.decisions, source, device, "cpu", run);
  return result;
}

RunRecord Setting::record_of(const PlanRequest& request, std::int64_t context, std::int64_t output,
                             int rounds) const {
  Plan plan = plan_of(request, context - output, output);
  std::vector<Timings> timings;
  Measurement measurement;
  for (int round = 0; round < rounds; ++round) {
    Measurement one = run_plan(plan.decisions, source, device, "cpu", {});
    timings.push_back(one.timings);
    if (round == 0) measurement = std::move(one);
  }
  measurement.timings = median_of_rounds(timings);
  return make_run("run", std::move(plan), std::move(measurement), {});
}

ModelSource shape_of(const std::string& model, const std::vector<std::string>& changes) {
  ModelSource source;
  source.card = model_card(model);
  for (const std::string& change : changes) set_field(source.card, change);
  return source;
}

}  // namespace vramplan
