#pragma once
// HfConfig: the parts that parse_hf_config is made of, shared by its files. Field names and defaults
// are those of the configuration classes of transformers 5.23.
#include <string>
#include <vector>

#include "modelcards/json.h"
#include "modelcards/model_card.h"

namespace vramplan {

/// What a model_type fixes without a field in config.json. Zero and empty: no such default.
struct HfFamily {
  const char* model_type;
  const char* family;
  NormKind norm;
  Activation activation;          // used when the config names none
  bool gated;
  bool tied_head;                 // default of tie_word_embeddings
  double rotary_share = 1.0;      // default of partial_rotary_factor
  PositionKind position = PositionKind::kRope;
  bool mixture = false;           // may have experts
};

/// Null when the model_type is not known.
const HfFamily* find_hf_family(const std::string& model_type);
/// What the card cannot say about a family that is known and refused; empty when it is not.
std::string refused_hf_family(const std::string& model_type);

/// What layer attention and rotary embedding look like, read from rope_scaling, rope_parameters,
/// layer_types and the window fields.
struct HfPositions {
  Rope full, sliding;                   // of layers with whole context, and of windowed ones
  std::vector<bool> windowed;           // one a layer
  std::int64_t window_tokens = 0;
};
HfPositions read_hf_positions(const JsonNode& config, const HfFamily& family,
                              std::int64_t layer_count, std::int64_t head_dim);

/// parse_hf_config, and with `quantised_is_fine` also for a config with quantization_config: its
/// bytes are then known from tensor headers, and stored_weights says only the unquantised format.
ModelCard read_hf_config(const std::string& json_text, const std::string& file_name,
                         bool quantised_is_fine);

}  // namespace vramplan
