#include "executor/engine.h"

#include <cstring>

#include "executor/need.h"
#include "executor/rank_run.h"
#include "executor/run_cuda.h"
#include "executor/run_cuda_replicas.h"
#include "executor/run_dry.h"
#include "executor/run_local.h"
#include "executor/run_replicas.h"
#include "executor/support.h"

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
  Decisions one = decisions;
  one.batch = one.samples = one.replicas = 1;
  one.preempt = Preempt::kNone;
  one.shared_prefix = {};
  one.speculation = {};
  one.output = Tokens{1};
  one.context = Tokens{static_cast<std::int64_t>(prompt.size()) + 1};
  one.kv_blocks = blocks_for(one.context, one.block);
  one.window_pools
      .clear();  // no plan of this length: the pools are what the passes turn out to need
  for (const Layer& layer : source.card.layers) {
    const KvKeep keep = keep_of(one, layer.mixer.window_tokens);
    if (!keep.all()) one.window_pools.push_back({keep.window, one.kv_blocks});
  }
  refuse_unsupported(source, one, true, random_weights, backend.gpu() != nullptr);
  const std::vector<std::vector<std::int32_t>> prompts =
      prompts_of(one, source.card.vocab, {{prompt.begin(), prompt.end()}});

  DeviceCard card;  // only its scratch rules are asked for
  card.kind = backend.gpu() == nullptr ? DeviceKind::kCpu : DeviceKind::kGpu;
  const ModelPart part = model_part(source.card, one.sharding, 0);
  RankNeed need = measure_need(one, source, card, part, {static_cast<std::int64_t>(prompt.size())},
                               true, backend.gpu());
  need.sizes.blocks = need.held;
  backend.reserve_all(need.reservation(need.sizes));
  SingleCommunicator alone, alone_too;
  RankEngine engine({backend, alone, alone_too}, one, source, part, need.sizes);
  const std::unique_ptr<File> file = source.gguf != nullptr ? open_file(source.path) : nullptr;
  LoadOptions load;
  load.fill = file != nullptr ? WeightFill::kFile : WeightFill::kRandom;
  load.file = file.get();
  load.seed = one.seed;
  engine.load(load);
  SchedulerOptions options = scheduler_options(one, {});
  options.logits_of_all = true;
  Scheduler scheduler(engine.kv(), prompts, options);
  std::vector<float> logits;
  RunHooks hooks;
  hooks.on_logits = [&](const Pass& pass, const TensorView& rows) {
    const auto wanted = static_cast<std::int64_t>(pass.logit_rows.size());
    const std::size_t before = logits.size();
    logits.resize(before + static_cast<std::size_t>(wanted * rows.columns));
    backend.read(logits.data() + before, rows.data, Bytes{4} * wanted * rows.columns);
  };
  run_passes(engine, scheduler, hooks);
  return logits;
}

}  // namespace vramplan
