#include "executor/engine.h"

#include "executor/prompt_engine.h"
#include "executor/run_cuda.h"
#include "executor/run_cuda_replicas.h"
#include "executor/run_dry.h"
#include "executor/run_local.h"
#include "executor/run_replicas.h"

namespace vramplan {

Measurement run_plan(const Decisions& decisions, const ModelSource& source,
                     const DeviceCard& device, const std::string& backend,
                     const RunRequest& request) {
  if (card_hash(source.card) != decisions.card_hash) {
    throw Error(ErrorCode::kStalePlan,
                "the card of " + source.card.name + " is not the one the plan was made with")
        .at("", decisions.model)
        .help("plan again");
  }
  if (backend == "dry") return run_dry(decisions, source, device, request);
  if (backend == "cpu") {
    const auto make_backend = [&](Bytes capacity) {
      return make_cpu_backend(decisions.threads, capacity, decisions.linear_inputs);
    };
    return decisions.replicas > 1 ? run_replicas(decisions, source, device, request, make_backend)
                                  : run_local(decisions, source, device, request, make_backend);
  }
  if (backend == "cuda") {
    return decisions.replicas > 1 ? run_cuda_replicas(decisions, source, device, request)
                                  : run_cuda(decisions, source, device, request);
  }
  throw Error(ErrorCode::kUsage, "'" + backend + "' is no backend")
      .at("", "--backend")
      .help("cpu, cuda or dry");
}

std::vector<float> prompt_logits(const Decisions& decisions, const ModelSource& source,
                                 Backend& backend, std::span<const std::int32_t> prompt,
                                 bool random_weights) {
  PromptEngine engine(decisions, source, backend, static_cast<std::int64_t>(prompt.size()),
                      {random_weights, nullptr});
  return engine.logits(prompt);
}

}  // namespace vramplan
