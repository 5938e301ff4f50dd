#pragma once
// WeightSpec: shape and name of every tensor a card implies, before a format is chosen. Used by
// weights.cc alone; kept apart because a format has no say in it.
#include <cstdint>
#include <vector>

#include "planner/weights.h"

namespace vramplan {

struct WeightSpec {
  const char* name;  // "attn_q.weight"; of a layer, without "blk.N."
  const char* group;
  Part part;
  std::int64_t rows, columns;              // on the rank
  std::int64_t whole_rows, whole_columns;  // in the model
  const char* fused_name = nullptr;        // the tensor of a file that may hold this one and others
  std::int64_t fused_rows = 0;
  bool is_vector = false;     // kept in f32 beside quantised matrices
  bool optional = false;      // a file may leave it out (bias of a LayerNorm)
  std::int64_t matrices = 1;  // stacked in rows
};

/// A tensor that the card gives by name and shape.
WeightSpec extra_spec(const ExtraTensor& extra, int tp);
/// Names point into the card and the layer.
std::vector<WeightSpec> layer_specs(const ModelCard& card, const Layer& layer, int tp, int ep = 1);
/// What a layer that predicts a further token holds besides the tensors of the last layer.
std::vector<WeightSpec> mtp_specs(const ModelCard& card);
/// Tensors outside the layers: tables, the last norm, the head, and those the card lists.
std::vector<WeightSpec> outside_specs(const ModelCard& card, const RankShape& shape);

}  // namespace vramplan
