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
enum class Activation : std::uint8_t { kSilu, kGelu, kGeluTanh, kRelu, kRelu2, kSiluClipped };
/// kLayer has weight and bias, kLayerNoBias a weight only, kLayerPlain neither.
enum class NormKind : std::uint8_t { kRms, kLayer, kLayerNoBias, kLayerPlain };
enum class PositionKind : std::uint8_t { kRope, kLearned, kNone, kAlibi };
/// What one weight of a q or k norm covers: a head, all heads side by side, nothing (no weight).
enum class QkNormShape : std::uint8_t { kHead, kFull, kPlain };
enum class RouterKind : std::uint8_t { kSoftmax, kSigmoid };
enum class LinearKind : std::uint8_t {
  kNone, kMamba, kMamba2, kGatedDelta, kKda, kShortConv, kLightning };
enum class Split : std::uint8_t { kNone, kRows, kColumns };   // over tensor parallel ranks

/// Rotary embedding. Pairs are (i, i + rotary_dim / 2) ("neox") unless `interleaved`.
struct Rope {
  friend bool operator==(const Rope&, const Rope&) = default;
  double theta = 10000.0;
  std::int64_t rotary_dim = 0;     // <= head_dim; the rest passes through
  bool interleaved = false;
  std::string scaling = "none";    // none | linear | llama3 | yarn
  double factor = 1.0;
  double low_freq_factor = 1.0, high_freq_factor = 4.0;      // llama3
  std::int64_t original_context = 0;                         // llama3, yarn
};

/// A mixer whose memory does not grow: a state of fixed size per sequence. Widths in elements:
/// inner = heads * value_dim, keys = key_heads * key_dim. mamba: heads of width 1, key_dim = state
/// size. mamba2: key_heads = groups. short_conv: only a convolution over inner = hidden channels.
struct LinearMixer {
  friend bool operator==(const LinearMixer&, const LinearMixer&) = default;
  LinearKind kind = LinearKind::kNone;
  std::int64_t heads = 0, key_heads = 0;
  std::int64_t key_dim = 0, value_dim = 0;
  std::int64_t conv_kernel = 0;    // taps of the causal convolution, 0 = none
  std::int64_t rank = 0;           // of mamba's time step
  bool bias = false;               // of the projections in and out
  bool conv_bias = false;
  bool norm = false;               // mamba2: gated norm of the output; mamba: norms of dt, B and C
  DType state_format = DType::kF32;

  std::int64_t inner() const { return detail::checked_mul(heads, value_dim); }
  std::int64_t keys() const { return detail::checked_mul(key_heads, key_dim); }
};

/// A tensor that no other field of the card implies (sinks, indexers, towers, per-layer inputs):
/// its exact shape, so that parameters and bytes are exact for families with a part of their own.
struct ExtraTensor {
  friend bool operator==(const ExtraTensor&, const ExtraTensor&) = default;
  std::string name;                // as in a GGUF file when there is such a name; of a layer without blk.N
  std::string group = "attention"; // row of the ledger; see planner/weights.h
  std::int64_t rows = 1, columns = 0;
  Split split = Split::kNone;
  bool quantisable = true;         // a matrix that a weight format applies to; one row never is
};

struct Mixer {
  friend bool operator==(const Mixer&, const Mixer&) = default;
  MixerKind kind = MixerKind::kFullAttention;
  std::int64_t heads = 0, kv_heads = 0;
  std::int64_t head_dim = 0;       // of q and k
  std::int64_t value_dim = 0;      // of v; equal to head_dim in most families
  std::int64_t window_tokens = 0;  // sliding window or chunk; 0 = whole context
  bool qkv_bias = false, output_bias = false;
  bool qk_norm = false;            // a norm on q and on k
  QkNormShape qk_norm_shape = QkNormShape::kHead;
  bool qk_norm_bias = false;
  bool sinks = false;              // one learned logit a head
  bool output_gate = false;        // q also makes a gate of its own width for the output
  bool kv_shared = false;          // reads the cache of an earlier layer; has no k, v of its own
  bool no_rope = false;            // a layer without positions in a card whose position is rope
  // Multi-head latent attention. The cache holds kv_lora_rank + qk_rope_dim elements a token, the
  // same on every tensor rank. head_dim = the part without positions + qk_rope_dim.
  std::int64_t q_lora_rank = 0;    // 0 = q is one matrix
  std::int64_t kv_lora_rank = 0, qk_rope_dim = 0;
  // Sparse attention that picks tokens with a small indexer; its keys are cached as well.
  std::int64_t index_heads = 0, index_head_dim = 0, index_topk = 0;
  double softmax_scale = 0.0;      // 0 = 1/sqrt(head_dim)
  double score_softcap = 0.0;      // 0 = none
  Rope rope;
  LinearMixer linear;              // kLinear, or beside attention in the same layer (Falcon-H1)
};

