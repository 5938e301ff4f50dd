#include "planner/preempt_choice.h"

#include <fmt/format.h>

#include <algorithm>

#include "planner/capacity.h"
#include "planner/kv_cache.h"
#include "planner/latency.h"
#include "planner/preemption.h"

namespace vramplan {
namespace {

/// Blocks of the pool: what was asked for, or what fits beside the rest.
Blocks pool_of(const std::vector<StageAccount>& stages, const DeviceCard& device,
               const PlanRequest& request, const Decisions& d) {
  const Capacity capacity = find_capacity(stages, d, device.kind, {});
  Tokens tokens{capacity.kv_tokens.n / d.replicas};
  if (request.kv_pool) tokens = std::min(tokens, *request.kv_pool);
  return std::min(kv_blocks(d), Blocks{floor_div(std::max<std::int64_t>(0, tokens.n), d.block.n)});
}

/// One sequence alone, computed again: seconds a token.
double prefill_token_seconds(const std::vector<RankModel>& models, const Decisions& d,
                             const DeviceCard& device) {
  const double prompt = static_cast<double>((d.context - d.output).n);
  return predict_performance(models, d, device).ttft.v / std::max(1.0, prompt);
}

}  // namespace

const char* name_of(PreemptRequest request) {
  static constexpr const char* kNames[kPreemptRequests] = {"none", "swap", "recompute", "auto"};
  return kNames[static_cast<int>(request)];
}

void choose_preemption(const std::vector<StageAccount>& stages,
                       const std::vector<RankModel>& models, const DeviceCard& device,
                       const PlanRequest& request, Plan& plan) {
  const PreemptRequest asked = request.preempt.value_or(PreemptRequest::kNone);
  if (asked == PreemptRequest::kNone) return;
  Decisions& d = plan.decisions;
  const Blocks pool = pool_of(stages, device, request, d), one = blocks_for(d.context, d.block);
  if (pool >= kv_blocks(d)) {
    plan.assumptions.push_back({"preemption", "none: all sequences have their blocks", "--batch"});
    return;
  }
  if (pool < one) {
    if (!request.kv_pool || *request.kv_pool >= d.block * one) return;  // then it does not fit
    throw Error(ErrorCode::kUsage,
                fmt::format("a pool of {} tokens is too small for one sequence of {}",
                            request.kv_pool->n, d.context.n))
        .at("", "--kv-pool")
        .help(fmt::format("give at least {}", (d.block * one).n));
  }
  PreemptionPrices prices;
  for (const RankModel& model : models) {
    prices.block_bytes =
        std::max(prices.block_bytes, kv_growing_per_token(model, d) * Tokens{d.block.n});
  }
  const Link link = far_link(device, KvPlacement::kHost);
  prices.link_bytes_per_s = link.bytes_per_s.value;
  prices.link_latency_s = link.latency_s.value;
  prices.prefill_token_s = prefill_token_seconds(models, d, device);
  struct Way {
    Decisions decisions;
    PreemptionForecast forecast;
    Seconds seconds;
  };
  const auto way_of = [&](Preempt preempt) {
    Decisions chosen = d;
    chosen.preempt = preempt;
    chosen = with_pool(chosen, pool);
    const PreemptionForecast forecast = replay_preemption(chosen);
    return Way{chosen, forecast, preemption_seconds(forecast, prices)};
  };
  Way swap = way_of(Preempt::kSwap), recompute = way_of(Preempt::kRecompute);
  const bool swaps = asked == PreemptRequest::kSwap ||
                     (asked == PreemptRequest::kAuto && swap.seconds.v <= recompute.seconds.v);
  const Way& chosen = swaps ? swap : recompute;
  const Way& other = swaps ? recompute : swap;
  d = chosen.decisions;
  const PreemptionForecast& f = chosen.forecast;
  const double steps = static_cast<double>(std::max<std::int64_t>(1, f.steps));
  plan.predictions.preemption = PreemptionPrediction{f.counts, chosen.seconds, other.seconds,
                                                     static_cast<double>(f.step_tokens) / steps};
  if (asked != PreemptRequest::kAuto) return;
  plan.assumptions.push_back(
      {"preemption",
       fmt::format("{}: {} in all, {} by {}", name_of(d.preempt), to_text(chosen.seconds),
                   to_text(other.seconds), name_of(other.decisions.preempt)),
       "--preempt"});
}

}  // namespace vramplan
