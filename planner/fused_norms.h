#pragma once
// FusedNorms: which norms the transformer makes in one operation with the sum before them: RMSNorms
// that follow a residual add inside a stage. x += p; n = norm(x), with p given back after n is
// made.
#include "planner/weights.h"

namespace vramplan {

/// The norm before the feed-forward follows the add after attention.
bool norm_follows_mixer(const RankModel& model, const LayerKind& kind);
/// Layers of this kind whose last add is followed by the first norm of the next layer of the rank.
std::int64_t norms_after_layers(const RankModel& model, std::size_t kind);
/// Layers of this kind whose first norm was made by the layer before.
std::int64_t norms_before_layers(const RankModel& model, std::size_t kind);

}  // namespace vramplan
