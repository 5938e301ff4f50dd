#pragma once
// HfConfig: the parts that parse_hf_config is made of, shared by its files. Field names and defaults
// are those of the configuration classes of transformers 5.23.
#include <initializer_list>
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
/// Every model_type that is read, for messages.
std::vector<std::string> hf_model_types();

/// The fields of one config.json, with the words that families use for the same thing.
class HfFields {
 public:
  HfFields(const JsonNode& root_node, const JsonNode& config_node, const HfFamily& of)
      : root(root_node), config(config_node), family(of), name(of.family) {}

  bool is(std::initializer_list<const char*> families) const;
  /// The first of several spellings that is there.
  const char* spelling(std::initializer_list<const char*> names) const;
  std::int64_t required(std::initializer_list<const char*> names, std::int64_t high) const;
  std::int64_t optional(std::initializer_list<const char*> names, std::int64_t fallback,
                        std::int64_t high) const;
  /// As optional, with 0 allowed.
  std::int64_t count(std::initializer_list<const char*> names, std::int64_t fallback) const;
  bool flag(const char* field, bool fallback) const { return config.boolean_or(field, fallback); }
  double real(const char* field, double fallback) const;
  bool gemma() const { return name.rfind("gemma", 0) == 0; }
  void refuse_unless(bool fine, const char* field) const;
  /// Words of layer_types (or `field`), one a layer; empty when the file has none.
  std::vector<std::string> layer_words(const char* field, std::int64_t layer_count) const;

  const JsonNode& root;
  const JsonNode& config;
  const HfFamily& family;
  std::string name;
};

/// What layer attention and rotary embedding look like, read from rope_scaling, rope_parameters,
/// layer_types and the window fields.
struct HfPositions {
  Rope full, sliding;                   // of layers with whole context, and of windowed ones
  std::vector<bool> windowed;           // one a layer
  std::int64_t window_tokens = 0;
};
/// `rotary_width`: elements of a head that rotate when the share is 1.
HfPositions read_hf_positions(const JsonNode& config, const HfFamily& family,
                              std::int64_t layer_count, std::int64_t rotary_width);

/// Attention of a family, without positions; MLA where the config has its ranks.
Mixer read_hf_attention(const HfFields& fields, std::int64_t hidden);
FeedForward read_hf_feed_forward(const HfFields& fields, std::int64_t hidden);
/// Experts of a mixture; the dense feed-forward comes from read_hf_feed_forward.
FeedForward read_hf_experts(const HfFields& fields, const FeedForward& dense);
/// Whether layer `index` has experts.
bool is_hf_sparse(const HfFields& fields, std::int64_t index, std::int64_t layer_count);

/// Linear and state-space mixers, per-layer shapes and tensors of single families: changes the
/// layers of a card that has its attention and feed-forward.
void read_hf_hybrid(const HfFields& fields, const FeedForward& experts, ModelCard& card);
void read_hf_extras(const HfFields& fields, ModelCard& card);
/// Vision and audio towers beside the decoder, counted from their own configs. Adds to `notes` what
/// was not counted.
void read_hf_towers(const HfFields& fields, ModelCard& card, std::string& notes);
/// quantization_config: sets stored_weights to the packed format and `unpacked` to the tensors left
/// out. Errors: kUnsupported naming the method.
void read_hf_quantisation(const JsonNode& quantised, ModelCard& card);

/// parse_hf_config, and with `quantised_is_fine` also for a config with a quantization_config that
/// has no formula here: its bytes are then known from tensor headers.
ModelCard read_hf_config(const std::string& json_text, const std::string& file_name,
                         bool quantised_is_fine, const std::string& assume_like = {});

}  // namespace vramplan
