#pragma once
// ModelCard: the facts of a decoder as a list of layers. A family is data: no formula asks for an
// architecture's name. Says nothing about a device, a batch or how the weights are encoded on disk,
// except `stored_weights`, the format the checkpoint is published in.
#include <cstdint>
#include <string>
#include <vector>

#include "modelcards/dtype.h"
#include "modelcards/units.h"

namespace vramplan {

enum class MixerKind : std::uint8_t { kFullAttention, kSlidingWindow, kChunked, kMla, kLinear, kNone };
enum class FeedForwardKind : std::uint8_t { kDense, kMoe, kNone };
enum class Activation : std::uint8_t { kSilu, kGelu, kGeluTanh, kRelu };
enum class NormKind : std::uint8_t { kRms, kLayer };          // kLayer has weight and bias
enum class PositionKind : std::uint8_t { kRope, kLearned, kNone };

/// Rotary embedding. Pairs are (i, i + rotary_dim / 2) ("neox") unless `interleaved`.
struct Rope {
  double theta = 10000.0;
  std::int64_t rotary_dim = 0;     // <= head_dim; the rest passes through
  bool interleaved = false;
  std::string scaling = "none";    // none | linear | llama3 | yarn
  double factor = 1.0;
  double low_freq_factor = 1.0, high_freq_factor = 4.0;      // llama3
  std::int64_t original_context = 0;                         // llama3, yarn
};

struct Mixer {
  MixerKind kind = MixerKind::kFullAttention;
  std::int64_t heads = 0, kv_heads = 0;
  std::int64_t head_dim = 0;       // of q and k
  std::int64_t value_dim = 0;      // of v; equal to head_dim in most families
  std::int64_t window_tokens = 0;  // sliding window or chunk; 0 = whole context
  bool qkv_bias = false, output_bias = false;
  bool qk_norm = false;            // RMSNorm of head_dim on q and on k, per head
  double softmax_scale = 0.0;      // 0 = 1/sqrt(head_dim)
  double score_softcap = 0.0;      // 0 = none
  Rope rope;
};

struct FeedForward {
  FeedForwardKind kind = FeedForwardKind::kDense;
  std::int64_t intermediate = 0;   // width of one expert when MoE
  bool gated = true;               // gate * up, then down
  bool bias = false;
  Activation activation = Activation::kSilu;
  std::int64_t experts = 0, experts_per_token = 0, shared_intermediate = 0;   // MoE
};

struct Layer {
  Mixer mixer;
  FeedForward feed_forward;
  bool pre_norms = true;           // one norm before the mixer, one before the feed-forward
  bool post_norms = false;         // Gemma 2/3: also after each
  bool parallel = false;           // mixer and feed-forward read the same normed input (one norm)
  bool parallel_two_norms = false; // Falcon-40B: parallel with a norm for each
};

struct ModelCard {
  std::string name;                // card name: llama-3.1-8b
  std::string family;              // llama, qwen3, gemma2 ...: for people and for tensor names
  std::string title;               // as people call it: Meta Llama 3.1 8B
  std::string source;              // page or repository@commit:path: where the numbers were read
  std::string evidence = "read";   // read | derived | assumed
  std::int64_t hidden = 0;
  std::int64_t vocab = 0;
  std::int64_t context_limit = 0;  // tokens
  std::int64_t learned_positions = 0;   // rows of a learned position table, 0 = none
  PositionKind position = PositionKind::kRope;
  NormKind norm = NormKind::kRms;
  double norm_eps = 1e-5;
  bool norm_one_plus = false;      // Gemma: the stored weight is w - 1
  bool tied_head = false;          // the head is the embedding table
  bool head_bias = false;
  bool final_norm = true;
  double embedding_scale = 1.0;    // Gemma: sqrt(hidden)
  double logit_softcap = 0.0;
  DType stored_weights = DType::kBF16;
  std::vector<Layer> layers;

  std::int64_t layer_count() const { return static_cast<std::int64_t>(layers.size()); }
};

/// Contradictions (heads not divisible, zero sizes, windows without length) are kBadCard errors that
/// name the field, such as layers[3].mixer.kv_heads. Mixers the card cannot describe yet (MLA,
/// linear) are kUnsupported.
void validate(const ModelCard& card);
/// A stable hash of every number, flag and kind of the card and its layers; name, title, family,
/// source and evidence do not count. A plan remembers it, run refuses another card. A field at its
/// default adds nothing, so a new field leaves the hashes of old cards alone.
std::uint64_t card_hash(const ModelCard& card);

/// Card file (YAML, see modelcards/models/README.md) -> card. Uniform layers are written once.
/// Errors: kBadYaml with file, line and field; kBadCard, kUnsupported as validate.
ModelCard parse_model_card(const std::string& yaml_text, const std::string& file_name);
/// YAML that parse_model_card reads back to an equal card (card_hash and texts alike).
std::string write_model_card(const ModelCard& card);
/// `--set path=value` on a card. Paths: a field of the card (vocab, tied_head, learned_positions),
/// layer_count (cuts, or repeats equal layers), layers.FIELD for all layers, layers[3].FIELD for one.
/// FIELD is a field of the layer, its mixer, rope or feed-forward: kv_heads, rope.theta, mixer.kind.
/// What was equal stays equal: value_dim and rope.rotary_dim follow head_dim, kv_heads follows heads.
/// window_tokens=N reaches the windowed layers, or makes all layers sliding when none is; 0 makes
/// them full. The card is validated again and left unchanged by an error.
/// Errors: kUsage naming the nearest field; kBadCard when the result contradicts itself.
void set_field(ModelCard& card, const std::string& assignment);
/// Hugging Face config.json text -> card, for the dense families. Errors: kUnknownFamily.
ModelCard parse_hf_config(const std::string& json_text, const std::string& file_name);

}  // namespace vramplan
