// Layers that are not alike: linear and state-space mixers, layers without positions, parts that
// families repeat in patterns.
#include <algorithm>
#include <cmath>

#include "modelcards/hf_config.h"

namespace vramplan {
namespace {

constexpr std::int64_t kMost = std::int64_t{1} << 20;

/// "auto", "128" or a number.
std::int64_t automatic(const HfFields& f, const char* field, std::int64_t usual) {
  if (!f.config.has(field) || f.config.at(field).is_string()) return usual;
  return f.optional({field}, usual, kMost);
}

LinearMixer mamba2(const HfFields& f, std::int64_t hidden) {
  LinearMixer out;
  out.kind = LinearKind::kMamba2;
  const std::int64_t expanded = hidden * f.optional({"mamba_expand", "expand"}, 2, 1024);
  const std::int64_t inner = f.optional({"mamba_d_ssm"}, expanded, kMost);
  out.heads = f.required({"mamba_n_heads", "mamba_num_heads", "num_heads"}, kMost);
  const char* width = f.spelling({"mamba_d_head", "mamba_head_dim", "head_dim"});
  out.value_dim = automatic(f, width, inner / out.heads);
  out.key_heads = f.optional({"mamba_n_groups", "n_groups"}, f.is({"nemotron_h"}) ? 8 : 1, kMost);
  out.key_dim = f.optional({"mamba_d_state", "ssm_state_size", "state_size"}, 128, kMost);
  out.conv_kernel = f.optional({"mamba_d_conv", "conv_kernel"}, 4, 1024);
  out.conv_bias = f.config.boolean_or(f.spelling({"mamba_conv_bias", "use_conv_bias"}), true);
  out.bias = f.flag("mamba_proj_bias", false) || f.flag("use_bias", false);
  out.norm = !f.is({"falcon_h1"}) || f.flag("mamba_rms_norm", false);
  return out;
}

LinearMixer mamba(const HfFields& f, std::int64_t hidden) {
  LinearMixer out;
  out.kind = LinearKind::kMamba;
  out.heads = f.optional({"intermediate_size_ssm", "mamba_intermediate_size"},
                         hidden * f.optional({"mamba_expand", "expand"}, 2, 1024), kMost);
  out.value_dim = out.key_heads = 1;
  out.key_dim = f.optional({"mamba_d_state", "state_size"}, 16, kMost);
  out.conv_kernel = f.optional({"mamba_d_conv", "conv_kernel"}, 4, 1024);
  const char* rank = f.spelling({"mamba_dt_rank", "time_step_rank"});
  out.rank = automatic(f, rank, ceil_div(hidden, 16));
  out.conv_bias = f.config.boolean_or(f.spelling({"mamba_conv_bias", "use_conv_bias"}), true);
  out.bias = f.flag("mamba_proj_bias", false) || f.flag("use_bias", false);
  out.norm = f.is({"jamba"});
  return out;
}

LinearMixer gated_delta(const HfFields& f) {
  LinearMixer out;
  out.kind = LinearKind::kGatedDelta;
  out.heads = f.optional({"linear_num_value_heads"}, 32, kMost);
  out.key_heads = f.optional({"linear_num_key_heads"}, 16, kMost);
  out.key_dim = f.optional({"linear_key_head_dim"}, 128, kMost);
  out.value_dim = f.optional({"linear_value_head_dim"}, 128, kMost);
  out.conv_kernel = f.optional({"linear_conv_kernel_dim"}, 4, 1024);
  return out;
}

LinearMixer kda(const HfFields& f) {
  LinearMixer out;
  out.kind = LinearKind::kKda;
  const bool nested = f.config.has("linear_attn_config");
  const JsonNode where = nested ? f.config.at("linear_attn_config") : f.config;
  const auto number = [&](const char* inside, const char* flat, std::int64_t usual) {
    return where.integer_or(nested ? inside : flat, usual, 1, kMost);
  };
  out.heads = out.key_heads = number("num_heads", "linear_num_heads", 32);
  out.key_dim = out.value_dim = number("head_dim", "linear_head_dim", 128);
  out.conv_kernel = number("short_conv_kernel_size", "linear_conv_kernel_dim", 4);
  return out;
}

LinearMixer linear_of(const HfFields& f, const Mixer& attention, std::int64_t hidden) {
  if (f.is({"qwen3_next", "qwen3_5", "qwen3_5_moe"})) return gated_delta(f);
  if (f.is({"kimi_linear"})) return kda(f);
  if (f.is({"jamba", "mamba", "falcon_mamba"})) return mamba(f, hidden);
  LinearMixer out;
  if (f.is({"lfm2", "lfm2_moe"})) {
    out.kind = LinearKind::kShortConv;
    out.heads = 1;
    out.value_dim = hidden;
    out.heads = hidden;
    out.value_dim = 1;
    out.conv_kernel = f.optional({"conv_L_cache"}, 3, 1024);
    out.conv_bias = out.bias = f.flag("conv_bias", false);
  } else if (f.is({"minimax"})) {
    out.kind = LinearKind::kLightning;
    out.heads = out.key_heads = attention.heads;
    out.key_dim = out.value_dim = attention.head_dim;
  } else {
    return mamba2(f, hidden);
  }
  return out;
}

/// Which layers have no attention.
std::vector<bool> linear_layers(const HfFields& f, std::int64_t count) {
  std::vector<bool> out(static_cast<std::size_t>(count), false);
  for (const char* field : {"layer_types", "layers_block_type"}) {
    const std::vector<std::string> words = f.layer_words(field, count);
    for (std::size_t i = 0; i < words.size(); ++i) {
      out[i] = words[i] == "linear_attention" || words[i] == "mamba" || words[i] == "conv";
    }
    if (!words.empty()) return out;
  }
  const auto every = [&](std::int64_t period, std::int64_t offset) {
    for (std::int64_t i = 0; i < count; ++i) {
      out[static_cast<std::size_t>(i)] = i % period != offset;
    }
    return out;
  };
  if (f.is({"mamba", "mamba2", "falcon_mamba"})) return std::vector<bool>(out.size(), true);
  if (f.is({"jamba"})) {
    return every(f.optional({"attn_layer_period"}, 8, kMost), f.count({"attn_layer_offset"}, 4));
  }
  if (f.is({"qwen3_next", "qwen3_5", "qwen3_5_moe"})) {
    const std::int64_t period = f.optional({"full_attention_interval"}, 4, kMost);
    return every(period, period - 1);
  }
  const char* listed = f.spelling({"attn_layer_indices", "full_attn_idxs"});
  if (f.config.has(listed)) {
    std::fill(out.begin(), out.end(), true);
    for (const JsonNode& item : f.config.at(listed).items()) {
      out[static_cast<std::size_t>(item.integer(0, count - 1))] = false;
    }
  }
  if (f.config.has("attn_type_list")) {  // MiniMax: 0 linear, 1 full
    const std::vector<JsonNode> types = f.config.at("attn_type_list").items();
    for (std::size_t i = 0; i < std::min(types.size(), out.size()); ++i) {
      out[i] = types[i].integer(0, 1) == 0;
    }
  } else if (f.is({"minimax"})) {
    for (std::size_t i = 0; i < out.size(); ++i) out[i] = i % 2 == 0;
  }
  if (f.is({"kimi_linear"}) && f.config.has("linear_attn_config")) {
    for (const JsonNode& item : f.config.at("linear_attn_config").at("kda_layers").items()) {
      out[static_cast<std::size_t>(item.integer(1, count) - 1)] = true;
    }
  } else if (f.is({"kimi_linear"})) {
    return every(4, 3);
  }
  return out;
}

/// Nemotron-H: a layer is one thing: M mamba, * attention, - feed-forward, E experts.
void read_single_parts(const HfFields& f, const FeedForward& experts, ModelCard& card) {
  std::string pattern = f.config.text_or("hybrid_override_pattern", "");
  if (pattern.empty()) {
    for (const std::string& word : f.layer_words("layers_block_type", card.layer_count())) {
      pattern += word == "mamba" ? 'M' : word == "attention" ? '*' : word == "moe" ? 'E' : '-';
    }
  }
  if (pattern.size() != card.layers.size()) {
    f.config.at("hybrid_override_pattern")
        .fail(ErrorCode::kBadConfig, "needs one letter a layer: " +
                                         std::to_string(card.layers.size()) + ", has " +
                                         std::to_string(pattern.size()));
  }
  const LinearMixer state = mamba2(f, card.hidden);
  for (std::size_t i = 0; i < pattern.size(); ++i) {
    Layer& layer = card.layers[i];
    if (pattern[i] != '*') layer.mixer = Mixer{};
    if (pattern[i] == 'M') {
      layer.mixer.kind = MixerKind::kLinear;
      layer.mixer.linear = state;
    } else if (pattern[i] == '-' || pattern[i] == 'E') {
      layer.mixer.kind = MixerKind::kNone;
    }
    if (pattern[i] == 'E') layer.feed_forward = experts;
    if (pattern[i] == 'M' || pattern[i] == '*') {
      layer.feed_forward = {};
      layer.feed_forward.kind = FeedForwardKind::kNone;
    }
  }
}

void replace_attention(const HfFields& f, ModelCard& card) {
  const std::vector<bool> linear = linear_layers(f, card.layer_count());
  const LinearMixer state = linear_of(f, card.layers.front().mixer, card.hidden);
  for (std::size_t i = 0; i < linear.size(); ++i) {
    Layer& layer = card.layers[i];
    if (linear[i]) {
      layer.mixer = Mixer{};
      layer.mixer.kind = MixerKind::kLinear;
      layer.mixer.linear = state;
    }
    if (f.is({"mamba", "mamba2", "falcon_mamba"})) {
      layer.feed_forward = {};
      layer.feed_forward.kind = FeedForwardKind::kNone;
    }
  }
}

void drop_rope(Mixer& mixer) {
  if (mixer.kind == MixerKind::kLinear || mixer.kind == MixerKind::kNone) return;
  mixer.no_rope = true;
  mixer.rope = Rope{};
}

/// Llama 4, SmolLM3: 1 = has rotary embedding. Cohere 2, EXAONE 4: layers with the whole context
/// have none.
void read_no_rope(const HfFields& f, ModelCard& card) {
  const bool listed = f.is({"llama4", "smollm3"});
  const std::int64_t interval = f.optional({"no_rope_layer_interval"}, 4, kMost);
  std::vector<std::int64_t> ropes;
  if (listed && f.config.has("no_rope_layers")) {
    for (const JsonNode& item : f.config.at("no_rope_layers").items()) {
      ropes.push_back(item.integer(0, 1));
    }
  }
  const bool each = ropes.size() == card.layers.size();
  const bool mixed = f.is({"cohere2", "exaone4"}) &&
                     std::any_of(card.layers.begin(), card.layers.end(), [](const Layer& layer) {
                       return layer.mixer.kind == MixerKind::kSlidingWindow;
                     });
  for (std::size_t i = 0; i < card.layers.size(); ++i) {
    Mixer& mixer = card.layers[i].mixer;
    const bool every = (static_cast<std::int64_t>(i) + 1) % interval == 0;
    const bool none = listed ? (each ? ropes[i] == 0 : every)
                             : mixed && mixer.kind == MixerKind::kFullAttention;
    if (none) drop_rope(mixer);
    if (f.is({"llama4"}) && !none) {
      const std::int64_t chunk = f.count({"attention_chunk_size"}, 8192);
      if (chunk > 0 && chunk < card.context_limit) {
        mixer.kind = MixerKind::kChunked;
        mixer.window_tokens = chunk;
      }
    }
  }
}

}  // namespace

void read_hf_hybrid(const HfFields& f, const FeedForward& experts, ModelCard& card) {
  if (f.is({"nemotron_h"})) {
    read_single_parts(f, experts, card);
  } else if (f.is({"falcon_h1"})) {
    for (Layer& layer : card.layers) layer.mixer.linear = mamba2(f, card.hidden);
  } else if (f.is({"qwen3_next", "qwen3_5", "qwen3_5_moe", "kimi_linear", "jamba", "mamba",
                   "mamba2", "falcon_mamba", "lfm2", "lfm2_moe", "minimax", "granitemoehybrid",
                   "bamba"})) {
    replace_attention(f, card);
  }
  if (card.position == PositionKind::kRope) read_no_rope(f, card);
}

}  // namespace vramplan
