#include "planner/weight_names.h"

#include <map>
#include <optional>
#include <utility>

namespace vramplan {
namespace {

struct Renaming {
  const char* hf;
  const char* gguf;
};

constexpr Renaming kOutside[] = {{"model.embed_tokens.weight", "token_embd.weight"},
                                 {"model.norm.weight", "output_norm.weight"},
                                 {"model.norm.bias", "output_norm.bias"},
                                 {"lm_head.weight", "output.weight"},
                                 {"lm_head.bias", "output.bias"}};

// Without ".weight" and ".bias".
constexpr Renaming kInside[] = {{"self_attn.q_proj", "attn_q"},
                                {"self_attn.k_proj", "attn_k"},
                                {"self_attn.v_proj", "attn_v"},
                                {"self_attn.qkv_proj", "attn_qkv"},
                                {"self_attn.o_proj", "attn_output"},
                                {"self_attn.q_norm", "attn_q_norm"},
                                {"self_attn.k_norm", "attn_k_norm"},
                                {"input_layernorm", "attn_norm"},
                                {"pre_feedforward_layernorm", "ffn_norm"},
                                {"post_feedforward_layernorm", "post_ffw_norm"},
                                {"mlp.gate_proj", "ffn_gate"},
                                {"mlp.up_proj", "ffn_up"},
                                {"mlp.gate_up_proj", "ffn_up"},
                                {"mlp.down_proj", "ffn_down"},
                                {"mlp.gate", "ffn_gate_inp"},
                                {"block_sparse_moe.gate", "ffn_gate_inp"},
                                {"mlp.shared_experts.gate_proj", "ffn_gate_shexp"},
                                {"mlp.shared_experts.up_proj", "ffn_up_shexp"},
                                {"mlp.shared_experts.down_proj", "ffn_down_shexp"}};

constexpr Renaming kExpert[] = {{"gate_proj", "ffn_gate_exps"}, {"up_proj", "ffn_up_exps"},
                                {"down_proj", "ffn_down_exps"}, {"w1", "ffn_gate_exps"},
                                {"w3", "ffn_up_exps"},          {"w2", "ffn_down_exps"}};

/// "block_sparse_moe.experts.17.w1" -> "ffn_gate_exps"; empty when it is no expert's matrix.
std::optional<std::string> expert_name(const std::string& text) {
  const std::size_t at = text.find(".experts.");
  if (at == std::string::npos) return std::nullopt;
  const std::size_t dot = text.find('.', at + 9);
  if (dot == std::string::npos) return std::nullopt;
  for (const Renaming& r : kExpert) {
    if (text.compare(dot + 1, std::string::npos, r.hf) == 0) return r.gguf;
  }
  return std::nullopt;
}

std::optional<std::string> layer_name(const ModelCard& card, std::size_t layer,
                                      const std::string& name) {
  const std::size_t dot = name.rfind('.');
  if (dot == std::string::npos || layer >= card.layers.size()) return std::nullopt;
  const std::string module = name.substr(0, dot), ending = name.substr(dot);
  if (ending != ".weight" && ending != ".bias") return std::nullopt;
  // One name, two meanings: before the feed-forward, or after attention where there are norms on
  // both sides.
  if (module == "post_attention_layernorm") {
    return (card.layers[layer].post_norms ? "post_attention_norm" : "ffn_norm") + ending;
  }
  for (const Renaming& r : kInside) {
    if (module == r.hf) return r.gguf + ending;
  }
  if (const auto expert = expert_name(module)) return *expert + ending;
  return std::nullopt;
}

/// Names of a decoder inside a model that sees: "model.language_model.layers.0...",
/// "language_model.model.layers.0...", "language_model.lm_head.weight".
std::string decoder_name(const std::string& name) {
  const std::string inner = "language_model.", outer = "model.language_model.";
  if (name.compare(0, outer.size(), outer) == 0) return "model." + name.substr(outer.size());
  return name.compare(0, inner.size(), inner) == 0 ? name.substr(inner.size()) : name;
}

/// "model.layers.12.mlp.up_proj.weight" -> "blk.12.ffn_up.weight"; empty when unknown.
std::optional<std::string> gguf_name(const ModelCard& card, const std::string& given) {
  const std::string name = decoder_name(given);
  if (name.rfind("side_tensors.", 0) == 0) return name;
  for (const Renaming& r : kOutside) {
    if (name == r.hf) return r.gguf;
  }
  const std::string start = "model.layers.";
  if (name.compare(0, start.size(), start) != 0) return std::nullopt;
  std::size_t at = start.size(), layer = 0;
  for (; at < name.size() && name[at] >= '0' && name[at] <= '9' && layer < 1'000'000; ++at) {
    layer = layer * 10 + static_cast<std::size_t>(name[at] - '0');
  }
  if (at == start.size() || at >= name.size() || name[at] != '.') return std::nullopt;
  const auto further = static_cast<std::int64_t>(layer) - card.layer_count();
  if (!card.mtp_loaded && further >= 0 && further < card.mtp_layers) {
    return "blk." + std::to_string(layer) + name.substr(at);  // predicts further tokens: not read
  }
  const auto inside = layer_name(card, layer, name.substr(at + 1));
  if (!inside) return std::nullopt;
  return "blk." + std::to_string(layer) + "." + *inside;
}

bool ends_with(const std::string& text, const std::string& end) {
  return text.size() >= end.size() && text.compare(text.size() - end.size(), end.size(), end) == 0;
}

}  // namespace

std::vector<StoredTensor> stored_by_gguf_name(const ModelSource& source) {
  if (source.kind != SourceKind::kFolder) return source.stored;
  std::vector<StoredTensor> out;
  std::map<std::string, std::size_t> place;
  for (const StoredTensor& tensor : source.stored) {
    if (ends_with(tensor.name, "rotary_emb.inv_freq")) continue;  // computed, not loaded
    const auto name = gguf_name(source.card, tensor.name);
    if (!name) return {};
    if (source.card.tied_head && *name == "output.weight") continue;
    const auto [known, is_new] = place.emplace(*name, out.size());
    if (is_new) {
      out.push_back(tensor);
      out.back().name = *name;
      continue;
    }
    StoredTensor& stack = out[known->second];  // one more expert
    if (stack.dtype != tensor.dtype || stack.columns != tensor.columns) return {};
    stack.rows += tensor.rows;
    stack.bytes += tensor.bytes;
  }
  return out;
}

}  // namespace vramplan
