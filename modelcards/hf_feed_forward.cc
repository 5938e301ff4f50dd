// Feed-forward parts of the families of Hugging Face configs: dense, and mixtures of experts.
#include <algorithm>

#include "modelcards/hf_config.h"

namespace vramplan {
namespace {

constexpr std::int64_t kMostWidth = std::int64_t{1} << 28;

Activation read_activation(const HfFields& f) {
  if (f.is({"gpt_oss"})) return Activation::kSiluClipped;
  const char* key = f.spelling({"hidden_activation", "mlp_hidden_act", "hidden_act",
                                "activation_function", "activation"});
  if (!f.config.has(key)) return f.family.activation;
  const std::string& name = f.config.at(key).text();
  // The first Gemma files say gelu and mean its tanh form; their class overrides the field.
  if (f.gemma() && name == "gelu") return Activation::kGeluTanh;
  if (name == "silu" || name == "swish") return Activation::kSilu;
  if (name == "gelu") return Activation::kGelu;
  if (name == "gelu_new" || name == "gelu_pytorch_tanh" || name == "gelu_fast") {
    return Activation::kGeluTanh;
  }
  if (name == "relu") return Activation::kRelu;
  if (name == "relu2") return Activation::kRelu2;
  if (name == "xielu") return f.family.activation;  // its learned numbers mark the card
  f.config.at(key).fail(ErrorCode::kUnsupported, "the activation " + printable(name),
                        "silu, gelu, gelu_new, gelu_pytorch_tanh, relu and relu2 can be said in a "
                        "card");
}

bool read_bias(const HfFields& f) {
  if (f.is({"phi", "gpt2", "gptj", "gptneox", "gpt_bigcode", "bloom", "codegen", "gpt_neo",
            "persimmon"})) {
    return true;
  }
  if (f.is({"opt"})) return f.flag("enable_bias", true);
  if (f.is({"falcon"})) return f.flag("bias", false);
  if (f.is({"starcoder2"})) return f.flag("use_bias", true);
  if (f.is({"ernie4_5", "ernie4_5_moe"})) return f.flag("use_bias", false);
  return f.is({"llama", "granite", "nemotron", "helium", "seed_oss", "smollm3", "falcon_h1", "bamba",
               "arcee", "nemotron_h", "apertus"}) &&
         f.flag("mlp_bias", false);
}

/// LFM2 gives a width that its class cuts by two thirds and rounds up.
std::int64_t adjusted(const HfFields& f, std::int64_t width) {
  if (!f.is({"lfm2"}) || !f.flag("block_auto_adjust_ff_dim", true)) return width;
  const double cut = static_cast<double>(2 * width / 3) * f.real("block_ffn_dim_multiplier", 1.0);
  const std::int64_t multiple = f.optional({"block_multiple_of"}, 256, 1 << 20);
  return ceil_div(static_cast<std::int64_t>(cut), multiple) * multiple;
}

/// DeepSeek's first layers, then every moe_layer_freq-th.
bool after_leading_dense(const HfFields& f, std::int64_t index) {
  const std::int64_t leading =
      f.count({"first_k_dense_replace"}, f.is({"glm4_moe", "kimi_linear"}) ? 1 : 0);
  return index >= leading && index % f.optional({"moe_layer_freq"}, 1, 1 << 20) == 0;
}

bool in_list(const HfFields& f, const char* field, std::int64_t index) {
  if (!f.config.has(field)) return false;
  for (const JsonNode& item : f.config.at(field).items()) {
    if (item.integer(0, 1 << 20) == index) return true;
  }
  return false;
}

/// A number, or a list with the same number for each layer.
std::int64_t one_number(const HfFields& f, std::initializer_list<const char*> names) {
  const JsonNode node = f.config.at(f.spelling(names));
  if (!node.is_array()) return node.integer(1, 65'536);
  const std::vector<JsonNode> items = node.items();
  if (items.empty()) node.fail(ErrorCode::kBadConfig, "the list is empty");
  for (const JsonNode& item : items) {
    if (item.integer(1, 65'536) != items[0].integer(1, 65'536)) {
      node.fail(ErrorCode::kUnsupported, "a number of experts that differs between layers");
    }
  }
  return items[0].integer(1, 65'536);
}

void read_shared(const HfFields& f, FeedForward& out) {
  if (f.is({"qwen2_moe", "qwen3_next", "qwen3_5_moe"})) {
    out.shared_intermediate = f.required({"shared_expert_intermediate_size"}, kMostWidth);
    out.shared_gate = true;
  } else if (f.is({"nemotron_h"})) {
    out.shared_intermediate = f.count({"moe_shared_expert_intermediate_size"}, 0) *
                              f.count({"n_shared_experts"}, 1);
  } else if (f.is({"granitemoeshared", "granitemoehybrid"})) {
    out.shared_intermediate = f.count({"shared_intermediate_size"}, 0);
  } else if (f.is({"llama4"})) {
    out.shared_intermediate = out.intermediate;
  } else if (f.is({"hunyuan_v1_moe"})) {
    out.shared_intermediate = out.intermediate * (f.config.has("num_shared_expert")
                                                      ? one_number(f, {"num_shared_expert"})
                                                      : 1);
  } else {
    const std::int64_t shared = f.count(
        {"n_shared_experts", "num_shared_experts", "moe_num_shared_experts"},
        f.is({"glm4_moe", "kimi_linear"}) ? 1 : f.is({"ernie4_5_moe"}) ? 2 : 0);
    out.shared_intermediate = detail::checked_mul(out.intermediate, shared);
  }
}

void read_router(const HfFields& f, FeedForward& out) {
  if (f.is({"deepseek_v3", "deepseek_v32", "kimi_k2", "glm4_moe", "dots1", "nemotron_h",
            "kimi_linear", "minimax_m2", "llama4", "lfm2_moe"})) {
    out.router = RouterKind::kSigmoid;
  }
  if (f.config.text_or("scoring_func", "") == "softmax") out.router = RouterKind::kSoftmax;
  if (f.config.text_or("scoring_func", "") == "sigmoid") out.router = RouterKind::kSigmoid;
  out.router_bias =
      f.is({"deepseek_v3", "deepseek_v32", "kimi_k2", "glm4_moe", "dots1", "nemotron_h",
            "kimi_linear", "minimax_m2", "ernie4_5_moe", "gpt_oss", "lfm2_moe"});
  if (f.is({"lfm2_moe"})) out.router_bias = f.flag("use_expert_bias", true);
  if (f.is({"deepseek_v2"})) {
    out.router_bias = f.config.text_or("topk_method", "") == "noaux_tc";
  }
  const bool always = f.is({"mixtral", "gpt_oss", "phimoe", "granitemoe", "granitemoeshared",
                            "granitemoehybrid", "minimax", "minimax_m2", "hunyuan_v1_moe",
                            "ernie4_5_moe", "kimi_linear", "qwen3_5_moe"});
  const bool usual = always || f.is({"deepseek_v3", "deepseek_v32", "kimi_k2", "glm4_moe",
                                     "nemotron_h", "qwen3_next"});
  out.renormalise = f.is({"llama4"}) ? false : f.flag("norm_topk_prob", usual);
  out.routed_scale = f.config.real_or(
      "routed_scaling_factor", f.is({"deepseek_v3", "kimi_k2", "deepseek_v32"}) ? 2.5 : 1.0, 1e-9,
      1e9);
  out.router_groups = f.count({"n_group"}, 0);
  out.router_topk_groups = f.count({"topk_group"}, 0);
}

}  // namespace

FeedForward read_hf_feed_forward(const HfFields& f, std::int64_t hidden) {
  FeedForward out;
  out.gated = f.family.gated;
  out.activation = read_activation(f);
  const auto names = {"intermediate_size", "n_inner", "ffn_hidden_size", "ffn_dim"};
  const bool four_times =
      f.is({"gpt2", "gptj", "falcon", "gpt_bigcode", "bloom", "codegen", "gpt_neo"});
  if (f.is({"llama4"})) {
    out.intermediate = f.required({"intermediate_size_mlp"}, kMostWidth);
  } else if (f.is({"mpt"})) {
    out.intermediate = hidden * f.optional({"expansion_ratio"}, 4, 1024);
  } else if (f.is({"dbrx"})) {
    out.intermediate = f.config.at("ffn_config").at("ffn_hidden_size").integer(1, kMostWidth);
  } else if (f.is({"granitemoehybrid"}) && f.count({"num_local_experts"}, 8) == 0) {
    out.intermediate = f.required({"shared_intermediate_size"}, kMostWidth);
  } else if (f.is({"qwen3_5_moe", "nemotron-nas"}) ||
             (f.is({"gemma3n"}) && f.config.at(f.spelling(names)).is_array())) {
    out.intermediate = 1;  // every layer is changed afterwards
  } else {
    out.intermediate =
        four_times ? f.optional(names, 4 * hidden, kMostWidth) : f.required(names, kMostWidth);
  }
  out.intermediate = adjusted(f, out.intermediate);
  out.bias = read_bias(f);
  return out;
}

FeedForward read_hf_experts(const HfFields& f, const FeedForward& dense) {
  FeedForward out = dense;
  out.kind = FeedForwardKind::kMoe;
  out.bias = f.is({"gpt_oss"});
  if (f.is({"dbrx"})) {
    const JsonNode ffn = f.config.at("ffn_config");
    out.experts = ffn.at("moe_num_experts").integer(1, 65'536);
    out.experts_per_token = ffn.at("moe_top_k").integer(1, out.experts);
    return out;
  }
  out.experts = f.required({"num_experts", "num_local_experts", "n_routed_experts",
                            "moe_num_experts"}, 65'536);
  const char* chosen = f.spelling({"num_experts_per_tok", "moe_topk", "moe_k",
                                   "num_experts_per_token"});
  out.experts_per_token = f.config.at(chosen).is_array()
                              ? one_number(f, {chosen})
                              : f.required({chosen}, out.experts);
  const auto width = {"moe_intermediate_size", "expert_intermediate_size"};
  const char* key = f.spelling(width);
  if (f.is({"llama4"})) {
    out.intermediate = f.required({"intermediate_size"}, kMostWidth);
  } else if (f.config.has(key)) {
    out.intermediate = f.config.at(key).is_array() ? f.config.at(key).at(0).integer(1, kMostWidth)
                                                   : f.required(width, kMostWidth);
  } else if (f.is({"qwen3_moe", "qwen2_moe", "qwen3_next", "deepseek_v2", "deepseek_v3"})) {
    f.config.at("moe_intermediate_size");  // throws: missing
  }
  read_shared(f, out);
  read_router(f, out);
  return out;
}

bool is_hf_sparse(const HfFields& f, std::int64_t index, std::int64_t layer_count) {
  if (!f.family.mixture || in_list(f, "mlp_only_layers", index)) return false;
  if (f.is({"deepseek_v2", "deepseek_v3", "deepseek_v32", "kimi_k2", "glm4_moe", "dots1"})) {
    return f.count({"n_routed_experts", "num_experts"}, 0) > 0 && after_leading_dense(f, index);
  }
  if (f.is({"kimi_linear"})) return after_leading_dense(f, index);
  if (f.is({"llama4"})) {
    if (f.config.has("moe_layers")) return in_list(f, "moe_layers", index);
    const std::int64_t step = f.optional({"interleave_moe_layer_step"}, 1, 1 << 20);
    return (index + 1) % step == 0;
  }
  if (f.is({"jamba"})) {
    const std::int64_t period = f.optional({"expert_layer_period"}, 2, 1 << 20);
    return f.count({"num_experts"}, 16) > 1 &&
           index % period == f.count({"expert_layer_offset"}, 1);
  }
  if (f.is({"ernie4_5_moe"})) {
    const std::int64_t interval = f.optional({"moe_layer_interval"}, 1, 1 << 20);
    const std::int64_t end = f.config.integer_or("moe_layer_end_index", -1, -1, 1 << 20);
    return (index + 1) % interval == 0 && index >= f.count({"moe_layer_start_index"}, 1) &&
           index <= (end < 0 ? layer_count - 1 : end);
  }
  if (f.is({"lfm2_moe"})) return index >= f.count({"num_dense_layers"}, 2);
  if (f.is({"granitemoehybrid"})) return f.count({"num_local_experts"}, 8) > 0;
  const std::int64_t step = f.optional({"decoder_sparse_step"}, 1, 1 << 20);
  return (index + 1) % step == 0;
}

}  // namespace vramplan
