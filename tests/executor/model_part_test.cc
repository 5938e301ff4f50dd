#include "executor/model_part.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <map>
#include <string>
#include <utility>

#include "executor/rank_weights.h"
#include "modelcards/library.h"
#include "planner/sharding.h"
#include "planner/weights.h"

namespace vramplan {
namespace {

/// Two engineers' walks over the same cards: every tensor of every rank has the same name and
/// shape.
TEST(ModelPart, HoldsTheTensorsThePlannerCounts) {
  for (const std::string& name : model_card_names()) {
    const ModelCard card = model_card(name);
    const bool other = std::any_of(card.layers.begin(), card.layers.end(), [](const Layer& layer) {
      return layer.mixer.kind == MixerKind::kNone ||
             layer.feed_forward.kind != FeedForwardKind::kDense;
    });
    if (other || !special_parts(card).empty()) continue;  // refused by name
    for (const int tp : valid_tensor_parallel(card, 8)) {
      SCOPED_TRACE(name + " tp " + std::to_string(tp));
      Decisions decisions;
      decisions.weights = DType::kF16;
      decisions.sharding.tp = tp;
      decisions.sharding.pp = 2;
      for (const int rank : {0, 2 * tp - 1}) {
        std::map<std::string, std::pair<std::int64_t, std::int64_t>> ours, theirs;
        RankWeights weights;
        for_each_tensor(card, model_part(card, decisions.sharding, rank), weights,
                        [&](const TensorSpec& spec, TensorView&) {
                          ours[spec.group + " " + spec.name] = {spec.rows, spec.columns};
                        });
        for (const WeightTensor& t : rank_weight_tensors(card, decisions, rank, {})) {
          theirs[t.group + " " + t.name] = {t.rows, t.columns};
        }
        EXPECT_EQ(ours, theirs);
      }
    }
  }
}

TEST(ModelPart, KvHeadsAreSplitOrReplicated) {
  Layer layer;
  layer.mixer.heads = 16;
  layer.mixer.kv_heads = 4;
  layer.mixer.head_dim = layer.mixer.value_dim = 8;
  layer.feed_forward.intermediate = 32;
  EXPECT_EQ(layer_part(layer, 2).kv_heads, 2);
  EXPECT_EQ(layer_part(layer, 8).kv_heads, 1);
  EXPECT_EQ(layer_part(layer, 8).heads, 2);
  EXPECT_EQ(layer_part(layer, 4).f, 8);
  EXPECT_THROW(layer_part(layer, 3), Error);
  layer.mixer.kv_heads = 3;
  EXPECT_THROW(layer_part(layer, 2), Error);
}

}  // namespace
}  // namespace vramplan
