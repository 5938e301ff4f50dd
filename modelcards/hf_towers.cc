// Vision and audio towers beside a decoder: parameters from their own configs, for the towers whose
// layers are known; the others are named as not counted.
#include "modelcards/hf_config.h"

namespace vramplan {
namespace {

constexpr std::int64_t kMost = std::int64_t{1} << 24;

std::int64_t number(const JsonNode& node, std::initializer_list<const char*> names,
                    std::int64_t usual) {
  for (const char* name : names) {
    if (node.has(name)) return node.integer_or(name, usual, 1, kMost);
  }
  return usual;
}

/// Attention and feed-forward with biases, two LayerNorms with biases.
std::int64_t biased_layer(std::int64_t h, std::int64_t f) {
  return 4 * (h * h + h) + (h * f + f) + (f * h + h) + 2 * 2 * h;
}

/// SigLIP with Gemma 3's projector.
std::int64_t siglip(const JsonNode& vision, std::int64_t text_hidden) {
  const std::int64_t h = number(vision, {"hidden_size"}, 1152);
  const std::int64_t f = number(vision, {"intermediate_size"}, 4304);
  const std::int64_t patch = number(vision, {"patch_size"}, 14);
  const std::int64_t side = number(vision, {"image_size"}, 896) / patch;
  const std::int64_t layers = number(vision, {"num_hidden_layers"}, 27);
  const std::int64_t embeddings = h * 3 * patch * patch + h + side * side * h;
  return embeddings + layers * biased_layer(h, f) + 2 * h + h * text_hidden + h;
}

/// Pixtral's tower with Mistral 3's projector (patches merged 2 x 2).
std::int64_t pixtral(const JsonNode& root, const JsonNode& vision, std::int64_t text_hidden) {
  const std::int64_t h = number(vision, {"hidden_size"}, 1024);
  const std::int64_t f = number(vision, {"intermediate_size"}, 4096);
  const std::int64_t patch = number(vision, {"patch_size"}, 16);
  const std::int64_t layers = number(vision, {"num_hidden_layers"}, 24);
  const std::int64_t tower = h * 3 * patch * patch + h + layers * (4 * h * h + 3 * h * f + 2 * h);
  const std::int64_t merge = number(root, {"spatial_merge_size"}, 2);
  const std::int64_t projector =
      h + h * h * merge * merge + h * text_hidden + text_hidden * text_hidden;
  return tower + projector;
}

std::int64_t llama4(const JsonNode& vision, std::int64_t text_hidden) {
  const std::int64_t h = number(vision, {"hidden_size"}, 1408);
  const std::int64_t f = number(vision, {"intermediate_size"}, 5632);
  const std::int64_t patch = number(vision, {"patch_size"}, 14);
  const std::int64_t side = number(vision, {"image_size"}, 336) / patch;
  const std::int64_t layers = number(vision, {"num_hidden_layers"}, 34);
  const std::int64_t in = number(vision, {"projector_input_dim"}, 4096);
  const std::int64_t out = number(vision, {"projector_output_dim"}, 4096);
  const std::int64_t embeddings = h * 3 * patch * patch + h + (side * side + 1) * h;
  const std::int64_t adapter = f * in + out * out;
  const std::int64_t width = number(vision, {"vision_output_dim"}, 4096);
  return embeddings + layers * biased_layer(h, f) + 4 * h + adapter + width * text_hidden;
}

/// The square matrix and the one to the decoder behind patches merged `merge` x `merge`.
std::int64_t merger(std::int64_t h, std::int64_t merge, std::int64_t out) {
  const std::int64_t wide = h * merge * merge;
  return (wide * wide + wide) + (wide * out + out);
}

/// Qwen2-VL, 2.5 and 3: patches of several frames, q, k, v in one, RMSNorms and a gate in 2.5, a
/// position table and mergers of deeper layers in 3.
std::int64_t qwen_vision(const JsonNode& vision, const std::string& family, std::int64_t text) {
  const bool second = family == "qwen2_vl", gated = family == "qwen2_5_vl";
  const bool third = !second && !gated;
  const std::int64_t h = second ? number(vision, {"embed_dim"}, 1280)
                                : number(vision, {"hidden_size"}, gated ? 1280 : 1152);
  const std::int64_t f = second ? h * number(vision, {"mlp_ratio"}, 4)
                                : number(vision, {"intermediate_size"}, gated ? 3420 : 4304);
  const std::int64_t out =
      second ? number(vision, {"hidden_size"}, text) : number(vision, {"out_hidden_size"}, text);
  const std::int64_t patch = number(vision, {"patch_size"}, third ? 16 : 14);
  const std::int64_t frames = number(vision, {"temporal_patch_size"}, 2);
  const std::int64_t merge = number(vision, {"spatial_merge_size"}, 2);
  const std::int64_t layers = number(vision, {"depth"}, third ? 27 : 32);
  const std::int64_t norm = gated ? h : 2 * h;
  const std::int64_t layer =
      2 * norm + (3 * h * h + 3 * h) + (h * h + h) + (gated ? 2 : 1) * (h * f + f) + (f * h + h);
  std::int64_t sum = 3 * frames * patch * patch * h + layers * layer + norm + merger(h, merge, out);
  if (!third) return sum;
  sum += h + number(vision, {"num_position_embeddings"}, 2304) * h;
  const auto deep = vision.has("deepstack_visual_indexes")
                        ? static_cast<std::int64_t>(vision.at("deepstack_visual_indexes").size())
                        : 3;
  return sum + deep * (2 * h * merge * merge + merger(h, merge, out));
}

/// CLIP with LLaVA's projector of two matrices.
std::int64_t clip(const JsonNode& vision, std::int64_t text) {
  const std::int64_t h = number(vision, {"hidden_size"}, 1024);
  const std::int64_t f = number(vision, {"intermediate_size"}, 4096);
  const std::int64_t patch = number(vision, {"patch_size"}, 14);
  const std::int64_t side = number(vision, {"image_size"}, 336) / patch;
  const std::int64_t layers = number(vision, {"num_hidden_layers"}, 24);
  const std::int64_t embeddings = h + h * 3 * patch * patch + (side * side + 1) * h;
  const std::int64_t projector = h * text + text + text * text + text;
  return embeddings + layers * biased_layer(h, f) + 4 * h + projector;
}

/// Whisper's encoder with one matrix to the decoder; k has no bias.
std::int64_t whisper(const JsonNode& audio, std::int64_t text) {
  const std::int64_t d = number(audio, {"d_model"}, 1280);
  const std::int64_t f = number(audio, {"encoder_ffn_dim"}, 5120);
  const std::int64_t mels = number(audio, {"num_mel_bins"}, 128);
  const std::int64_t layers = number(audio, {"encoder_layers"}, 32);
  const std::int64_t convolutions = (mels * d * 3 + d) + (d * d * 3 + d);
  const std::int64_t positions = number(audio, {"max_source_positions"}, 1500) * d;
  return convolutions + positions + layers * (biased_layer(d, f) - d) + 2 * d + d * text + text;
}

void add(ModelCard& card, const char* name, std::int64_t parameters) {
  ExtraTensor tower;
  tower.name = name;
  tower.group = "encoder";
  tower.columns = parameters;
  tower.quantisable = false;
  card.extras.push_back(tower);
}

}  // namespace

void read_hf_towers(const HfFields& f, ModelCard& card, std::string& notes) {
  for (const char* tower : {"vision_config", "audio_config"}) {
    if (!f.root.has(tower)) continue;
    const JsonNode node = f.root.at(tower);
    if (!node.is_object()) continue;
    // Configs of the first Qwen-VL checkpoints name the tower by the whole model.
    const std::string whole = f.root.text_or("model_type", "");
    std::string kind = node.text_or("model_type", whole);
    if (kind.ends_with("_vl_vision")) kind.erase(kind.size() - std::string("_vision").size());
    std::int64_t parameters = 0;
    if (kind == "siglip_vision_model" && f.is({"gemma3"})) parameters = siglip(node, card.hidden);
    if (kind == "pixtral" && f.root.has("spatial_merge_size")) {
      parameters = pixtral(f.root, node, card.hidden);
    }
    if (kind == "llama4_vision_model") parameters = llama4(node, card.hidden);
    if (kind == "qwen2_vl" || kind == "qwen2_5_vl" || kind == "qwen3_vl") {
      parameters = qwen_vision(node, kind, card.hidden);
    }
    if (kind == "qwen3_vl_moe") parameters = qwen_vision(node, "qwen3_vl", card.hidden);
    if (kind == "clip_vision_model" && whole == "llava") parameters = clip(node, card.hidden);
    if (kind == "qwen2_audio_encoder") parameters = whisper(node, card.hidden);
    if (parameters > 0) {
      add(card, tower[0] == 'v' ? "vision_tower" : "audio_tower", parameters);
    } else {
      notes += std::string("; the ") + (tower[0] == 'v' ? "vision" : "audio") + " tower" +
               (kind.empty() ? "" : " " + printable(kind)) + " is not counted";
    }
  }
}

}  // namespace vramplan
