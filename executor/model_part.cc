#include "executor/model_part.h"

#include <string>

namespace vramplan {
namespace {

std::int64_t split(std::int64_t count, int tp, const char* what) {
  if (count % tp == 0) return count / tp;
  throw Error(ErrorCode::kUsage, std::to_string(count) + " " + what + " cannot be split over " +
                                     std::to_string(tp) + " ranks")
      .at("", "--tp")
      .help("choose a tp that divides heads, kv heads and the intermediate width");
}

}  // namespace

ModelPart model_part(const ModelCard& card, const Sharding& sharding, int rank) {
  if (sharding.cp != 1 || sharding.ep != 1) {
    throw Error(ErrorCode::kUnsupported, "context and expert parallel runs").at("", "--cp, --ep");
  }
  if (sharding.tp < 1 || sharding.pp < 1 || sharding.pp > card.layer_count()) {
    throw Error(ErrorCode::kUsage, "tp " + std::to_string(sharding.tp) + " x pp " +
                                       std::to_string(sharding.pp) + " for " +
                                       std::to_string(card.layer_count()) + " layers")
        .at("", "--tp, --pp");
  }
  VRAMPLAN_CHECK(rank >= 0 && rank < sharding.ranks());
  ModelPart part;
  part.rank = rank;
  part.tp = sharding.tp;
  part.pp = sharding.pp;
  part.tensor_rank = rank % sharding.tp;
  part.stage = rank / sharding.tp;
  part.layers = layers_of_stage(card.layer_count(), sharding.pp, part.stage);
  part.vocab_rows = ceil_div(card.vocab, sharding.tp);
  return part;
}

LayerPart layer_part(const Layer& layer, int tp) {
  const Mixer& mixer = layer.mixer;
  LayerPart part;
  part.heads = split(mixer.heads, tp, "heads");
  const bool replicated = mixer.kv_heads < tp && tp % mixer.kv_heads == 0;
  part.kv_heads = replicated ? 1 : split(mixer.kv_heads, tp, "kv heads");
  part.q = detail::checked_mul(part.heads, mixer.head_dim);
  part.k = detail::checked_mul(part.kv_heads, mixer.head_dim);
  part.v = detail::checked_mul(part.kv_heads, mixer.value_dim);
  part.o = detail::checked_mul(part.heads, mixer.value_dim);
  part.f = split(layer.feed_forward.intermediate, tp, "intermediate features");
  return part;
}

}  // namespace vramplan
