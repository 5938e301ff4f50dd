#include "executor/prompt_engine.h"

#include "executor/need.h"
#include "executor/rank_run.h"
#include "executor/support.h"

namespace vramplan {
namespace {

/// The same choices for one prompt and nothing after it.
Decisions for_one_prompt(const Decisions& decisions, const ModelCard& card, std::int64_t tokens) {
  Decisions one = decisions;
  one.batch = one.samples = one.replicas = 1;
  one.preempt = Preempt::kNone;
  one.shared_prefix = {};
  one.speculation = {};
  one.output = Tokens{1};
  one.context = Tokens{tokens + 1};
  one.kv_blocks = blocks_for(one.context, one.block);
  one.window_pools
      .clear();  // no plan of this length: the pools are what the passes turn out to need
  for (const Layer& layer : card.layers) {
    const KvKeep keep = keep_of(one, layer.mixer.window_tokens);
    if (!keep.all()) one.window_pools.push_back({keep.window, one.kv_blocks});
  }
  return one;
}

RegionSizes sizes_of(const Decisions& one, const ModelSource& source, const ModelPart& part,
                     Backend& backend, std::int64_t tokens, bool shared) {
  DeviceCard card;  // only its scratch rules are asked for
  card.kind = backend.gpu() == nullptr ? DeviceKind::kCpu : DeviceKind::kGpu;
  RankNeed need = measure_need(one, source, card, part, {tokens}, true, backend.gpu());
  need.sizes.blocks = need.held;
  if (shared) need.sizes.weights = {};
  backend.reserve_all(need.reservation(need.sizes));
  return need.sizes;
}

}  // namespace

struct PromptEngine::Parts {
  const ModelSource& source;
  Backend& backend;
  Decisions one;
  ModelPart part;
  SingleCommunicator alone, alone_too;
  RankEngine engine;

  Parts(const Decisions& decisions, const ModelSource& of, Backend& on, std::int64_t tokens,
        const Weights& weights)
      : source(of),
        backend(on),
        one(for_one_prompt(decisions, of.card, tokens)),
        part(model_part(of.card, one.sharding, 0)),
        engine({on, alone, alone_too, {}, weights.shared}, one, of, part,
               sizes_of(one, of, part, on, tokens, weights.shared != nullptr)) {}
};

PromptEngine::PromptEngine(const Decisions& decisions, const ModelSource& source, Backend& backend,
                           std::int64_t prompt_tokens, const Weights& weights) {
  if (prompt_tokens < 1) throw Error(ErrorCode::kUsage, "the prompt is empty").at("", "--prompt");
  refuse_unsupported(source, for_one_prompt(decisions, source.card, prompt_tokens), true,
                     weights.random, backend.gpu() != nullptr);
  parts_ = std::make_unique<Parts>(decisions, source, backend, prompt_tokens, weights);
  const std::unique_ptr<File> file = source.gguf != nullptr ? open_file(source.path) : nullptr;
  LoadOptions load;
  load.fill = file != nullptr ? WeightFill::kFile : WeightFill::kRandom;
  load.file = file.get();
  load.seed = parts_->one.seed;
  parts_->engine.load(load);
}

PromptEngine::~PromptEngine() = default;

RankEngine& PromptEngine::engine() { return parts_->engine; }

std::vector<float> PromptEngine::logits(std::span<const std::int32_t> prompt) {
  const Decisions& one = parts_->one;
  const std::vector<std::vector<std::int32_t>> prompts =
      prompts_of(one, parts_->source.card.vocab, {{prompt.begin(), prompt.end()}});
  SchedulerOptions options = scheduler_options(one, {});
  options.logits_of_all = true;
  Scheduler scheduler(parts_->engine.kv(), prompts, options);
  std::vector<float> logits;
  RunHooks hooks;
  hooks.on_logits = [&](const Pass& pass, const TensorView& rows) {
    const auto wanted = static_cast<std::int64_t>(pass.logit_rows.size());
    const std::size_t before = logits.size();
    logits.resize(before + static_cast<std::size_t>(wanted * rows.columns));
    parts_->backend.read(logits.data() + before, rows.data, Bytes{4} * wanted * rows.columns);
  };
  run_passes(parts_->engine, scheduler, hooks);
  return logits;
}

}  // namespace vramplan
