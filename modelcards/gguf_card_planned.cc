// Half of GgufCardReader: what architectures that are planned and not run have besides.
#include <cstdlib>
#include <set>

#include "modelcards/gguf_card_reader.h"

namespace vramplan {

/// logit_scale divides the logits in Granite and multiplies them in Command R.
void GgufCardReader::read_multipliers() {
  const double logits = gguf_.real_or(prefix_ + "logit_scale", 1.0);
  const bool divides = is("granite") || is("granitemoe") || is("minicpm") || is("minicpm3");
  if (logits > 0) card_.logit_multiplier = divides ? 1.0 / logits : logits;
  card_.residual_multiplier = gguf_.real_or(prefix_ + "residual_scale", 1.0);
  card_.embedding_scale = gguf_.real_or(prefix_ + "embedding_scale", 1.0);
  card_.mtp_layers = integer_or("nextn_predict_layers", 0, 0, 64);
}

/// Parts of the architectures that are planned and not run.
void GgufCardReader::read_special_attention(std::int64_t layer, Mixer& mixer) const {
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

void GgufCardReader::read_special_experts(std::int64_t layer, FeedForward& out) const {
  out.bias = has_tensor(block(layer, "ffn_up_exps.bias"));
  const std::int64_t shared = integer_or("expert_shared_count", 0, 0, 65'536);
  const std::int64_t width =
      integer_or("expert_shared_feed_forward_length", detail::checked_mul(shared, out.intermediate),
                 0, std::int64_t{1} << 28);
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
void GgufCardReader::collect_extras() {
  static const std::set<std::string> kKnown = {"attn_norm",
                                               "attn_norm_2",
                                               "ffn_norm",
                                               "post_attention_norm",
                                               "post_ffw_norm",
                                               "attn_q",
                                               "attn_k",
                                               "attn_v",
                                               "attn_qkv",
                                               "attn_output",
                                               "attn_q_norm",
                                               "attn_k_norm",
                                               "attn_sinks",
                                               "attn_q_a",
                                               "attn_q_a_norm",
                                               "attn_q_b",
                                               "attn_kv_a_mqa",
                                               "attn_kv_a_norm",
                                               "attn_kv_b",
                                               "attn_k_b",
                                               "attn_v_b",
                                               "ffn_gate",
                                               "ffn_up",
                                               "ffn_down",
                                               "ffn_gate_inp",
                                               "ffn_gate_exps",
                                               "ffn_up_exps",
                                               "ffn_down_exps",
                                               "ffn_gate_shexp",
                                               "ffn_up_shexp",
                                               "ffn_down_shexp",
                                               "ffn_gate_inp_shexp",
                                               "exp_probs_b",
                                               "token_embd",
                                               "output",
                                               "output_norm",
                                               "position_embd",
                                               "rope_freqs",
                                               "rope_factors_long",
                                               "rope_factors_short"};
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

/// Which layers slide, by the pattern each architecture is trained with.
void GgufCardReader::read_planned_windows(std::int64_t window) {
  const std::int64_t period = is("gpt-oss")                                   ? 2
                              : is("cohere2") || is("exaone4") || is("olmo2") ? 4
                                                                              : 0;
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
void GgufCardReader::read_planned_positions() {
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

}  // namespace vramplan
