#pragma once
// RunParts: what a run on a backend that computes has to do wherever it computes.
#include <cstdint>
#include <vector>

#include "executor/beam_search.h"
#include "executor/engine.h"
#include "executor/need.h"

namespace vramplan {

/// What the run needs: as planned, and as asked when the prompts are shorter (first fit may place
/// smaller tensors otherwise). `gpu`: see measure_need.
RankNeed need_of_run(const Decisions& decisions, const ModelSource& source,
                     const DeviceCard& device, const ModelPart& part,
                     const std::vector<std::vector<std::int32_t>>& prompts, const GpuFacts* gpu);
/// Ids that end a sequence, when the request wants to stop there.
std::vector<std::int32_t> end_tokens_of(const RunRequest& request, const ModelSource& source);
/// With beam search one search a prompt, which then knows when it ends; else none.
std::vector<BeamSearch> searches_of(const Decisions& decisions, const RunRequest& request,
                                    std::size_t prompts, const std::vector<std::int32_t>& ends);
/// Tokens of all sequences; of searches their answers, told to the request now that they are known.
void give_answers(const std::vector<BeamSearch>& searches, const Scheduler& scheduler,
                  const Decisions& decisions, const RunRequest& request, Measurement& measurement);
/// Where weights come from: the source's file, which `file` then holds open, or a seed.
LoadOptions load_options(const ModelSource& source, const Decisions& decisions,
                         const RunRequest& request, std::unique_ptr<File>& file);
/// Weights from the source's file, or seeded ones.
void load_engine(RankEngine& engine, const ModelSource& source, const Decisions& decisions,
                 const RunRequest& request);
/// Tells the request how far the pass brought its phase.
void report_progress(const RunRequest& request, const Decisions& decisions, const Pass& pass,
                     std::int64_t prefill_passes);
/// "prefill chunk 3", "decode step 10".
std::string moment_of(const Pass& pass);

}  // namespace vramplan
