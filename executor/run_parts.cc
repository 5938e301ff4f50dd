#include "executor/run_parts.h"

#include <algorithm>
#include <memory>

namespace vramplan {

RankNeed need_of_run(const Decisions& decisions, const ModelSource& source,
                     const DeviceCard& device, const ModelPart& part,
                     const std::vector<std::vector<std::int32_t>>& prompts, const GpuFacts* gpu) {
  std::vector<std::int64_t> asked;
  for (const auto& prompt : prompts) asked.push_back(static_cast<std::int64_t>(prompt.size()));
  const std::vector<std::int64_t> planned(
      static_cast<std::size_t>(decisions.batch / decisions.samples),
      (decisions.context - decisions.output).n);
  RankNeed need = measure_need(decisions, source, device, part, planned, false, gpu);
  if (asked == planned) return need;
  const RankNeed other = measure_need(decisions, source, device, part, asked, false, gpu);
  need.sizes.activations = std::max(need.sizes.activations, other.sizes.activations);
  // Windows that begin elsewhere in their blocks may take one more.
  for (std::size_t g = 0; g < need.held.size(); ++g) {
    need.sizes.blocks[g] = std::max(need.sizes.blocks[g], other.held[g]);
  }
  return need;
}

std::vector<std::int32_t> end_tokens_of(const RunRequest& request, const ModelSource& source) {
  if (!request.stop_at_end) return {};
  if (!request.end_tokens.empty() || source.gguf == nullptr) return request.end_tokens;
  std::vector<std::int32_t> ids;
  for (const char* key : {"tokenizer.ggml.eos_token_id", "tokenizer.ggml.eot_token_id"}) {
    if (source.gguf->has(key)) ids.push_back(static_cast<std::int32_t>(source.gguf->integer(key)));
  }
  return ids;
}

std::vector<BeamSearch> searches_of(const Decisions& decisions, const RunRequest& request,
                                    std::size_t prompts, const std::vector<std::int32_t>& ends) {
  if (!decisions.beam_search) return {};
  const BeamOptions beams{decisions.samples, decisions.output.n, ends, request.length_penalty};
  return std::vector<BeamSearch>(prompts, BeamSearch(beams));
}

void give_answers(const std::vector<BeamSearch>& searches, const Scheduler& scheduler,
                  const Decisions& decisions, const RunRequest& request, Measurement& measurement) {
  for (const BeamSearch& search : searches) {
    const std::vector<Hypothesis> best = search.best();
    for (const Hypothesis& answer : best) {
      measurement.scores.push_back(answer.score);
      measurement.output.push_back(answer.tokens);
    }
    if (!request.on_token) continue;
    const auto prompt = static_cast<std::int64_t>(&search - searches.data());
    for (const std::int32_t token : best.front().tokens) {
      request.on_token(prompt * decisions.samples, token);
    }
  }
  if (!searches.empty()) return;
  for (std::int64_t i = 0; i < scheduler.sequence_count(); ++i) {
    measurement.output.push_back(scheduler.generated(i));
  }
}

LoadOptions load_options(const ModelSource& source, const Decisions& decisions,
                         const RunRequest& request, std::unique_ptr<File>& file) {
  LoadOptions options;
  options.fill = WeightFill::kRandom;
  options.seed = decisions.seed;
  if (source.gguf != nullptr) {
    file = open_file(source.path);
    options.fill = WeightFill::kFile;
    options.file = file.get();
  }
  if (request.on_progress) {
    options.progress = [&request](double fraction) { request.on_progress("load", fraction); };
  }
  return options;
}

void load_engine(RankEngine& engine, const ModelSource& source, const Decisions& decisions,
                 const RunRequest& request) {
  std::unique_ptr<File> file;
  engine.load(load_options(source, decisions, request, file));
}

void report_progress(const RunRequest& request, const Decisions& decisions, const Pass& pass,
                     std::int64_t prefill_passes) {
  if (!request.on_progress) return;
  const std::int64_t all = pass.phase == Phase::kPrefill ? prefill_passes : decisions.output.n - 1;
  // Preempted sequences make further passes.
  request.on_progress(name_of(pass.phase),
                      std::min(1.0, static_cast<double>(pass.number) / static_cast<double>(all)));
}

std::string moment_of(const Pass& pass) {
  return (pass.phase == Phase::kPrefill ? "prefill chunk " : "decode step ") +
         std::to_string(pass.number);
}

}  // namespace vramplan
