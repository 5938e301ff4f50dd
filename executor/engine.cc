#include "executor/engine.h"

#include <cstring>

#include "executor/need.h"
#include "executor/rank_run.h"
#include "executor/run_dry.h"
#include "executor/run_local.h"
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
    return run_local(decisions, source, device, request, [&](Bytes capacity) {
      return make_cpu_backend(decisions.threads, capacity, decisions.linear_inputs);
    });
  }
  if (backend == "cuda") {
    throw Error(ErrorCode::kUnsupported, "there is no CUDA executor in this version")
        .at("", "--backend")
        .help("run with --backend cpu or --backend dry");
  }
  throw Error(ErrorCode::kUsage, "'" + backend + "' is no backend")
      .at("", "--backend")
      .help("cpu, cuda or dry");
}

std::vector<float> prompt_logits(const Decisions& decisions, const ModelSource& source,
                                 Backend& backend, std::span<const std::int32_t> prompt,
                                 bool random_weights) {
  Decisions one = decisions;
  one.batch = 1;
  one.output = Tokens{1};
  one.context = Tokens{static_cast<std::int64_t>(prompt.size()) + 1};
  one.kv_blocks = blocks_for(one.context, one.block);
  refuse_unsupported(source, one, true, random_weights);
  const std::vector<std::vector<std::int32_t>> prompts =
      prompts_of(one, source.card.vocab, {{prompt.begin(), prompt.end()}});

  DeviceCard cpu;  // only its scratch rules are asked for
  cpu.kind = DeviceKind::kCpu;
  const ModelPart part = model_part(source.card, one.sharding, 0);
  const RankNeed need =
      measure_need(one, source, cpu, part, {static_cast<std::int64_t>(prompt.size())}, true);
  SingleCommunicator alone, alone_too;
  RankEngine engine({backend, alone, alone_too}, one, source, part, need.sizes);
  const std::unique_ptr<File> file = source.gguf != nullptr ? open_file(source.path) : nullptr;
  engine.load(
      {file != nullptr ? WeightFill::kFile : WeightFill::kRandom, file.get(), one.seed, {}});
  Scheduler scheduler(engine.pool(), prompts,
                      {one.block, one.prefill_chunk.n, one.output.n, {}, true});
  std::vector<float> logits;
  RunHooks hooks;
  hooks.on_logits = [&](const Pass&, const TensorView& rows) {
    const auto* const data = static_cast<const float*>(rows.data);
    logits.insert(logits.end(), data, data + rows.rows * rows.columns);
  };
  run_passes(engine, scheduler, hooks);
  return logits;
}

}  // namespace vramplan
