// parse_hf_config: config.json of a decoder -> ModelCard. What families do differently inside a layer
// is in hf_attention, hf_feed_forward, hf_hybrid and hf_extras.
#include <algorithm>
#include <cmath>

#include "modelcards/hf_config.h"
#include "modelcards/nearest_names.h"

namespace vramplan {
namespace {

constexpr std::int64_t kMaxWidth = std::int64_t{1} << 24;
constexpr std::int64_t kMaxTokens = std::int64_t{1} << 40;
constexpr std::size_t kMaxConfigBytes = std::size_t{1} << 20;

class ConfigReader {
 public:
  ConfigReader(const JsonNode& root, const JsonNode& config, const HfFamily& family)
      : f_(root, config, family) {}

  ModelCard read(std::string& notes);

 private:
  void read_whole_model();
  void read_dtype();
  void read_context();
  void read_multipliers();
  Layer read_residuals() const;
  void read_layers();
  void refuse_what_no_card_says() const;

  HfFields f_;
  ModelCard card_;
};

void ConfigReader::read_dtype() {
  // Multimodal files say it outside text_config. Without a word the loader takes float32.
  const bool inside = f_.config.has("dtype") || f_.config.has("torch_dtype");
  const JsonNode& where = inside ? f_.config : f_.root;
  const std::string name = where.text_or("dtype", where.text_or("torch_dtype", "float32"));
  const auto dtype = dtype_from_name(name);
  if (name == "float32" || name == "float16" || name == "bfloat16") {
    card_.stored_weights = *dtype;
    return;
  }
  where.fail(ErrorCode::kUnsupported, "the checkpoint's dtype " + printable(name));
}

void ConfigReader::read_context() {
  std::int64_t usual = 0;
  if (f_.is({"falcon"})) usual = 2048;
  if (f_.is({"gemma3"})) usual = 131'072;
  if (f_.is({"mamba", "mamba2", "falcon_mamba"})) usual = 1'048'576;  // nothing limits it
  if (f_.is({"jamba"})) usual = 262'144;
  const auto names = {"max_position_embeddings", "n_positions", "max_seq_len", "seq_length",
                      "max_sequence_length"};
  if (f_.is({"bloom"})) usual = 2048;
  card_.context_limit =
      usual > 0 ? f_.optional(names, usual, kMaxTokens) : f_.required(names, kMaxTokens);
  card_.position = f_.family.position;
  if (f_.is({"falcon"}) && f_.flag("alibi", false)) card_.position = PositionKind::kAlibi;
  if (f_.is({"granitemoehybrid"}) &&
      f_.config.text_or("position_embedding_type", "nope") == "rope") {
    card_.position = PositionKind::kRope;
  }
  if (card_.position == PositionKind::kLearned) {
    card_.learned_positions = card_.context_limit + (f_.is({"opt"}) ? 2 : 0);
  }
}

void ConfigReader::read_multipliers() {
  if (f_.gemma()) {
    card_.norm_one_plus = !f_.is({"gemma3n"});
    card_.embedding_scale = std::sqrt(static_cast<double>(card_.hidden));
  }
  if (f_.is({"gemma2", "gemma3", "gemma3n"})) {
    const bool said = f_.config.contains("final_logit_softcapping");
    const double usual = !said && !f_.is({"gemma3"}) ? 30.0 : 0.0;
    card_.logit_softcap = f_.config.real_or("final_logit_softcapping", usual, 1e-3, 1e9);
  }
  const bool granite = f_.name.rfind("granite", 0) == 0;
  if (granite || f_.is({"falcon_h1"})) {
    card_.embedding_scale = f_.config.real_or("embedding_multiplier", 1, 1e-6, 1e6);
  }
  if (f_.is({"falcon_h1"})) {
    card_.logit_multiplier = f_.config.real_or("lm_head_multiplier", 1, 1e-9, 1e9);
  }
  if (granite) {
    card_.residual_multiplier = f_.config.real_or("residual_multiplier", 1, 1e-9, 1e9);
    card_.logit_multiplier = 1 / f_.config.real_or("logits_scaling", 1, 1e-9, 1e9);
  }
  if (f_.is({"cohere", "cohere2"})) {
    card_.logit_multiplier = f_.config.real_or("logit_scale", 0.0625, 1e-9, 1e9);
  }
  if (f_.is({"minicpm", "minicpm3"})) {
    const auto layers = static_cast<double>(f_.required({"num_hidden_layers"}, 4096));
    const auto base = static_cast<double>(f_.optional({"dim_model_base"}, card_.hidden, kMaxWidth));
    card_.embedding_scale = f_.config.real_or("scale_emb", 1, 1e-6, 1e6);
    card_.residual_multiplier =
        f_.config.real_or("scale_depth", std::sqrt(layers), 1e-9, 1e9) / std::sqrt(layers);
    card_.logit_multiplier = base / static_cast<double>(card_.hidden);
  }
}

void ConfigReader::read_whole_model() {
  const bool gemma3 = f_.is({"gemma3"});  // its files leave out what equals the class's defaults
  card_.family = f_.name;
  card_.hidden = f_.required({"hidden_size", "n_embd", "d_model"}, kMaxWidth);
  card_.vocab = gemma3 ? f_.optional({"vocab_size"}, 262'208, std::int64_t{1} << 31)
                       : f_.required({"vocab_size"}, std::int64_t{1} << 31);
  read_context();
  card_.norm = f_.family.norm;
  const char* epsilon =
      f_.spelling({"rms_norm_eps", "layer_norm_eps", "layer_norm_epsilon", "norm_epsilon",
                   "norm_eps", "block_norm_eps"});
  card_.norm_eps =
      f_.config.real_or(epsilon, card_.norm == NormKind::kRms ? 1e-6 : 1e-5, 1e-12, 1e-1);
  const JsonNode& tie_source = f_.config.has("tie_word_embeddings") ? f_.config : f_.root;
  card_.tied_head = tie_source.boolean_or("tie_word_embeddings", f_.family.tied_head);
  card_.head_bias = f_.is({"phi", "gptj", "codegen"}) ||
                    (f_.is({"phimoe"}) && f_.flag("lm_head_bias", false));
  card_.mtp_layers = f_.config.integer_or(
      f_.spelling({"num_nextn_predict_layers", "num_mtp_layers", "mtp_num_hidden_layers"}), 0, 0,
      64);
  read_multipliers();
  read_dtype();
}

/// How mixer and feed-forward meet the residual stream.
Layer ConfigReader::read_residuals() const {
  Layer layer;
  layer.post_norms = f_.is({"gemma2", "gemma3", "gemma3n", "glm4", "olmo2", "olmo3", "exaone4"});
  layer.pre_norms = !f_.is({"olmo2", "olmo3", "exaone4"});
  if (f_.is({"phi", "gptj", "codegen", "cohere", "cohere2"})) layer.parallel = true;
  if (f_.is({"stablelm"})) layer.parallel = f_.flag("use_parallel_residual", false);
  if (f_.is({"gptneox"})) {
    layer.parallel = layer.parallel_two_norms = f_.flag("use_parallel_residual", true);
  }
  if (f_.is({"falcon"})) {
    const bool grouped = f_.flag("new_decoder_architecture", false);
    layer.parallel = grouped || f_.flag("parallel_attn", true);
    layer.parallel_two_norms =
        grouped && f_.optional({"num_ln_in_parallel_attn"}, 2, 2) == 2;
  }
  return layer;
}

void ConfigReader::read_layers() {
  const std::int64_t count =
      f_.required({"num_hidden_layers", "n_layer", "n_layers", "num_layers"}, 4096);
  Layer layer = read_residuals();
  const bool attention = !f_.is({"mamba", "mamba2", "falcon_mamba"});
  if (attention) {
    layer.mixer = read_hf_attention(f_, card_.hidden);
    layer.feed_forward = read_hf_feed_forward(f_, card_.hidden);
  }
  card_.layers.assign(static_cast<std::size_t>(count), layer);
  FeedForward experts;
  bool sparse = false;
  for (std::int64_t i = 0; i < count; ++i) sparse = sparse || is_hf_sparse(f_, i, count);
  const bool lettered = f_.is({"nemotron_h"}) && f_.config.has("n_routed_experts") &&
                        f_.config.text_or("hybrid_override_pattern", "E").find('E') !=
                            std::string::npos;
  if (f_.is({"nemotron_h"}) ? lettered : sparse) {
    experts = read_hf_experts(f_, layer.feed_forward);
  }
  for (std::int64_t i = 0; i < count && sparse && !f_.is({"nemotron_h"}); ++i) {
    if (is_hf_sparse(f_, i, count)) card_.layers[static_cast<std::size_t>(i)].feed_forward = experts;
  }
  if (attention) {
    const Mixer& mixer = layer.mixer;
    const bool latent = mixer.kind == MixerKind::kMla;
    const HfPositions positions = read_hf_positions(
        f_.config, f_.family, count, latent ? mixer.qk_rope_dim : mixer.head_dim);
    for (std::size_t i = 0; i < card_.layers.size(); ++i) {
      Mixer& at = card_.layers[i].mixer;
      const bool windowed = positions.windowed[i];
      if (card_.position == PositionKind::kRope) {
        at.rope = windowed ? positions.sliding : positions.full;
      }
      // A window as long as the longest context never hides a token.
      if (windowed && positions.window_tokens < card_.context_limit) {
        at.kind = MixerKind::kSlidingWindow;
        at.window_tokens = positions.window_tokens;
      }
    }
  }
  read_hf_hybrid(f_, experts, card_);
  read_hf_extras(f_, card_);
}

void ConfigReader::refuse_what_no_card_says() const {
  f_.refuse_unless(!f_.flag("scale_attn_by_inverse_layer_idx", false),
                   "scale_attn_by_inverse_layer_idx");
  f_.refuse_unless(f_.flag("scale_attn_weights", true), "scale_attn_weights");
  f_.refuse_unless(!f_.flag("add_cross_attention", false), "add_cross_attention");
  f_.refuse_unless(!f_.flag("use_bidirectional_attention", false), "use_bidirectional_attention");
  f_.refuse_unless(f_.count({"moe_latent_size"}, 0) == 0, "moe_latent_size");
  f_.refuse_unless(!f_.is({"opt"}) || f_.flag("do_layer_norm_before", true),
                   "do_layer_norm_before");
  if (f_.is({"gptj"})) f_.refuse_unless(f_.flag("rotary", true), "rotary");
}

ModelCard ConfigReader::read(std::string& notes) {
  refuse_what_no_card_says();
  read_whole_model();
  read_layers();
  read_hf_towers(f_, card_, notes);
  return card_;
}

/// Last part of _name_or_path, or of the folder that holds the file, in the letters of a card name.
std::string name_from(const JsonNode& root, const std::string& file_name) {
  std::string name = root.text_or("_name_or_path", "");
  if (name.empty()) {
    const auto end = file_name.find_last_of('/');
    name = end == std::string::npos || end == 0 ? "" : file_name.substr(0, end);
  }
  while (!name.empty() && name.back() == '/') name.pop_back();
  name = name.substr(name.find_last_of('/') + 1);
  for (char& c : name) {
    if (c >= 'A' && c <= 'Z') c = static_cast<char>(c - 'A' + 'a');
    const bool plain = (c >= 'a' && c <= 'z') || (c >= '0' && c <= '9') || c == '.';
    if (!plain) c = '-';
  }
  return name.empty() || name.size() > 200 ? "config" : name;
}

[[noreturn]] void unknown_family(const JsonNode& config, const std::string& model_type) {
  const std::string reason = refused_hf_family(model_type);
  if (!reason.empty()) {
    config.fail(ErrorCode::kUnsupported, "the family " + model_type + ", which has " + reason +
                                             ", cannot be said in a card yet");
  }
  std::string missing;
  for (const char* key :
       {"hidden_size", "num_hidden_layers", "num_attention_heads", "num_key_value_heads",
        "intermediate_size", "vocab_size", "max_position_embeddings"}) {
    if (!config.has(key)) missing += (missing.empty() ? "" : ", ") + std::string(key);
  }
  config.fail(ErrorCode::kUnknownFamily,
              "the model_type " + printable(model_type) + " is not known" +
                  (missing.empty() ? "; its dims are all there, its recipe of layers is missing"
                                   : "; missing are " + missing),
              "plan it with --assume-like a family it resembles, such as llama, or write a model "
              "card (modelcards/models/README.md)");
}

const HfFamily& family_of(const JsonNode& config, const std::string& model_type,
                          const std::string& assume_like) {
  if (!assume_like.empty()) {
    const HfFamily* family = find_hf_family(assume_like);
    if (family != nullptr) return *family;
    throw Error(ErrorCode::kUsage, "the family " + printable(assume_like) + " is not known")
        .at("", "--assume-like")
        .help(did_you_mean(assume_like, hf_model_types()));
  }
  const HfFamily* family = find_hf_family(model_type);
  if (family == nullptr) unknown_family(config, model_type);
  return *family;
}

}  // namespace

ModelCard read_hf_config(const std::string& json_text, const std::string& file_name,
                         bool quantised_is_fine, const std::string& assume_like) {
  if (json_text.size() > kMaxConfigBytes) {
    throw Error(ErrorCode::kBadConfig, "a config.json of more than 1 MiB").at(file_name);
  }
  const JsonNode root = JsonNode::parse(json_text, file_name);
  if (!root.is_object()) root.fail(ErrorCode::kBadConfig, "is not a JSON object");
  const bool multimodal = root.has("text_config");
  const JsonNode config = multimodal ? root.at("text_config") : root;
  if (!config.is_object()) config.fail(ErrorCode::kBadConfig, "is not a JSON object");
  const std::string model_type =
      config.has("model_type") ? config.at("model_type").text() : root.at("model_type").text();
  const HfFamily& family = family_of(config, model_type, assume_like);
  std::string notes;
  ModelCard card = ConfigReader(root, config, family).read(notes);
  for (const JsonNode* where : {&config, &root}) {
    if (!where->has("quantization_config") || packed_rule(card.stored_weights) != nullptr) continue;
    try {
      read_hf_quantisation(where->at("quantization_config"), card);
    } catch (const Error& error) {
      if (!quantised_is_fine || error.code() != ErrorCode::kUnsupported) throw;
    }
  }
  const bool towers = std::any_of(card.extras.begin(), card.extras.end(),
                                  [](const ExtraTensor& e) { return e.group == "encoder"; });
  if (multimodal && !towers) notes += "; the text decoder only, encoders are not in the card";
  card.name = name_from(root, file_name);
  card.source = printable(file_name) + ", model_type " + model_type + notes;
  if (!assume_like.empty() && assume_like != model_type) {
    card.evidence = "assumed";
    card.source += "; layers assumed to be those of " + assume_like;
  }
  return card;
}

ModelCard parse_hf_config(const std::string& json_text, const std::string& file_name) {
  return read_hf_config(json_text, file_name, false);
}

}  // namespace vramplan
