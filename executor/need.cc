#include "executor/need.h"

#include <algorithm>

#include "executor/backend_dry.h"
#include "executor/rank_run.h"

namespace vramplan {
namespace {

constexpr Bytes kRegion{std::int64_t{1} << 59};  // more than any rank takes
constexpr Bytes kDevice{std::int64_t{1} << 62};
constexpr Bytes kGranule{Arena::kAlignment};

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
  fitted.blocks = std::min(fitted.blocks, Blocks{floor_div(left.n, block_bytes.n)});
  return fitted;
}

Bytes RankNeed::total() const {
  return sizes.weights + sizes.activations + block_bytes * sizes.blocks.n + sizes.gpu.total();
}

Bytes RankNeed::reservation(const RegionSizes& fitted) const {
  return round_up(fitted.weights, kGranule) + round_up(fitted.activations, kGranule) +
         round_up(block_bytes * fitted.blocks.n, kGranule) + fitted.gpu.total();
}

RankNeed measure_need(const Decisions& decisions, const ModelSource& source,
                      const DeviceCard& device, const ModelPart& part,
                      const std::vector<std::int64_t>& prompt_tokens, bool logits_of_all,
                      const GpuFacts* gpu) {
  DryBackend backend(device, decisions.threads, decisions.linear_inputs, kDevice, false);
  if (gpu != nullptr) backend.stand_for(*gpu, decisions.activations);
  DryCommunicator tensor_group(part.tensor_rank, part.tp, backend.dry_ops());
  DryCommunicator stages(part.stage, part.pp, backend.dry_ops());
  std::vector<std::vector<std::int32_t>> prompts;
  Blocks blocks;
  for (const std::int64_t tokens : prompt_tokens) {
    prompts.emplace_back(static_cast<std::size_t>(tokens), 0);
    blocks += blocks_for(Tokens{tokens} + decisions.output, decisions.block);
  }
  RankEngine engine({backend, tensor_group, stages}, decisions, source, part,
                    {kRegion, kRegion, blocks, {kRegion, kRegion, kRegion}});
  engine.load({});
  Scheduler scheduler(
      engine.pool(), std::move(prompts),
      {decisions.block, decisions.prefill_chunk.n, decisions.output.n, {}, logits_of_all});
  RunHooks hooks;
  hooks.ends_only = true;
  run_passes(engine, scheduler, hooks);

  RankNeed need;
  need.held = engine.pool().most_held();
  need.block_bytes = engine.pool().block_bytes();
  need.sizes = {
      engine.weights_arena().extent(), engine.activations().extent(), decisions.kv_blocks, {}};
  if (engine.gpu() != nullptr) need.sizes.gpu = engine.gpu()->extents();
  return need;
}

}  // namespace vramplan
