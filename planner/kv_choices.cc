#include "planner/kv_choices.h"

#include <algorithm>

#include "planner/kv_cache.h"
#include "planner/kv_groups.h"
#include "planner/kv_mix.h"
#include "planner/kv_offload.h"
#include "planner/kv_residual.h"

namespace vramplan {
namespace {

constexpr std::int64_t kDefaultBlock = 16, kMostBlock = 1 << 20;

}  // namespace

/// Where the cache lives, and how much of it stays on the device.
void KvChoices::placement() {
  d().kv_placement = request_.kv_placement.value_or(KvPlacement::kDevice);
  if (d().kv_placement == KvPlacement::kDevice) {
    if (!request_.kv_offload) return;
    refuse_choice("--kv-offload", "a share of the cache leaves the device, but for where?",
                  "add --kv-placement host or disk");
  }
  if (request_.kv_offload && !(*request_.kv_offload > 0 && *request_.kv_offload < 1)) {
    refuse_choice("--kv-offload", fmt::format("a share of {} of the cache", *request_.kv_offload),
                  "give a share above 0 and below 1");
  }
  if (request_.kv_offload_layers) {
    d().kv_offload = *request_.kv_offload_layers;
    return;
  }
  const std::int64_t layers =
      std::max<std::int64_t>(1, source_.card.layer_count() / d().sharding.pp);
  d().kv_offload = request_.kv_offload ? kv_offload_for(*request_.kv_offload, layers)
                                       : widest_kv_offload(layers);
  if (request_.kv_offload) return;
  assume("cache beyond the device",
         fmt::format("all layers, {} at a time on the device", d().kv_offload.staging),
         "--kv-offload");
}

/// Layers and heads that have another format than the rest.
void KvChoices::layers() {
  d().kv_layers = request_.kv_layers;
  if (request_.kv_full_heads.any() && !packed_format(d())) {
    refuse_choice("--kv-full-heads", "heads in f16 beside others that are packed, and none are",
                  "add --kv-cache-dtype kivi2 or kivi4, or such layers with --kv-layers");
  }
  if (needs_residual(d().kv_format)) d().kv_full_heads = request_.kv_full_heads;
  settle_kv_layers(source_.card, d());
}

/// The newest tokens in f16 beside a history of fewer bits or fewer tokens.
void KvChoices::residual() {
  check_residual_request(source_.card, d(), request_);
  if (!takes_residual(d())) return;
  if (d().kv_policy == KvPolicy::kMass) {
    throw Error(ErrorCode::kUnsupported, "eviction by attention from a residual window")
        .at("", "--kv-cache-dtype")
        .help("another format");
  }
  constexpr std::int64_t kMost = std::int64_t{1} << 30;
  KvResidual& out = d().kv_residual;
  out.tokens = {number(raw(request_.kv_residual), usual_residual(d()).tokens.n,
                       "newest KV tokens kept in f16", "--kv-residual", kMost)};
  if (d().kv_policy == KvPolicy::kStrided) {
    out.stride = number(request_.kv_stride, usual_residual(d()).stride, "stride of older KV tokens",
                        "--kv-stride", kResidualBlock.n);
  }
  check_residual(out);
}

void KvChoices::layout() {
  d().kv_layout = request_.kv_layout.value_or(KvLayout::kPaged);
  if (d().kv_layout == KvLayout::kPaged) {
    const std::int64_t step = residual_step(d().kv_residual);
    d().block = {number(request_.block_tokens, std::max(step, kDefaultBlock),
                        "tokens of a KV block", "--block-size", kMostBlock)};
    if (d().block.n % step != 0) {
      refuse_choice("--block-size",
                    fmt::format("blocks of {} tokens: {} rows leave the residual window together",
                                d().block.n, step),
                    fmt::format("give a multiple of {}", step));
    }
    return;
  }
  if (request_.block_tokens) {
    refuse_choice("--block-size",
                  "a contiguous cache is one block a sequence, as long as its context",
                  "leave it out, or --kv-layout paged");
  }
  if (d().kv_policy != KvPolicy::kKeepAll) {
    throw Error(ErrorCode::kUnsupported,
                fmt::format("a contiguous cache gives nothing back, and the KV policy {} does",
                            name_of(d().kv_policy)))
        .at("", "--kv-layout")
        .help("--kv-policy keep_all, or --kv-layout paged");
  }
}

std::int64_t KvChoices::asked_samples() const {
  return request_.samples.value_or(request_.beams.value_or(1));
}

/// Sequences that share blocks: samples or beams of a prompt, or prompts that begin alike.
void KvChoices::sharing() {
  if (request_.samples && request_.beams) {
    refuse_choice("--beams", "both samples and beams of each prompt", "give one of them");
  }
  const std::int64_t samples = asked_samples();
  const std::int64_t prefix = request_.shared_prefix.value_or(Tokens{}).n;
  if (samples < 1 || d().batch % samples != 0) {
    const char* const what = request_.beams ? "beams" : "samples";
    refuse_choice(request_.beams ? "--beams" : "--samples",
                  fmt::format("{} {} of each prompt in a batch of {}", samples, what, d().batch),
                  fmt::format("--batch counts all sequences; give a multiple of the {}", what));
  }
  if (prefix < 0)
    refuse_choice("--shared-prefix", "a prefix of less than no tokens", "give 0 or more");
  d().samples = samples;
  d().beam_search = request_.beams && samples > 1;
  d().shared_prefix = {prefix};
  if (samples == 1 && prefix == 0) return;
  const char* const flag = d().beam_search ? "--beams"
                           : samples > 1   ? "--samples"
                                           : "--shared-prefix";
  const auto unsupported = [&](const char* why) {
    throw Error(ErrorCode::kUnsupported, fmt::format("shared blocks with {}", why)).at("", flag);
  };
  if (samples > 1 && prefix > 0) unsupported("both samples and a shared prefix");
  if (d().kv_layout == KvLayout::kContiguous) unsupported("a contiguous cache");
  if (d().kv_policy != KvPolicy::kKeepAll) unsupported("a KV policy that gives blocks back");
  if (d().kv_residual.any()) unsupported("a residual window");
}

/// A windowed layer reads its window only, so that is what it keeps until more is asked for.
void KvChoices::policy() {
  const bool windowed =
      std::any_of(source_.card.layers.begin(), source_.card.layers.end(),
                  [](const Layer& layer) { return layer.mixer.window_tokens > 0; });
  if (request_.kv_policy == KvPolicy::kSinkWindow) return sink_window(windowed);
  if (request_.kv_policy == KvPolicy::kMass) return mass(windowed);
  if (request_.kv_budget || request_.kv_score) {
    refuse_choice(request_.kv_budget ? "--kv-budget" : "--kv-score",
                  "only the KV policy mass has a budget and a score", "add --kv-policy mass");
  }
  for (const auto& [asked, flag] :
       {std::pair(request_.kv_sinks, "--kv-sinks"), std::pair(request_.kv_window, "--kv-window")}) {
    if (asked)
      refuse_choice(flag, "only the KV policy sink_window has sinks and a window to choose",
                    "add --kv-policy sink_window");
  }
  if (request_.kv_policy == KvPolicy::kStrided) {
    d().kv_policy = KvPolicy::kStrided;  // residual() refuses what does not go with it
    if (!request_.kv_format) {
      d().kv_format = KvFormat::kFp8;
      assumed_instead("--kv-cache-dtype", name_of(KvFormat::kFp8));
    }
    return;
  }
  if (!windowed) return;
  d().kv_policy = request_.kv_policy.value_or(KvPolicy::kWindow);
  if (request_.kv_policy) return;
  assume("sliding-window layers", "keep their window and a chunk", "--kv-policy");
}

void KvChoices::does_not_suit(const char* why) const {
  throw Error(ErrorCode::kUnsupported,
              fmt::format("the KV policy {} does not suit {}: {}", name_of(*request_.kv_policy),
                          source_.card.name, why))
      .at("", "--kv-policy")
      .help("keep_all or window");
}

/// Sinks and a window for every layer, or what stands in the way. Source of the default: four
/// sinks suffice, Xiao et al. 2023, "Efficient Streaming Language Models with Attention Sinks".
void KvChoices::sink_window(bool windowed) {
  if (windowed) does_not_suit("some of its layers have windows of their own");
  if (source_.card.position == PositionKind::kLearned) {
    does_not_suit("its positions are learned rows, which cannot move with a window");
  }
  for (const Layer& layer : source_.card.layers) {
    if (layer.mixer.kind == MixerKind::kFullAttention) continue;
    does_not_suit("it has layers without a cache of keys and values");
  }
  constexpr std::int64_t kMost = std::int64_t{1} << 40;
  d().kv_policy = KvPolicy::kSinkWindow;
  d().kv_keep.sinks = request_.kv_sinks.value_or(Tokens{4});
  if (!request_.kv_sinks) assume("sink tokens", "4", "--kv-sinks");
  if (d().kv_keep.sinks.n < 0 || d().kv_keep.sinks.n > kMost) {
    refuse_choice("--kv-sinks", fmt::format("{} sink tokens are out of range", d().kv_keep.sinks.n),
                  "give 0 (a plain window) or more");
  }
  d().kv_keep.window = {
      number(raw(request_.kv_window), 1024, "tokens of the window", "--kv-window", kMost)};
}

/// Blocks with the least attention go. Keys keep the rotation of their true positions: distances
/// are true, and a static scaling of the rotation means what it means with the whole cache.
void KvChoices::mass(bool windowed) {
  if (windowed) does_not_suit("some of its layers have windows of their own");
  for (const Layer& layer : source_.card.layers) {
    if (layer.mixer.kind != MixerKind::kFullAttention) {
      does_not_suit("it has layers without a cache of keys and values");
    }
    if (layer.mixer.rope.scaling == "other") {
      does_not_suit("its rotary scaling may change with the length that is kept");
    }
  }
  d().kv_policy = KvPolicy::kMass;
  d().kv_score = request_.kv_score.value_or(KvScore::kSum);
  if (!request_.kv_score) assume("attention of a block", "sum over all queries", "--kv-score");
}

/// The budget, known with the context. Source of the share: Zhang et al. 2023, "H2O".
void KvChoices::budget() {
  if (d().kv_policy != KvPolicy::kMass) return;
  assume("positions of kept tokens", "their own: distances are true", "--kv-policy");
  // Fewer keys do not bring far ones nearer, as a window's places do.
  const std::int64_t limit = source_.card.context_limit;
  if (limit > 0 && d().context.n > limit) {
    does_not_suit(
        "its keys keep their positions, and the context goes beyond those it was "
        "made for; sink_window has places that do not");
  }
  const std::int64_t share = std::max<std::int64_t>(least_budget(), d().context.n / 5);
  d().kv_keep = {{},
                 {},
                 {number(raw(request_.kv_budget), share, "tokens of the KV budget", "--kv-budget",
                         std::int64_t{1} << 40)}};
  if (d().kv_keep.budget.n >= least_budget()) return;
  refuse_choice(
      "--kv-budget",
      fmt::format("a budget of {} tokens has no room beside the first {} and the last {}, which "
                  "always stay",
                  d().kv_keep.budget.n, kMassFirst.n, kMassLast.n),
      fmt::format("give at least {}", least_budget()));
}

std::int64_t KvChoices::least_budget() {
  const TokensPerBlock block = d().block;
  return (block * (blocks_for(kMassFirst, block) + blocks_for(kMassLast, block) + Blocks{2})).n;
}

/// Preemption is settled when the account is known; here what stands in its way.
void KvChoices::preemption() {
  const PreemptRequest asked = request_.preempt.value_or(PreemptRequest::kNone);
  if (asked == PreemptRequest::kNone) {
    if (!request_.kv_pool) return;
    refuse_choice("--kv-pool",
                  "a pool of fewer blocks than all sequences need, and no way to share it",
                  "add --preempt swap, recompute or auto");
  }
  const auto unsupported = [&](const char* why) {
    throw Error(ErrorCode::kUnsupported, fmt::format("preemption of {}", why))
        .at("", "--preempt")
        .help("plan for fewer sequences at a time");
  };
  if (d().samples > 1 || d().shared_prefix.n > 0) unsupported("sequences that share blocks");
  if (d().kv_policy != KvPolicy::kKeepAll) unsupported("a KV policy that gives blocks back");
  if (d().kv_layout != KvLayout::kPaged) unsupported("a contiguous cache");
  if (d().kv_placement != KvPlacement::kDevice) unsupported("a cache beyond the device");
  if (d().kv_residual.any()) unsupported("a residual window");
  if (d().attention == AttentionAlgorithm::kNaive) unsupported("naive attention");
}

void KvChoices::lengths() {
  if (d().kv_layout == KvLayout::kContiguous) d().block = {d().context.n};
  sharing();
  preemption();
  budget();
  d().kv_blocks = kv_blocks(d());
  d().kv_residual.blocks = residual_blocks(d());
  if (mixes_windows(d())) d().kv_residual.history = history_blocks(d());
  d().window_pools = window_pools(source_.card, d());
}

}  // namespace vramplan