struct FeedForward {
  friend bool operator==(const FeedForward&, const FeedForward&) = default;
  FeedForwardKind kind = FeedForwardKind::kDense;
  std::int64_t intermediate = 0;   // width of one expert when MoE
  bool gated = true;               // gate * up, then down
  bool bias = false;
  Activation activation = Activation::kSilu;
  std::int64_t experts = 0, experts_per_token = 0, shared_intermediate = 0;   // MoE
  RouterKind router = RouterKind::kSoftmax;
  bool router_bias = false;        // one number an expert, added to its score
  bool shared_gate = false;        // the shared expert is scaled by a gate of one row
  bool renormalise = true;         // weights of the chosen experts sum to 1
  double routed_scale = 1.0;       // of the routed experts' sum
  std::int64_t router_groups = 0, router_topk_groups = 0;   // group-limited routing, 0 = none
};

struct Layer {
  friend bool operator==(const Layer&, const Layer&) = default;
  Mixer mixer;
  FeedForward feed_forward;
  bool pre_norms = true;           // one norm before the mixer, one before the feed-forward
  bool post_norms = false;         // Gemma 2/3: also after each
  bool parallel = false;           // mixer and feed-forward read the same normed input (one norm)
  bool parallel_two_norms = false; // Falcon-40B: parallel with a norm for each
  std::vector<ExtraTensor> extras;
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
  double residual_multiplier = 1.0;     // Granite, MiniCPM: of what a block adds to the stream
  double logit_multiplier = 1.0;        // Granite, Cohere, MiniCPM
  // Layers that predict further tokens: shaped as the last layer, with two norms, a norm of their
  // own before the head and a matrix [hidden, 2 hidden]; table and head are the model's. Loaded,
  // and counted, when mtp_loaded.
  std::int64_t mtp_layers = 0;
  bool mtp_loaded = false;
  DType stored_weights = DType::kBF16;
  DType unpacked_weights = DType::kBF16;   // of what a packed format leaves out
  // Beside a packed stored_weights: fragments of tensor names, space separated, that are not packed:
  // "attn_" or "blk.0." (tables, head, norms and routers never are).
  std::string unpacked;
  std::vector<Layer> layers;
  std::vector<ExtraTensor> extras;      // outside the layers: of the first stage

  std::int64_t layer_count() const { return static_cast<std::int64_t>(layers.size()); }
};

/// Contradictions (heads not divisible, zero sizes, windows without length) are kBadCard errors that
/// name the field, such as layers[3].mixer.kv_heads.
void validate(const ModelCard& card);
/// A stable hash of every number, flag and kind of the card and its layers; name, title, family,
/// source and evidence do not count. A plan remembers it, run refuses another card. A field at its
/// default adds nothing, so a new field leaves the hashes of old cards alone.
std::uint64_t card_hash(const ModelCard& card);

/// What the card has beyond a plain decoder (attention with rotary or learned positions, norms with
/// their usual weights, dense or MoE feed-forward): "multi-head latent attention", "attention
/// sinks". Empty for a plain one. An executor that runs plain decoders refuses the others by these.
std::vector<std::string> special_parts(const ModelCard& card);

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
/// Hugging Face config.json text -> card. Errors: kUnknownFamily, kUnsupported, kBadConfig.
ModelCard parse_hf_config(const std::string& json_text, const std::string& file_name);

}  // namespace vramplan
