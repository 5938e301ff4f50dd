#include "planner/fused_norms.h"

namespace vramplan {
namespace {

bool has_mixer(const LayerKind& kind) { return kind.layer.mixer.kind != MixerKind::kNone; }
bool has_feed_forward(const LayerKind& kind) {
  return kind.layer.feed_forward.kind != FeedForwardKind::kNone;
}

/// Layer `i` of the rank ends in an add that the first norm of layer i + 1 follows.
bool fused_after(const RankModel& model, std::size_t i) {
  if (!model.rms_norms || i + 1 >= model.kind_of_layer.size()) return false;
  const LayerKind& own = model.kinds[model.kind_of_layer[i]];
  const LayerKind& next = model.kinds[model.kind_of_layer[i + 1]];
  return (has_mixer(own) || has_feed_forward(own)) && next.layer.pre_norms &&
         (has_mixer(next) || has_feed_forward(next));
}

}  // namespace

bool norm_follows_mixer(const RankModel& model, const LayerKind& kind) {
  return model.rms_norms && has_mixer(kind) && has_feed_forward(kind) && kind.layer.pre_norms &&
         !kind.layer.parallel;
}

std::int64_t norms_after_layers(const RankModel& model, std::size_t kind) {
  std::int64_t count = 0;
  for (std::size_t i = 0; i < model.kind_of_layer.size(); ++i) {
    if (model.kind_of_layer[i] == kind && fused_after(model, i)) ++count;
  }
  return count;
}

std::int64_t norms_before_layers(const RankModel& model, std::size_t kind) {
  std::int64_t count = 0;
  for (std::size_t i = 1; i < model.kind_of_layer.size(); ++i) {
    if (model.kind_of_layer[i] == kind && fused_after(model, i - 1)) ++count;
  }
  return count;
}

}  // namespace vramplan
