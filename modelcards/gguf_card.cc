// model_card_from_gguf: what a GGUF header says about a decoder. Dims come from the metadata,
// biases and norms from the tensors that are there; in the end every tensor of the file must be one
// that the card explains, with the shape the card gives it.
#include <algorithm>
#include <cmath>
#include <cstdlib>
#include <map>
#include <set>

#include "modelcards/gguf_architecture.h"

namespace vramplan {
namespace {

class CardReader {
 public:
  explicit CardReader(const Gguf& gguf)
      : gguf_(gguf), architecture_(find_gguf_architecture(gguf)), prefix_(architecture_.name) {
    prefix_ += '.';
  }

  ModelCard read();

 private:
  bool is(const char* name) const { return std::string(architecture_.name) == name; }
  std::string block(std::int64_t layer, const char* name) const {
    return gguf_block_name(layer, name);
  }
  bool has_tensor(const std::string& name) const { return gguf_.find_tensor(name) != nullptr; }
  std::int64_t ranged(const std::string& key, std::int64_t value, std::int64_t low,
                      std::int64_t high) const;
  std::int64_t integer(const char* key, std::int64_t low, std::int64_t high) const;
  std::int64_t integer_or(const char* key, std::int64_t fallback, std::int64_t low,
                          std::int64_t high) const;
  std::vector<std::int64_t> per_layer(const char* key, std::int64_t fallback) const;

  void read_whole_model();
  void read_multipliers();
  void read_rope();
  void read_special_attention(std::int64_t layer, Mixer& mixer) const;
  void read_special_experts(std::int64_t layer, FeedForward& out) const;
  void read_planned_windows(std::int64_t window);
  void read_planned_positions();
  void collect_extras();
  void read_llama3_factors();
  void read_layers();
  Mixer read_mixer(std::int64_t layer, std::int64_t heads, std::int64_t kv_heads) const;
  FeedForward read_feed_forward(std::int64_t layer, std::int64_t width) const;
  void read_residuals(std::int64_t layer, Layer& out) const;
  void read_windows();
  double softmax_scale(std::int64_t heads) const;

  DType most_common_dtype() const;

