#include "planner/kv_residual.h"

#include <fmt/format.h>

#include "planner/kv_mix.h"

namespace vramplan {
namespace {

[[noreturn]] void refuse(const char* flag, const std::string& message, const std::string& fix) {
  throw Error(ErrorCode::kUsage, message).at("", flag).help(fix);
}

}  // namespace

bool takes_residual(const Decisions& decisions) {
  return decisions.kv_policy == KvPolicy::kStrided || packed_format(decisions).has_value();
}

KvResidual usual_residual(const Decisions& decisions) {
  if (decisions.kv_policy == KvPolicy::kStrided) return {Tokens{512}, 4, {}};
  return {Tokens{128}, 1, {}};
}

std::int64_t residual_step(const KvResidual& residual) {
  return residual.any() ? kResidualBlock.n / residual.stride : 1;
}

void check_residual_request(const ModelCard& card, const Decisions& decisions,
                            const PlanRequest& request) {
  const bool strided = decisions.kv_policy == KvPolicy::kStrided;
  const std::optional<KvFormat> packed = packed_format(decisions);
  if (!strided && request.kv_stride) {
    refuse("--kv-stride", "only the KV policy strided has one to choose",
           "add --kv-policy strided");
  }
  if (!strided && !packed) {
    if (!request.kv_residual) return;
    refuse("--kv-residual",
           "only a KV cache of kivi2 or kivi4, or of the policy strided, has one to choose",
           "add --kv-cache-dtype kivi2 or --kv-policy strided");
  }
  const auto unsupported = [&](const char* with) {
    throw Error(ErrorCode::kUnsupported,
                fmt::format("{} {} with {}", strided ? "the KV policy" : "a KV cache of",
                            strided ? name_of(decisions.kv_policy) : name_of(*packed), with))
        .at("", strided ? "--kv-policy" : "--kv-cache-dtype");
  };
  if (strided && packed) unsupported("a cache of kivi2 or kivi4, whose keys share scales");
  if (decisions.kv_policy == KvPolicy::kWindow || decisions.kv_policy == KvPolicy::kSinkWindow) {
    unsupported("a policy that gives blocks back");
  }
  for (const Layer& layer : card.layers) {
    if (layer.mixer.window_tokens > 0) unsupported("layers that have windows of their own");
  }
  if (request.kv_layout == KvLayout::kContiguous) unsupported("a contiguous cache");
  if (request.attention == AttentionAlgorithm::kNaive) unsupported("the naive attention");
}

void check_residual(const KvResidual& residual) {
  if (residual.tokens.n < 64 || residual.tokens.n % kResidualBlock.n != 0) {
    refuse("--kv-residual", fmt::format("a residual window of {} tokens", residual.tokens.n),
           "give a multiple of 32, at least 64");
  }
  if (kResidualBlock.n % residual.stride != 0) {
    refuse("--kv-stride", fmt::format("a stride of {}", residual.stride),
           "give 1, 2, 4, 8, 16 or 32");
  }
}

void check_residual_chunk(const Decisions& decisions) {
  const KvResidual& residual = decisions.kv_residual;
  if (!residual.any()) return;
  const Tokens most = residual.tokens - Tokens{kResidualBlock.n};
  if (decisions.prefill_chunk <= most) return;
  refuse("--prefill-chunk",
         fmt::format("passes of {} tokens do not go through a residual window of {}",
                     decisions.prefill_chunk.n, residual.tokens.n),
         fmt::format("give at most {}, or a larger --kv-residual", most.n));
}

}  // namespace vramplan
