// Rotary embedding and attention windows of a config.json.
#include <cmath>
#include <set>

#include "modelcards/hf_config.h"

namespace vramplan {
namespace {

constexpr std::int64_t kMaxTokens = std::int64_t{1} << 40;

/// Fields of the scaling kinds that a card says; a value elsewhere must be the kind's default.
bool has_extras(const JsonNode& rope, const std::string& kind) {
  const std::set<std::string> known = {"rope_type",
                                       "type",
                                       "factor",
                                       "rope_theta",
                                       "partial_rotary_factor",
                                       "low_freq_factor",
                                       "high_freq_factor",
                                       "original_max_position_embeddings"};
  for (const JsonNode& field : rope.items()) {
    const std::string name = field.path().substr(field.path().find_last_of('.') + 1);
    if (known.count(name) != 0 || field.is_null()) continue;
    const bool usual = kind == "yarn" && field.is_number() &&
                       ((name == "beta_fast" && field.real(-1e9, 1e9) == 32) ||
                        (name == "beta_slow" && field.real(-1e9, 1e9) == 1));
    if (!usual) return true;
  }
  return false;
}

/// `rope` holds one set of scaling fields (rope_scaling, rope_parameters, or one of its layer
/// kinds). A kind or parameter that a card does not say becomes "other": bytes do not depend on it,
/// and an executor refuses it.
void read_scaling(const JsonNode& config, const JsonNode& rope, Rope& out) {
  out.theta = rope.real_or("rope_theta", out.theta, 1e-3, 1e15);
  // Older files of Gemma 3 give only a factor; its configuration class reads that as linear.
  const bool only_factor = !rope.has("rope_type") && !rope.has("type") && rope.has("factor");
  const std::string kind =
      rope.text_or("rope_type", rope.text_or("type", only_factor ? "linear" : "default"));
  if (kind == "default") return;
  const bool known = kind == "linear" || kind == "llama3" || kind == "yarn";
  if (!known || has_extras(rope, kind)) {
    out.scaling = "other";
    return;
  }
  out.factor = rope.at("factor").real(1e-6, 1e9);
  if (out.factor == 1.0 && kind != "llama3") return;
  out.scaling = kind;
  if (kind == "linear") return;
  const std::int64_t limit = config.integer_or("max_position_embeddings", 0, 1, kMaxTokens);
  const char* original = "original_max_position_embeddings";
  out.original_context =
      rope.integer_or(original, config.integer_or(original, limit, 1, kMaxTokens), 1, kMaxTokens);
  if (out.original_context == 0) rope.at(original);  // throws: missing
  if (kind == "yarn") return;
  out.low_freq_factor = rope.at("low_freq_factor").real(1e-6, 1e9);
  out.high_freq_factor = rope.at("high_freq_factor").real(1e-6, 1e9);
  if (out.high_freq_factor > out.low_freq_factor) return;
  // Llama 4 gives both the same value: no blend between the two.
  if (out.high_freq_factor == out.low_freq_factor) {
    out.scaling = "other";
    return;
  }
  rope.fail(ErrorCode::kBadConfig, "high_freq_factor must be above low_freq_factor");
}

double rotary_share(const JsonNode& config, const HfFamily& family) {
  double share = config.real_or("rotary_pct", family.rotary_share, 0, 1);
  share = config.real_or("partial_rotary_factor", share, 0, 1);
  if (config.has("rope_parameters")) {
    share = config.at("rope_parameters").real_or("partial_rotary_factor", share, 0, 1);
  }
  return share;
}

void read_rope(const JsonNode& config, const HfFamily& family, std::int64_t head_dim,
               HfPositions& out) {
  const std::string name = family.family;
  Rope rope;
  const bool latent = config.has("kv_lora_rank");   // its rotary part is a width of its own
  const double share = latent ? 1.0 : rotary_share(config, family);
  rope.rotary_dim = static_cast<std::int64_t>(share * static_cast<double>(head_dim));
  rope.interleaved = name == "glm" || name == "glm4" || name == "cohere" || name == "cohere2" ||
                     name == "llama4" || name == "ernie4_5" || latent;
  if (name == "gptj" || name == "codegen") {
    rope.rotary_dim = config.at("rotary_dim").integer(2, head_dim);
    rope.interleaved = true;
  }
  if (rope.rotary_dim < 2 || rope.rotary_dim % 2 != 0) {
    config.fail(ErrorCode::kUnsupported, "rotary embedding of " + std::to_string(rope.rotary_dim) +
                                             " of " + std::to_string(head_dim) + " elements");
  }
  rope.theta = name == "gemma3" ? 1e6 : 1e4;  // defaults of the configuration classes
  if (name == "mixtral" || name == "gemma3n") rope.theta = 1e6;
  rope.theta = config.real_or("rotary_emb_base", rope.theta, 1e-3, 1e15);
  rope.theta = config.real_or("rope_theta", rope.theta, 1e-3, 1e15);
  out.full = out.sliding = rope;
  if (name == "gemma3" || name == "gemma3n") {
    out.sliding.theta = config.real_or("rope_local_base_freq", 1e4, 1e-3, 1e15);
  }
  const char* key = config.has("rope_parameters") ? "rope_parameters" : "rope_scaling";
  if (!config.has(key) || name == "gptj") return;
  const JsonNode fields = config.at(key);
  if (fields.has("full_attention")) {  // one set a kind of layer
    read_scaling(config, fields.at("full_attention"), out.full);
    if (fields.has("sliding_attention")) {
      read_scaling(config, fields.at("sliding_attention"), out.sliding);
    }
    return;
  }
  read_scaling(config, fields, out.full);
  // Gemma 3 stretches its global layers only; elsewhere all layers share one embedding.
  if (name != "gemma3" && name != "gemma3n") out.sliding = out.full;
}

/// Families whose layers other than attention are read elsewhere.
bool family_is_mixed(const JsonNode& config) {
  const std::string type = config.text_or("model_type", "");
  for (const char* known : {"qwen3_next", "qwen3_5", "lfm2", "granitemoehybrid", "minimax",
                            "kimi_linear", "llama4", "nemotron_h", "bamba"}) {
    if (type.rfind(known, 0) == 0) return true;
  }
  return false;
}

void read_layer_types(const JsonNode& config, std::int64_t layer_count, HfPositions& out) {
  const JsonNode types = config.at("layer_types");
  const std::vector<JsonNode> items = types.items();
  if (!types.is_array() || items.size() != out.windowed.size()) {
    types.fail(ErrorCode::kBadConfig, "has " + std::to_string(items.size()) + " entries for " +
                                          std::to_string(layer_count) + " layers");
  }
  for (std::size_t i = 0; i < items.size(); ++i) {
    const std::string& type = items[i].text();
    const bool other = type == "linear_attention" || type == "conv" || type == "mamba" ||
                       type == "attention" || type == "chunked_attention" || type == "hybrid";
    if (other && family_is_mixed(config)) continue;
    if (type != "full_attention" && type != "sliding_attention") {
      items[i].fail(ErrorCode::kUnsupported, "a layer of the kind " + printable(type));
    }
    out.windowed[i] = type == "sliding_attention";
  }
}

/// Every n-th layer keeps the whole context; 0 when the family has no such pattern.
std::int64_t full_every(const JsonNode& config, const std::string& name) {
  if (name == "gpt_oss") return 2;
  if (name == "olmo3") return 4;
  if (name == "cohere2") {
    const bool old = config.has("_sliding_window_pattern");
    return config.integer_or(old ? "_sliding_window_pattern" : "sliding_window_pattern", 4, 1,
                             1 << 20);
  }
  if (name != "exaone4" || !config.has("sliding_window_pattern")) return 0;
  const JsonNode pattern = config.at("sliding_window_pattern");   // "LLLG" or a number
  if (!pattern.is_string()) return pattern.integer(1, 1 << 20);
  return static_cast<std::int64_t>(pattern.text().size());
}

void read_windows(const JsonNode& config, const HfFamily& family, std::int64_t layer_count,
                  HfPositions& out) {
  const std::string name = family.family;
  out.windowed.assign(static_cast<std::size_t>(layer_count), false);
  const bool switched = name.rfind("qwen", 0) == 0 || name == "smollm3";
  if (switched && !config.boolean_or("use_sliding_window", false)) return;
  const bool gemma = name == "gemma2" || name == "gemma3" || name == "gemma3n";
  // Windows that a family's class has when the file says nothing.
  std::int64_t usual = gemma ? 4096 : 0;
  if (name == "gemma3n") usual = 512;
  if (name == "gpt_oss") usual = 128;
  if (name == "olmo3" || name == "cohere2") usual = 4096;
  if (name == "llama4" || name == "minimax" || name == "dots1") return;   // chunks, or none
  if (name == "nemotron_h" || name == "jamba" || name == "bamba") return;
  out.window_tokens = config.integer_or("sliding_window", usual, 1, kMaxTokens);
  if (config.contains("sliding_window") && !config.has("sliding_window")) out.window_tokens = 0;
  if (config.has("layer_types")) {
    read_layer_types(config, layer_count, out);
  } else if (gemma) {
    std::int64_t period = name == "gemma2" ? 2 : name == "gemma3n" ? 5 : 6;
    period = config.integer_or("_sliding_window_pattern", period, 1, layer_count + 1);
    period = config.integer_or("sliding_window_pattern", period, 1, 1 << 20);
    for (std::int64_t i = 0; i < layer_count; ++i) {
      out.windowed[static_cast<std::size_t>(i)] = (i + 1) % period != 0;
    }
  } else if (const std::int64_t period = full_every(config, name); period > 0) {
    for (std::int64_t i = 0; i < layer_count && out.window_tokens > 0; ++i) {
      const bool last = name == "exaone4" && i + 1 == layer_count;
      out.windowed[static_cast<std::size_t>(i)] = (i + 1) % period != 0 && !last;
    }
  } else if (out.window_tokens > 0 && name != "exaone4") {
    const std::int64_t first =
        switched ? config.integer_or("max_window_layers", 28, 0, 1 << 20) : 0;
    for (std::int64_t i = first; i < layer_count; ++i)
      out.windowed[static_cast<std::size_t>(i)] = true;
  }
  for (const bool windowed : out.windowed) {
    if (windowed && out.window_tokens == 0) config.at("sliding_window").integer(1, kMaxTokens);
  }
}

}  // namespace

HfPositions read_hf_positions(const JsonNode& config, const HfFamily& family,
                              std::int64_t layer_count, std::int64_t rotary_width) {
  HfPositions out;
  if (family.position == PositionKind::kRope) read_rope(config, family, rotary_width, out);
  read_windows(config, family, layer_count, out);
  return out;
}

}  // namespace vramplan