  const Gguf& gguf_;
  const GgufArchitecture& architecture_;
  std::string prefix_;
  ModelCard card_;
  Rope rope_;
};

std::int64_t CardReader::ranged(const std::string& key, std::int64_t value, std::int64_t low,
                                std::int64_t high) const {
  if (value < low || value > high) {
    fail_gguf_card(gguf_, key,
                   "the value " + std::to_string(value) + " is not between " + std::to_string(low) +
                       " and " + std::to_string(high));
  }
  return value;
}

std::int64_t CardReader::integer(const char* key, std::int64_t low, std::int64_t high) const {
  return ranged(prefix_ + key, gguf_.integer(prefix_ + key), low, high);
}

std::int64_t CardReader::integer_or(const char* key, std::int64_t fallback, std::int64_t low,
                                    std::int64_t high) const {
  return gguf_.has(prefix_ + key) ? integer(key, low, high) : fallback;
}

/// A scalar for all layers or an array with one value for each; `fallback` < 0 = required.
std::vector<std::int64_t> CardReader::per_layer(const char* key, std::int64_t fallback) const {
  const std::string name = prefix_ + key;
  const auto layers = static_cast<std::size_t>(card_.layer_count());
  std::vector<std::int64_t> values(layers, fallback);
  if (gguf_.is_array(name)) {
    values = gguf_.integers(name);
    if (values.size() != layers) {
      fail_gguf_card(gguf_, name,
                     "has " + std::to_string(values.size()) + " values for " +
                         std::to_string(layers) + " layers");
    }
  } else if (gguf_.has(name) || fallback < 0) {
    std::fill(values.begin(), values.end(), gguf_.integer(name));
  }
  for (const std::int64_t value : values) ranged(name, value, 1, std::int64_t{1} << 28);
  return values;
}

void CardReader::read_whole_model() {
  const GgufTensor* embedding = gguf_.find_tensor("token_embd.weight");
  if (embedding == nullptr || embedding->shape.size() != 2) {
    fail_gguf_card(gguf_, "token_embd.weight", "the embedding table is missing or is no matrix");
  }
  card_.hidden = integer("embedding_length", 1, std::int64_t{1} << 24);
  card_.vocab = ranged("token_embd.weight", embedding->rows(), 1, std::int64_t{1} << 31);
  card_.context_limit = integer("context_length", 1, std::int64_t{1} << 40);
  const std::int64_t declared = integer_or("vocab_size", card_.vocab, 1, std::int64_t{1} << 31);
  if (declared != card_.vocab) {
    fail_gguf_card(gguf_, "token_embd.weight",
                   "has " + std::to_string(card_.vocab) + " rows, " + prefix_ + "vocab_size says " +
                       std::to_string(declared));
  }
  const std::string tokens = "tokenizer.ggml.tokens";
  if (gguf_.has(tokens) && gguf_.texts(tokens).size() > static_cast<std::size_t>(card_.vocab)) {
    fail_gguf_card(gguf_, tokens, "more tokens than the embedding table has rows");
  }
  card_.position = architecture_.position;
  card_.norm = architecture_.norm;
  const std::string epsilon =
      prefix_ + (card_.norm == NormKind::kRms ? "attention.layer_norm_rms_epsilon"
                                              : "attention.layer_norm_epsilon");
  card_.norm_eps = gguf_.real_or(epsilon, -1);
  if (!(card_.norm_eps > 0 && card_.norm_eps < 1)) {
    fail_gguf_card(gguf_, epsilon, "the epsilon of the norms is missing or not between 0 and 1");
  }
  card_.tied_head = !has_tensor("output.weight");
  card_.head_bias = has_tensor("output.bias");
  // Gemma's converter adds the 1 to the norm weights, so norm_one_plus stays false here.
  const bool gemma = std::string(architecture_.name).rfind("gemma", 0) == 0;
  if (gemma) card_.embedding_scale = std::sqrt(static_cast<double>(card_.hidden));
  card_.logit_softcap = gguf_.real_or(prefix_ + "final_logit_softcapping", 0.0);
  if (card_.position == PositionKind::kLearned) {
    const GgufTensor* positions = gguf_.find_tensor("position_embd.weight");
    if (positions == nullptr)
      fail_gguf_card(gguf_, "position_embd.weight", "the position table is missing");
    card_.learned_positions = positions->rows();
  }
  if (architecture_.planned) {
    read_multipliers();
    return;
  }
  for (const char* key : {"logit_scale", "residual_scale", "embedding_scale", "attention.scale",
                          "attention.clamp_kqv", "attention.max_alibi_bias"}) {
    if (gguf_.has(prefix_ + key))
      refuse_gguf_card(gguf_, prefix_ + key, "this key has no place in a model card");
  }
}

/// logit_scale divides the logits in Granite and multiplies them in Command R.
void CardReader::read_multipliers() {
  const double logits = gguf_.real_or(prefix_ + "logit_scale", 1.0);
  const bool divides = is("granite") || is("granitemoe") || is("minicpm") || is("minicpm3");
  if (logits > 0) card_.logit_multiplier = divides ? 1.0 / logits : logits;
  card_.residual_multiplier = gguf_.real_or(prefix_ + "residual_scale", 1.0);
  card_.embedding_scale = gguf_.real_or(prefix_ + "embedding_scale", 1.0);
  card_.mtp_layers = integer_or("nextn_predict_layers", 0, 0, 64);
}

void CardReader::read_rope() {
  if (card_.position != PositionKind::kRope) return;
  rope_.theta = gguf_.real_or(prefix_ + "rope.freq_base", 10000.0);
  rope_.interleaved = architecture_.interleaved;
  if (!(rope_.theta > 0)) fail_gguf_card(gguf_, prefix_ + "rope.freq_base", "must be above 0");
  std::string kind = gguf_.text_or(prefix_ + "rope.scaling.type", "none");
  double factor = gguf_.real_or(prefix_ + "rope.scaling.factor", 1.0);
  if (gguf_.has(prefix_ + "rope.scale_linear")) {  // the key before rope.scaling.*
    factor = gguf_.real_or(prefix_ + "rope.scale_linear", 1.0);
    kind = "linear";
  }
  const bool own = kind == "yarn" && gguf_.has(prefix_ + "rope.scaling.yarn_log_multiplier");
  if (architecture_.planned && (own || has_tensor("rope_factors_long.weight"))) {
    rope_.scaling = "other";
    return;
  }
  if (kind != "none" && kind != "linear" && kind != "yarn") {
    refuse_gguf_card(gguf_, prefix_ + "rope.scaling.type", "rotary scaling of the kind " + kind);
  }
  if (has_tensor("rope_factors_long.weight") || has_tensor("rope_factors_short.weight")) {
    refuse_gguf_card(gguf_, "rope_factors_long.weight", "rotary scaling of the kind longrope");
  }
  for (const char* key : {"attn_factor", "yarn_log_multiplier", "yarn_ext_factor",
                          "yarn_attn_factor", "yarn_beta_fast", "yarn_beta_slow"}) {
    const std::string name = prefix_ + "rope.scaling." + key;
    if (gguf_.has(name)) refuse_gguf_card(gguf_, name, "rotary scaling with this parameter");
  }
  if (kind == "none" || factor == 1.0) {
    read_llama3_factors();
    return;
  }
  if (!(factor > 0)) fail_gguf_card(gguf_, prefix_ + "rope.scaling.factor", "must be above 0");
  rope_.scaling = kind;
  rope_.factor = factor;
  rope_.original_context =
      integer_or("rope.scaling.original_context_length", 0, 1, std::int64_t{1} << 40);
  if (kind == "yarn" && rope_.original_context == 0) {
    fail_gguf_card(gguf_, prefix_ + "rope.scaling.original_context_length", "yarn needs it");
  }
  if (!gguf_.rope_factors().empty()) {
    refuse_gguf_card(gguf_, "rope_freqs.weight", "two kinds of rotary scaling at once");
  }
}

/// Llama 3.1's rule for the divisor of a frequency with this wavelength.
double llama3_divisor(double wavelength, const Rope& rope) {
  const auto context = static_cast<double>(rope.original_context);
  if (wavelength < context / rope.high_freq_factor) return 1.0;
  if (wavelength > context / rope.low_freq_factor) return rope.factor;
  const double smooth = (context / wavelength - rope.low_freq_factor) /
                        (rope.high_freq_factor - rope.low_freq_factor);
  return 1.0 / ((1.0 - smooth) / rope.factor + smooth);
}

/// The converter writes Llama 3's scaling as a table of divisors and drops its parameters. They are
/// recovered (low 1, high 4, context 8192, as all published Llama 3.x have) and proved on every
/// entry.
void CardReader::read_llama3_factors() {
  const std::vector<double>& divisors = gguf_.rope_factors();
  if (divisors.empty()) return;
  if (std::all_of(divisors.begin(), divisors.end(), [](double d) { return d == 1.0; })) return;
  Rope rope = rope_;
  rope.scaling = "llama3";
  rope.factor = divisors.back();
  rope.low_freq_factor = 1.0;
  rope.high_freq_factor = 4.0;
  rope.original_context = 8192;
  const auto count = static_cast<double>(divisors.size());
  for (std::size_t i = 0; i < divisors.size(); ++i) {
    const double wavelength =
        2 * std::acos(-1.0) * std::pow(rope.theta, static_cast<double>(i) / count);
    const double wanted = llama3_divisor(wavelength, rope);
    if (!(std::fabs(divisors[i] - wanted) <= 1e-4 * wanted)) {
      refuse_gguf_card(gguf_, "rope_freqs.weight",
                       "a table of rotary factors that is not Llama 3's");
    }
  }
  rope_ = rope;
}

double CardReader::softmax_scale(std::int64_t heads) const {
  // The two 27B models divide by hidden / heads, not by the head's width; no key says so.
  const bool gemma_27b =
      (is("gemma2") && card_.layer_count() == 46) || (is("gemma3") && card_.layer_count() == 62);
  if (!gemma_27b) return 0.0;
  return 1.0 / std::sqrt(static_cast<double>(card_.hidden) / static_cast<double>(heads));
}

Mixer CardReader::read_mixer(std::int64_t layer, std::int64_t heads, std::int64_t kv_heads) const {
  Mixer mixer;
  mixer.heads = heads;
  mixer.kv_heads = kv_heads;
  if (heads > 65'536)
    fail_gguf_card(gguf_, prefix_ + "attention.head_count", "more than 65536 heads");
  if (heads % kv_heads != 0) {
    fail_gguf_card(gguf_, prefix_ + "attention.head_count_kv",
                   std::to_string(heads) + " heads do not divide into " + std::to_string(kv_heads) +
                       " groups");
  }
  const std::int64_t narrow = card_.hidden / heads;
  if (card_.hidden % heads != 0 && !gguf_.has(prefix_ + "attention.key_length")) {
    fail_gguf_card(gguf_, prefix_ + "attention.head_count", "does not divide the embedding length");
  }
  mixer.head_dim = integer_or("attention.key_length", narrow, 1, 65'536);
  mixer.value_dim = integer_or("attention.value_length", narrow, 1, 65'536);
  mixer.qkv_bias =
      has_tensor(block(layer, "attn_q.bias")) || has_tensor(block(layer, "attn_qkv.bias"));
  mixer.output_bias = has_tensor(block(layer, "attn_output.bias"));
  mixer.qk_norm = has_tensor(block(layer, "attn_q_norm.weight"));
  mixer.score_softcap = gguf_.real_or(prefix_ + "attn_logit_softcapping", 0.0);
  if (architecture_.planned) read_special_attention(layer, mixer);
  mixer.softmax_scale = softmax_scale(heads);
  if (card_.position == PositionKind::kRope) {
    mixer.rope = rope_;
    mixer.rope.rotary_dim = integer_or("rope.dimension_count", mixer.head_dim, 1, mixer.head_dim);
  }
  return mixer;
}

/// Parts of the architectures that are planned and not run.
void CardReader::read_special_attention(std::int64_t layer, Mixer& mixer) const {
  const GgufTensor* norm = gguf_.find_tensor(block(layer, "attn_q_norm.weight"));
  if (norm != nullptr && norm->rows() * norm->columns() != mixer.head_dim) {
    mixer.qk_norm_shape = QkNormShape::kFull;
  }
  mixer.sinks = has_tensor(block(layer, "attn_sinks.weight"));
  mixer.kv_lora_rank = integer_or("attention.kv_lora_rank", 0, 0, 65'536);
  if (mixer.kv_lora_rank == 0) return;
  mixer.kind = MixerKind::kMla;
  mixer.q_lora_rank = integer_or("attention.q_lora_rank", 0, 0, 65'536);
  mixer.qk_rope_dim = integer("rope.dimension_count", 1, 65'536);
  // Newer files give the width of the latent as key_length and a head's own as key_length_mla.
  mixer.head_dim = integer_or("attention.key_length_mla", mixer.head_dim, 1, 65'536);
  mixer.value_dim = integer_or("attention.value_length_mla", mixer.value_dim, 1, 65'536);
  mixer.kv_heads = mixer.heads;
  mixer.qk_norm = false;
}

void CardReader::read_special_experts(std::int64_t layer, FeedForward& out) const {
  out.bias = has_tensor(block(layer, "ffn_up_exps.bias"));
  const std::int64_t shared = integer_or("expert_shared_count", 0, 0, 65'536);
  const std::int64_t width = integer_or("expert_shared_feed_forward_length",
                                        detail::checked_mul(shared, out.intermediate), 0,
                                        std::int64_t{1} << 28);
  if (has_tensor(block(layer, "ffn_up_shexp.weight"))) {
    const GgufTensor* up = gguf_.find_tensor(block(layer, "ffn_up_shexp.weight"));
    out.shared_intermediate = width > 0 ? width : up->rows();
  }
  out.shared_gate = has_tensor(block(layer, "ffn_gate_inp_shexp.weight"));
  const bool correction = has_tensor(block(layer, "exp_probs_b.bias"));
  out.router_bias = correction || has_tensor(block(layer, "ffn_gate_inp.bias"));
  const bool sigmoid = integer_or("expert_gating_func", correction ? 2 : 1, 0, 16) == 2;
  out.router = sigmoid || correction ? RouterKind::kSigmoid : RouterKind::kSoftmax;
  out.renormalise = gguf_.boolean_or(prefix_ + "expert_weights_norm", true);
  out.routed_scale = gguf_.real_or(prefix_ + "expert_weights_scale", 1.0);
}

/// Tensors that neither the card nor a layer of it implies, with their shapes.
void CardReader::collect_extras() {
  static const std::set<std::string> kKnown = {
      "attn_norm", "attn_norm_2", "ffn_norm", "post_attention_norm", "post_ffw_norm", "attn_q",
      "attn_k", "attn_v", "attn_qkv", "attn_output", "attn_q_norm", "attn_k_norm", "attn_sinks",
      "attn_q_a", "attn_q_a_norm", "attn_q_b", "attn_kv_a_mqa", "attn_kv_a_norm", "attn_kv_b",
      "attn_k_b", "attn_v_b", "ffn_gate", "ffn_up", "ffn_down", "ffn_gate_inp", "ffn_gate_exps",
      "ffn_up_exps", "ffn_down_exps", "ffn_gate_shexp", "ffn_up_shexp", "ffn_down_shexp",
      "ffn_gate_inp_shexp", "exp_probs_b", "token_embd", "output", "output_norm", "position_embd",
      "rope_freqs", "rope_factors_long", "rope_factors_short"};
  for (const GgufTensor& tensor : gguf_.tensors()) {
    std::string name = tensor.name;
    std::size_t layer = card_.layers.size();
    if (name.rfind("blk.", 0) == 0) {
      const std::size_t dot = name.find('.', 4);
      if (dot == std::string::npos || dot == 4 || dot > 9) continue;
      layer = static_cast<std::size_t>(std::strtol(name.substr(4, dot - 4).c_str(), nullptr, 10));
      name = name.substr(dot + 1);
      if (layer >= card_.layers.size()) continue;  // layers that predict further tokens
    }
    if (kKnown.count(name.substr(0, name.find('.'))) > 0) continue;
    ExtraTensor extra;
    extra.name = name;
    extra.group = name.rfind("ffn", 0) == 0 ? "feed_forward" : "norms";
    extra.rows = tensor.rows();
    extra.columns = tensor.columns();
    const bool inside = tensor.name.rfind("blk.", 0) == 0;
    (inside ? card_.layers[layer].extras : card_.extras).push_back(extra);
  }
}

FeedForward CardReader::read_feed_forward(std::int64_t layer, std::int64_t width) const {
  FeedForward out;
  out.intermediate = width;
  out.gated = architecture_.gated;
  out.activation = architecture_.activation;
  out.bias = has_tensor(block(layer, "ffn_up.bias"));
  if (!has_tensor(block(layer, "ffn_gate_inp.weight"))) return out;
  out.kind = FeedForwardKind::kMoe;
  out.experts = integer("expert_count", 1, 65'536);
  out.experts_per_token = integer("expert_used_count", 1, out.experts);
  out.intermediate = integer_or("expert_feed_forward_length", width, 1, std::int64_t{1} << 28);
  if (architecture_.planned) read_special_experts(layer, out);
  return out;
}

void CardReader::read_residuals(std::int64_t layer, Layer& out) const {
  const bool second_norm = has_tensor(block(layer, "ffn_norm.weight"));
  if (is("phi2")) out.parallel = true;
  if (is("falcon")) {
    out.parallel = true;
    out.parallel_two_norms = has_tensor(block(layer, "attn_norm_2.weight"));
  }
  if (is("gptneox") && gguf_.boolean_or(prefix_ + "use_parallel_residual", true)) {
    out.parallel = out.parallel_two_norms = true;
  }
  if (is("stablelm") && !second_norm) out.parallel = true;
  out.post_norms = has_tensor(block(layer, "post_attention_norm.weight"));
  if (!architecture_.planned) return;
  const bool norms = card_.norm != NormKind::kLayerPlain;
  out.pre_norms = !norms || has_tensor(block(layer, "attn_norm.weight"));
  out.parallel = norms && out.pre_norms && !second_norm && !out.post_norms;
}

void CardReader::read_layers() {
  // block_count of some files counts the layers that predict further tokens.
  const std::int64_t all = integer("block_count", 1, 65'536);
  const std::int64_t count = std::max<std::int64_t>(1, all - card_.mtp_layers);
  // Each layer has tensors: a count that the table cannot hold is not believed.
  if (count > static_cast<std::int64_t>(gguf_.tensors().size())) {
    fail_gguf_card(gguf_, prefix_ + "block_count", "more layers than tensors");
  }
  card_.layers.resize(static_cast<std::size_t>(count));
  const auto heads = per_layer("attention.head_count", -1);
  const bool one_kv_head = is("falcon") && !gguf_.has(prefix_ + "attention.head_count_kv");
  const auto kv_heads = gguf_.has(prefix_ + "attention.head_count_kv")
                            ? per_layer("attention.head_count_kv", -1)
                        : one_kv_head ? std::vector<std::int64_t>(heads.size(), 1)
                                      : heads;
  const auto widths = per_layer("feed_forward_length", -1);
  for (std::int64_t i = 0; i < count; ++i) {
    const auto at = static_cast<std::size_t>(i);
    Layer& layer = card_.layers[at];
    layer.mixer = read_mixer(i, heads[at], kv_heads[at]);
    layer.feed_forward = read_feed_forward(i, widths[at]);
    read_residuals(i, layer);
  }
}

/// Gemma 2: every other layer slides, beginning with the first. Gemma 3: all but each sixth. Phi-3:
/// all. Other architectures write the key for nothing that their weights were trained with.
void CardReader::read_windows() {
  const std::int64_t window = integer_or("attention.sliding_window", 0, 0, std::int64_t{1} << 40);
  if (window == 0) {
    if (is("gemma3"))
      fail_gguf_card(gguf_, prefix_ + "attention.sliding_window", "the key is missing");
    return;
  }
  if (architecture_.planned) {
    read_planned_windows(window);
    return;
  }
  const std::int64_t period = is("gemma2") ? 2 : is("gemma3") ? 6 : 0;
  if (period == 0 && !is("phi3")) {
    refuse_gguf_card(gguf_, prefix_ + "attention.sliding_window",
                     "a sliding window in this architecture");
  }
  const std::string pattern = prefix_ + "attention.sliding_window_pattern";
  const bool listed = gguf_.is_array(pattern);
  const auto slides = listed ? gguf_.integers(pattern) : std::vector<std::int64_t>{};
  if (listed && slides.size() != card_.layers.size())
    fail_gguf_card(gguf_, pattern, "needs one value a layer");
  const std::int64_t every =
      listed || period == 0 ? 0 : integer_or("attention.sliding_window_pattern", period, 1, 65'536);
  for (std::size_t i = 0; i < card_.layers.size(); ++i) {
    Mixer& mixer = card_.layers[i].mixer;
    const bool full =
        listed ? slides[i] == 0 : every > 0 && (static_cast<std::int64_t>(i) + 1) % every == 0;
    if (full) continue;
    if (window < card_.context_limit) {
      mixer.kind = MixerKind::kSlidingWindow;
      mixer.window_tokens = window;
    }
    if (!is("gemma3")) continue;
    // Local layers keep their own base and are not stretched.
    mixer.rope.theta = gguf_.real_or(prefix_ + "rope.freq_base_swa", 10000.0);
    mixer.rope.scaling = "none";
    mixer.rope.factor = 1.0;
    mixer.rope.original_context = 0;
  }
}

/// Which layers slide, by the pattern each architecture is trained with.
void CardReader::read_planned_windows(std::int64_t window) {
  const std::int64_t period = is("gpt-oss") ? 2 : is("cohere2") || is("exaone4") || is("olmo2") ? 4 : 0;
  for (std::size_t i = 0; i < card_.layers.size() && period > 0; ++i) {
    Mixer& mixer = card_.layers[i].mixer;
    const bool full = (static_cast<std::int64_t>(i) + 1) % period == 0;
    if (!full && window < card_.context_limit) {
      mixer.kind = MixerKind::kSlidingWindow;
      mixer.window_tokens = window;
    } else if (full && (is("cohere2") || is("exaone4"))) {
      mixer.no_rope = true;
      mixer.rope = Rope{};
    }
  }
}

/// Layers without rotary embedding: every fourth. Llama 4's others see one chunk.
void CardReader::read_planned_positions() {
  if (!is("smollm3") && !is("llama4")) return;
  const std::int64_t chunk = integer_or("attention.chunk_size", 8192, 1, std::int64_t{1} << 40);
  for (std::size_t i = 0; i < card_.layers.size(); ++i) {
    Mixer& mixer = card_.layers[i].mixer;
    if ((i + 1) % 4 == 0) {
      mixer.no_rope = true;
      mixer.rope = Rope{};
    } else if (is("llama4") && chunk < card_.context_limit) {
      mixer.kind = MixerKind::kChunked;
      mixer.window_tokens = chunk;
    }
  }
}

/// Of the matrices, by elements: the format a person would call the file by.
DType CardReader::most_common_dtype() const {
  std::map<DType, double> elements;
  for (const GgufTensor& tensor : gguf_.tensors()) {
    if (tensor.rows() == 1) continue;
    elements[tensor.dtype] +=
        static_cast<double>(tensor.rows()) * static_cast<double>(tensor.columns());
  }
  const auto most = std::max_element(elements.begin(), elements.end(),
                                     [](auto& a, auto& b) { return a.second < b.second; });
  return most == elements.end() ? DType::kF32 : most->first;
}

/// File name without folder and ending, in the letters of a card name.
std::string name_from(const std::string& file_name) {
  std::string name = file_name.substr(file_name.find_last_of('/') + 1);
  if (name.size() > 5 && name.compare(name.size() - 5, 5, ".gguf") == 0)
    name.resize(name.size() - 5);
  for (char& c : name) {
    if (c >= 'A' && c <= 'Z') c = static_cast<char>(c - 'A' + 'a');
    const bool plain = (c >= 'a' && c <= 'z') || (c >= '0' && c <= '9') || c == '.';
    if (!plain) c = '-';
  }
  return name.empty() ? "gguf" : name;
}

ModelCard CardReader::read() {
  if (gguf_.has("split.count") && gguf_.integer("split.count") > 1) {
    refuse_gguf_card(gguf_, "split.count",
                     "a GGUF model split over several files; merge them into one");
  }
  card_.name = name_from(gguf_.file_name());
  card_.family = architecture_.family;
  card_.source = "GGUF header of " + printable(gguf_.file_name()) + ", general.name " +
                 printable(gguf_.text_or("general.name", "unnamed"));
  read_whole_model();
  read_rope();
  read_layers();
  read_windows();
  if (architecture_.planned) {
    read_planned_positions();
    collect_extras();
  } else {
    check_gguf_tensors(gguf_, architecture_, card_);
  }
  card_.stored_weights = most_common_dtype();
  return card_;
}

}  // namespace

ModelCard model_card_from_gguf(const Gguf& gguf) { return CardReader(gguf).read(); }

}  // namespace vramplan
