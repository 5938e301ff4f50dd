#include "executor/need.h"

#include <algorithm>

#include "executor/backend_dry.h"
#include "executor/guesser.h"
#include "executor/rank_run.h"

namespace vramplan {
namespace {

constexpr Bytes kRegion{std::int64_t{1} << 59};  // more than any rank takes
constexpr Bytes kDevice{std::int64_t{1} << 62};
constexpr Bytes kGranule{Arena::kAlignment};

/// A draft model with all the room there is.
struct DraftOnDry {
  DraftOnDry(Backend& backend, const Decisions& target, const ModelSource& source,
             GpuWorkspace* workspace)
      : decisions(draft_decisions(target)),
        part(model_part(source.draft->card, decisions.sharding, 0)),
        engine({backend, alone, alone, {}, nullptr, workspace}, decisions, *source.draft, part,
               {kRegion, kRegion, {decisions.kv_blocks}, {kRegion, kRegion, kRegion}, kRegion}) {
    engine.load({});
  }
  RankNeed need() {
    RankNeed out;
    const BlockPool& pool = engine.kv().pool(0);
    out.sizes = {engine.weights_arena().extent(),
                 engine.activations().extent(),
                 {decisions.kv_blocks},
                 {},
                 {}};
    out.held = {pool.most_held()};
    out.block_bytes = {pool.block_bytes()};
    return out;
  }
  Decisions decisions;
  ModelPart part;
  SingleCommunicator alone;
  RankEngine engine;
};

}  // namespace

RegionSizes RankNeed::within(Bytes free_now) const {
  RegionSizes fitted = sizes;
  Bytes left = free_now;
  const auto cut = [&left](Bytes& size) {
    size = std::min(size, left);
    left -= std::min(left, round_up(size, kGranule));
  };
  for (Bytes* size : {&fitted.weights, &fitted.activations, &fitted.gpu.gemm, &fitted.gpu.indices,
                      &fitted.gpu.vectors}) {
    cut(*size);
  }
  for (std::size_t g = 0; g < fitted.blocks.size(); ++g) {
    Blocks& blocks = fitted.blocks[g];
    const Bytes block = block_bytes[g] + staging_of(g);
    blocks = std::min(blocks, Blocks{floor_div(left.n, block.n)});
    left -= std::min(left, round_up(block * blocks.n, kGranule));
  }
  return fitted;
}

Bytes RankNeed::pool_bytes() const {
  Bytes bytes;
  for (std::size_t g = 0; g < block_bytes.size(); ++g) {
    bytes += (block_bytes[g] + staging_of(g)) * sizes.blocks[g].n;
  }
  return bytes;
}

void RankNeed::require_blocks(const std::string& who) const {
  for (std::size_t g = 0; g < held.size(); ++g) {
    if (held[g] <= sizes.blocks[g]) continue;
    throw Error(ErrorCode::kDoesNotFit, who + " needs " + std::to_string(held[g].n) +
                                            " KV blocks, the plan has " +
                                            std::to_string(sizes.blocks[g].n));
  }
}

Bytes RankNeed::total() const {
  const Bytes beside = draft != nullptr ? draft->total() : Bytes{};
  return sizes.weights + sizes.activations + pool_bytes() + sizes.gpu.total() + beside;
}

Bytes RankNeed::reservation(const RegionSizes& fitted) const {
  Bytes pools;
  for (std::size_t g = 0; g < block_bytes.size(); ++g) {
    pools += round_up(block_bytes[g] * fitted.blocks[g].n, kGranule) +
             round_up(staging_of(g) * fitted.blocks[g].n, kGranule);
  }
  return round_up(fitted.weights, kGranule) + round_up(fitted.activations, kGranule) + pools +
         fitted.gpu.total();
}

Bytes RankNeed::reservation() const {
  return reservation(sizes) + (draft != nullptr ? draft->reservation(draft->sizes) : Bytes{});
}

Bytes RankNeed::shared_bytes() const {
  return round_up(sizes.weights, kGranule) + round_up(sizes.gpu.vectors, kGranule);
}

Bytes RankNeed::reserved_pages(std::int64_t replicas) const {
  if (replicas == 1) return round_up(reservation(), kDevicePage);
  return round_up(shared_bytes(), kDevicePage) +
         round_up(reservation() - shared_bytes(), kDevicePage) * replicas;
}

FittedRegions RankNeed::reserved_within(Bytes free_now) const {
  FittedRegions out;
  Bytes left{free_now.n / kDevicePage.n * kDevicePage.n};
  if (draft != nullptr) {
    out.draft = draft->within(left);
    out.reservation = draft->reservation(out.draft);
    left -= out.reservation;
  }
  out.own = within(left);
  out.reservation += reservation(out.own);
  return out;
}

RankNeed measure_need(const Decisions& decisions, const ModelSource& source,
                      const DeviceCard& device, const ModelPart& part,
                      const std::vector<std::int64_t>& prompt_tokens, bool logits_of_all,
                      const GpuFacts* gpu) {
  DryBackend backend(device, decisions.threads, decisions.linear_inputs, kDevice, false);
  if (gpu != nullptr) backend.stand_for(*gpu, decisions.activations, captures_steps(decisions));
  DryCommunicator tensor_group(part.tensor_rank, part.tp, backend.dry_ops());
  DryCommunicator stages(part.stage, part.pp, backend.dry_ops());
  std::vector<std::vector<std::int32_t>> prompts;
  Blocks blocks;
  for (const std::int64_t tokens : prompt_tokens) {
    // Prompts that are alike up to the shared prefix, and no further.
    std::vector<std::int32_t> prompt(static_cast<std::size_t>(tokens),
                                     static_cast<std::int32_t>(prompts.size()) + 1);
    const auto shared = std::min(decisions.shared_prefix.n, tokens);
    std::fill_n(prompt.begin(), shared, 0);
    prompts.push_back(std::move(prompt));
    blocks += blocks_for(Tokens{tokens} + decisions.output, decisions.block) * decisions.samples;
  }
  // No group holds more than one that keeps every token would.
  const bool preempts = decisions.preempt != Preempt::kNone;
  const std::vector<KvGroup> groups = kv_groups(source.card, part, decisions);
  std::vector<Blocks> pools(groups.size(), preempts ? decisions.kv_blocks : blocks);
  if (!groups.empty() && groups.back().keep.recent) {
    pools.back() = blocks_for(decisions.kv_residual.tokens, kResidualBlock) *
                   static_cast<std::int64_t>(prompt_tokens.size());
  }
  RankEngine engine({backend, tensor_group, stages}, decisions, source, part,
                    {kRegion, kRegion, pools, {kRegion, kRegion, kRegion}, kRegion});
  engine.load({});
  SchedulerOptions options = scheduler_options(decisions, {});
  options.logits_of_all = logits_of_all;
  std::optional<DraftOnDry> draft;
  if (decisions.speculation.guess == Guess::kDraft)
    draft.emplace(backend, decisions, source, engine.gpu());
  std::optional<Guesser> guesser;
  if (decisions.speculation.any()) {
    guesser.emplace(Guesser::Parts{decisions, source.card.vocab, nullptr,
                                   draft ? &draft->engine : nullptr, prompts});
  }
  Scheduler scheduler(engine.kv(), std::move(prompts), options);
  RunHooks hooks;
  if (guesser) hooks.guesser = &*guesser;
  hooks.ends_only = !preempts;  // what is held depends on every step
  run_passes(engine, scheduler, hooks);

  RankNeed need;
  need.sizes = {engine.weights_arena().extent(), engine.activations().extent(), {}, {}, {}};
  if (engine.host_weights() != nullptr) need.sizes.host_weights = engine.host_weights()->extent();
  for (std::size_t g = 0; g < engine.kv().groups().size(); ++g) {
    need.held.push_back(engine.kv().pool(g).most_held());
    need.block_bytes.push_back(engine.kv().pool(g).block_bytes());
    need.sizes.blocks.push_back(pool_blocks(decisions, engine.kv().groups()[g].keep));
  }
  if (const KvStream* stream = engine.kv_stream()) {
    need.staging_block = {stream->staging_bytes().n / pools.front().n};
  }
  if (engine.gpu() != nullptr) need.sizes.gpu = engine.gpu()->extents();
  if (draft) need.draft = std::make_shared<RankNeed>(draft->need());
  return need;
}

}  // namespace vramplan
