#pragma once
// ModelPart: which layers, heads and rows of a model one rank of the executor holds. Rank r = stage
// * tp + tensor rank. The executor's own arithmetic: the planner has another, and a test compares
// them.
#include <cstdint>

#include "modelcards/model_card.h"
#include "planner/decisions.h"

namespace vramplan {

struct ModelPart {
  int rank = 0, tp = 1, pp = 1;
  int tensor_rank = 0, stage = 0;
  LayerRange layers;
  std::int64_t vocab_rows = 0;  // of the embedding table and the head: ceil(vocab / tp)
  bool first() const { return stage == 0; }      // holds embedding and positions
  bool last() const { return stage == pp - 1; }  // holds the final norm and the head
};

/// Widths of a layer on one rank, in elements.
struct LayerPart {
  std::int64_t heads = 0, kv_heads = 0;
  std::int64_t q = 0, o = 0;  // heads * head_dim, heads * value_dim
  std::int64_t k = 0, v = 0;  // kv_heads * head_dim, kv_heads * value_dim
  std::int64_t f = 0;         // intermediate
};

/// Errors: kUsage when the sharding does not divide the model, kUnsupported for cp or ep above 1.
ModelPart model_part(const ModelCard& card, const Sharding& sharding, int rank);
/// Errors: kUsage naming what tp does not divide.
LayerPart layer_part(const Layer& layer, int tp);

}  // namespace vramplan
