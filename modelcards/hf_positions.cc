// Rotary embedding and attention windows of a config.json.
#include <cmath>
#include <set>

#include "modelcards/hf_config.h"

namespace vramplan {
namespace {

constexpr std::int64_t kMaxTokens = std::int64_t{1} << 40;

/// Fields of the scaling kinds that a card says; a value elsewhere must be the kind's default.
void refuse_extras(const JsonNode& rope, const std::string& kind) {
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
    if (!usual) {
      field.fail(ErrorCode::kUnsupported, "rotary scaling " + kind + " with the parameter " + name);
    }
  }
}

/// `rope` holds one set of scaling fields (rope_scaling, rope_parameters, or one of its layer
/// kinds).
void read_scaling(const JsonNode& config, const JsonNode& rope, Rope& out) {
  out.theta = rope.real_or("rope_theta", out.theta, 1e-3, 1e15);
  // Older files of Gemma 3 give only a factor; its configuration class reads that as linear.
  const bool only_factor = !rope.has("rope_type") && !rope.has("type") && rope.has("factor");
  std::string kind =
      rope.text_or("rope_type", rope.text_or("type", only_factor ? "linear" : "default"));
  if (kind == "default") return;
  if (kind != "linear" && kind != "llama3" && kind != "yarn") {
    rope.fail(ErrorCode::kUnsupported, "rotary scaling of the kind " + printable(kind),
              "linear, llama3 and yarn can be said in a card");
  }
  refuse_extras(rope, kind);
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
  if (out.high_freq_factor <= out.low_freq_factor) {
    rope.fail(ErrorCode::kBadConfig, "high_freq_factor must be above low_freq_factor");
  }
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
  const double share = rotary_share(config, family);
  rope.rotary_dim = static_cast<std::int64_t>(share * static_cast<double>(head_dim));
  if (name == "gptj") {
    rope.rotary_dim = config.at("rotary_dim").integer(2, head_dim);
    rope.interleaved = true;
  }
  if (rope.rotary_dim < 2 || rope.rotary_dim % 2 != 0) {
    config.fail(ErrorCode::kUnsupported, "rotary embedding of " + std::to_string(rope.rotary_dim) +
                                             " of " + std::to_string(head_dim) + " elements");
  }
  rope.theta = name == "gemma3" ? 1e6 : 1e4;  // defaults of the configuration classes
  if (name == "mixtral") rope.theta = 1e6;
  rope.theta = config.real_or("rotary_emb_base", rope.theta, 1e-3, 1e15);
  rope.theta = config.real_or("rope_theta", rope.theta, 1e-3, 1e15);
  out.full = out.sliding = rope;
  if (name == "gemma3") {
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
  if (name != "gemma3") out.sliding = out.full;
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
    if (type != "full_attention" && type != "sliding_attention") {
      items[i].fail(ErrorCode::kUnsupported, "a layer of the kind " + printable(type));
    }
    out.windowed[i] = type == "sliding_attention";
  }
}

void read_windows(const JsonNode& config, const HfFamily& family, std::int64_t layer_count,
                  HfPositions& out) {
  const std::string name = family.family;
  out.windowed.assign(static_cast<std::size_t>(layer_count), false);
  const bool switched = name == "qwen2" || name == "qwen3" || name == "qwen3_moe";
  if (switched && !config.boolean_or("use_sliding_window", false)) return;
  const bool gemma = name == "gemma2" || name == "gemma3";
  out.window_tokens = config.integer_or("sliding_window", gemma ? 4096 : 0, 1, kMaxTokens);
  if (config.has("layer_types")) {
    read_layer_types(config, layer_count, out);
  } else if (gemma) {
    std::int64_t period = name == "gemma2" ? 2 : 6;
    period = config.integer_or("_sliding_window_pattern", period, 1, layer_count + 1);
    period = config.integer_or("sliding_window_pattern", period, 1, 1 << 20);
    for (std::int64_t i = 0; i < layer_count; ++i) {
      out.windowed[static_cast<std::size_t>(i)] = (i + 1) % period != 0;
    }
  } else if (out.window_tokens > 0) {
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
                              std::int64_t layer_count, std::int64_t head_dim) {
  HfPositions out;
  if (family.position == PositionKind::kRope) read_rope(config, family, head_dim, out);
  read_windows(config, family, layer_count, out);
  return out;
}

}  // namespace vramplan
