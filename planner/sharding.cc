#include "planner/sharding.h"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>

namespace vramplan {
namespace {

bool has_attention(const Mixer& mixer) {
  return mixer.kind != MixerKind::kNone && mixer.kind != MixerKind::kLinear;
}

bool heads_split(std::int64_t heads, std::int64_t shared, int tp) {
  if (heads % tp != 0) return false;
  const bool replicated = shared > 0 && shared < tp && tp % shared == 0;
  return shared % tp == 0 || replicated;
}

bool splits_evenly(const Layer& layer, int tp, int ep) {
  const Mixer& mixer = layer.mixer;
  const FeedForward& ff = layer.feed_forward;
  const std::int64_t kv_heads = mixer.kind == MixerKind::kMla ? mixer.heads : mixer.kv_heads;
  if (has_attention(mixer) && !heads_split(mixer.heads, kv_heads, tp)) return false;
  const LinearMixer& linear = mixer.linear;
  if (linear.kind != LinearKind::kNone && !heads_split(linear.heads, linear.key_heads, tp)) {
    return false;
  }
  if (ff.kind == FeedForwardKind::kNone) return true;
  const bool moe = ff.kind == FeedForwardKind::kMoe;
  if (moe && ff.experts % ep != 0) return false;
  return ff.intermediate % (moe ? tp / ep : tp) == 0 && ff.shared_intermediate % tp == 0;
}

bool has_experts(const ModelCard& card) {
  return std::any_of(card.layers.begin(), card.layers.end(), [](const Layer& layer) {
    return layer.feed_forward.kind == FeedForwardKind::kMoe;
  });
}

bool splits_evenly(const ModelCard& card, int tp, int ep = 1) {
  if (tp % ep != 0 || (ep > 1 && !has_experts(card))) return false;
  return std::all_of(card.layers.begin(), card.layers.end(),
                     [&](const Layer& layer) { return splits_evenly(layer, tp, ep); });
}

std::string list_of(const std::vector<int>& values) {
  return fmt::format("{}", fmt::join(values, ", "));
}

void require_positive(const std::optional<int>& value, const char* flag) {
  if (!value || (*value >= 1 && *value <= 65536)) return;
  throw Error(ErrorCode::kUsage, fmt::format("{} is no number of devices", *value))
      .at("", flag)
      .help("give a number from 1 to 65536");
}

std::vector<int> valid_expert_parallel(const ModelCard& card, int tp) {
  std::vector<int> values;
  for (int ep = 1; ep <= tp; ++ep) {
    if (splits_evenly(card, tp, ep)) values.push_back(ep);
  }
  return values;
}

void check_expert_parallel(const ModelCard& card, int tp, int ep) {
  if (ep == 1 || splits_evenly(card, tp, ep)) return;
  if (!has_experts(card)) {
    throw Error(ErrorCode::kUsage, card.name + " has no experts to share").at("", "--ep");
  }
  const std::vector<int> valid = valid_expert_parallel(card, tp);
  throw Error(ErrorCode::kUsage,
              fmt::format("ep {} does not share the experts of {} between {} tensor ranks", ep,
                          card.name, tp))
      .at("", "--ep")
      .help(valid.empty() ? "choose another --tp: experts are shared between tensor ranks"
                          : "valid values of ep: " + list_of(valid));
}

void check_tensor_parallel(const ModelCard& card, int tp, int ep) {
  check_expert_parallel(card, tp, ep);
  if (splits_evenly(card, tp, ep)) return;
  const Layer& layer = *std::find_if(card.layers.begin(), card.layers.end(),
                                     [&](const Layer& l) { return !splits_evenly(l, tp, ep); });
  throw Error(ErrorCode::kUsage,
              fmt::format("tp {} does not split {} evenly: {} heads, {} kv heads, intermediate {}",
                          tp, card.name, layer.mixer.heads, layer.mixer.kv_heads,
                          layer.feed_forward.intermediate))
      .at("", "--tp")
      .help("valid values of tp: " + list_of(valid_tensor_parallel(card, std::max(64, tp))));
}

void check_stages(const ModelCard& card, int pp) {
  if (pp <= card.layer_count()) return;
  throw Error(ErrorCode::kUsage,
              fmt::format("{} pipeline stages for {} layers", pp, card.layer_count()))
      .at("", "--pp")
      .help(fmt::format("give at most {} stages", card.layer_count()));
}

[[noreturn]] void not_the_count(int count, const Sharding& s) {
  const std::string cp = s.cp > 1 ? fmt::format(" x cp {}", s.cp) : "";
  throw Error(ErrorCode::kUsage, fmt::format("tp {} x pp {}{} = {} is not the count {}", s.tp, s.pp,
                                             cp, std::int64_t{s.tp} * s.pp * s.cp, count))
      .at("", "--count")
      .help(s.cp > 1 ? "leave one of --count, --tp, --pp out, or make tp x pp x cp the count"
                     : "leave one of --count, --tp, --pp out, or make tp x pp equal to the count");
}

int default_tensor_parallel(const ModelCard& card, const DeviceCard& device, int count) {
  const std::int64_t node =
      device.devices_per_node.value > 0 ? device.devices_per_node.value : std::int64_t{count};
  for (int tp = count; tp >= 1; --tp) {
    if (count % tp == 0 && tp <= node && count / tp <= card.layer_count() &&
        splits_evenly(card, tp)) {
      return tp;
    }
  }
  throw Error(ErrorCode::kUsage,
              fmt::format("{} devices cannot share {}: no tp x pp gives every rank "
                          "an equal part of its {} layers",
                          count, card.name, card.layer_count()))
      .at("", "--count")
      .help("valid values of tp: " + list_of(valid_tensor_parallel(card, 64)));
}

}  // namespace

std::int64_t kv_heads_of_rank(std::int64_t kv_heads, int tp) {
  return kv_heads == 0 ? 0 : std::max<std::int64_t>(1, kv_heads / tp);
}

LayerShape layer_shape(const Layer& layer, int tp, int ep) {
  const Mixer& mixer = layer.mixer;
  const FeedForward& ff = layer.feed_forward;
  LayerShape shape;
  const bool latent = mixer.kind == MixerKind::kMla;
  if (has_attention(mixer)) {
    shape.heads = mixer.heads / tp;
    shape.kv_heads = mixer.kv_shared ? 0 : kv_heads_of_rank(mixer.kv_heads, tp);
    if (latent) {
      shape.kv_heads = shape.heads;  // what the latent is expanded to
      shape.latent = mixer.kv_lora_rank + mixer.qk_rope_dim;
    }
    if (mixer.index_heads > 0) shape.index = mixer.index_head_dim;
    shape.q = detail::checked_mul(shape.heads, mixer.head_dim);
    shape.k = detail::checked_mul(shape.kv_heads, mixer.head_dim);
    shape.v = detail::checked_mul(shape.kv_heads, mixer.value_dim);
    shape.o = detail::checked_mul(shape.heads, mixer.value_dim);
  }
  const LinearMixer& linear = mixer.linear;
  if (linear.kind != LinearKind::kNone) {
    shape.linear_heads = linear.heads / tp;
    shape.linear_inner = detail::checked_mul(shape.linear_heads, linear.value_dim);
    shape.linear_keys = detail::checked_mul(kv_heads_of_rank(linear.key_heads, tp), linear.key_dim);
  }
  if (ff.kind != FeedForwardKind::kNone) {
    const bool moe = ff.kind == FeedForwardKind::kMoe;
    shape.intermediate = ff.intermediate / (moe ? tp / ep : tp);
    shape.experts = ff.experts / ep;
    shape.shared_intermediate = ff.shared_intermediate / tp;
  }
  return shape;
}

RankShape rank_shape(const ModelCard& card, const Sharding& sharding, int rank) {
  VRAMPLAN_CHECK(rank >= 0 && rank < sharding.ranks());
  RankShape shape;
  shape.rank = rank;
  shape.stage = rank / sharding.stage_ranks();
  shape.tensor_rank = rank % sharding.tp;
  shape.tp = sharding.tp;
  shape.pp = sharding.pp;
  shape.cp = sharding.cp;
  shape.ep = sharding.ep;
  shape.layers = layers_of_stage(card.layer_count(), sharding.pp, shape.stage);
  shape.vocab_rows = ceil_div(card.vocab, sharding.tp);
  shape.embedding = shape.stage == 0;
  shape.head = shape.stage == sharding.pp - 1;
  return shape;
}

std::vector<int> valid_tensor_parallel(const ModelCard& card, int most, int ep) {
  std::vector<int> values;
  for (int tp = 1; tp <= most; ++tp) {
    if (splits_evenly(card, tp, ep)) values.push_back(tp);
  }
  return values;
}

double busiest(double mean, double variance, double ranks) {
  return mean + std::sqrt(2 * std::log(ranks) * variance);
}

Sharding choose_sharding(const ModelCard& card, const DeviceCard& device,
                         const ShardingRequest& request) {
  const auto& [count, tp, pp, cp, ep] = request;
  require_positive(count, "--count");
  require_positive(tp, "--tp");
  require_positive(pp, "--pp");
  require_positive(cp, "--cp");
  require_positive(ep, "--ep");
  Sharding sharding;
  sharding.cp = cp.value_or(1);
  sharding.ep = ep.value_or(1);
  const auto others = [&](int known) {  // of the count beside cp and what is known
    return static_cast<int>(count.value_or(65536) / (std::int64_t{known} * sharding.cp));
  };
  if (tp && pp) {
    sharding.tp = *tp;
    sharding.pp = *pp;
  } else if (tp) {
    sharding.tp = *tp;
    sharding.pp = count ? others(*tp) : 1;
  } else if (pp) {
    sharding.pp = *pp;
    sharding.tp = count ? others(*pp) : sharding.ep;
  } else {
    const int left = count ? others(1) : sharding.ep;
    if (left < 1) not_the_count(*count, sharding);
    sharding.tp = sharding.ep > 1 ? left : default_tensor_parallel(card, device, left);
    sharding.pp = left / sharding.tp;
  }
  const std::int64_t stages = std::int64_t{sharding.tp} * sharding.pp;
  const std::int64_t ranks = stages * sharding.cp;  // each at most 65536: no overflow
  if (ranks < 1 || ranks > 65536 || (count && ranks != *count)) {
    not_the_count(count.value_or(65536), sharding);
  }
  check_tensor_parallel(card, sharding.tp, sharding.ep);
  check_stages(card, sharding.pp);
  return sharding;
}

}  // namespace vramplan
