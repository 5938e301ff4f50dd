// parse_hf_config: config.json of a dense decoder (or a plain mixture) -> ModelCard.
#include <cmath>
#include <initializer_list>

#include "modelcards/hf_config.h"

namespace vramplan {
namespace {

constexpr std::int64_t kMaxWidth = std::int64_t{1} << 24;
constexpr std::int64_t kMaxTokens = std::int64_t{1} << 40;
constexpr std::size_t kMaxConfigBytes = std::size_t{1} << 20;

class ConfigReader {
 public:
  ConfigReader(const JsonNode& root, const JsonNode& config, const HfFamily& family)
      : root_(root), config_(config), family_(family), name_(family.family) {}

  ModelCard read();

 private:
  /// The first of several spellings that is there.
  const char* spelling(std::initializer_list<const char*> names) const {
    for (const char* name : names) {
      if (config_.has(name)) return name;
    }
    return *names.begin();
  }
  std::int64_t required(std::initializer_list<const char*> names, std::int64_t high) const {
    const JsonNode field = config_.at(spelling(names));
    if (field.is_null()) field.fail(ErrorCode::kBadConfig, "the field is null");
    return field.integer(1, high);
  }
  std::int64_t optional(std::initializer_list<const char*> names, std::int64_t fallback,
                        std::int64_t high) const {
    return config_.integer_or(spelling(names), fallback, 1, high);
  }
  bool flag(const char* name, bool fallback) const { return config_.boolean_or(name, fallback); }
  void refuse_unless(bool fine, const char* field) const {
    if (!fine) {
      config_.at(field).fail(ErrorCode::kUnsupported,
                             "this value in the family " + name_ + " cannot be said in a card");
    }
  }
  bool gemma() const { return name_.rfind("gemma", 0) == 0; }

  void read_whole_model();
  void read_dtype();
  double read_softcap(const char* field, double gemma2_default) const;
  Mixer read_mixer() const;
  void read_biases(Mixer& mixer) const;
  FeedForward read_feed_forward() const;
  FeedForward read_experts() const;
  Activation read_activation() const;
  std::int64_t read_kv_heads(std::int64_t heads) const;
  Layer read_residuals() const;
  bool is_sparse(std::size_t layer) const;
  void read_layers();
  void refuse_multipliers() const;

  const JsonNode& root_;
  const JsonNode& config_;
  const HfFamily& family_;
  std::string name_;
  ModelCard card_;
};

void ConfigReader::read_dtype() {
  // Multimodal files say it outside text_config. Without a word the loader takes float32.
  const JsonNode& where = config_.has("dtype") || config_.has("torch_dtype") ? config_ : root_;
  const std::string name = where.text_or("dtype", where.text_or("torch_dtype", "float32"));
  const auto dtype = dtype_from_name(name);
  if (name == "float32" || name == "float16" || name == "bfloat16") {
    card_.stored_weights = *dtype;
    return;
  }
  where.fail(ErrorCode::kUnsupported, "the checkpoint's dtype " + printable(name));
}

void ConfigReader::read_whole_model() {
  const bool gemma3 = name_ == "gemma3";  // its files leave out what equals the class's defaults
  card_.family = name_;
  card_.hidden = required({"hidden_size", "n_embd"}, kMaxWidth);
  card_.vocab = gemma3 ? optional({"vocab_size"}, 262'208, std::int64_t{1} << 31)
                       : required({"vocab_size"}, std::int64_t{1} << 31);
  const bool falcon = name_ == "falcon";
  const std::int64_t context = falcon ? 2048 : gemma3 ? 131'072 : 0;
  card_.context_limit = context > 0
                            ? optional({"max_position_embeddings"}, context, kMaxTokens)
                            : required({"max_position_embeddings", "n_positions"}, kMaxTokens);
  card_.position = family_.position;
  if (card_.position == PositionKind::kLearned) card_.learned_positions = card_.context_limit;
  card_.norm = family_.norm;
  const char* epsilon = spelling(
      {"rms_norm_eps", "layer_norm_eps", "layer_norm_epsilon", "norm_epsilon", "norm_eps"});
  card_.norm_eps =
      config_.real_or(epsilon, card_.norm == NormKind::kRms ? 1e-6 : 1e-5, 1e-12, 1e-1);
  const JsonNode& tie_source = config_.has("tie_word_embeddings") ? config_ : root_;
  card_.tied_head = tie_source.boolean_or("tie_word_embeddings", family_.tied_head);
  card_.head_bias = name_ == "phi" || name_ == "gptj";
  if (gemma()) {
    card_.norm_one_plus = true;
    card_.embedding_scale = std::sqrt(static_cast<double>(card_.hidden));
  }
  card_.logit_softcap = read_softcap("final_logit_softcapping", 30.0);
  if (name_ == "granite")
    card_.embedding_scale = config_.real_or("embedding_multiplier", 1, 1e-6, 1e6);
  read_dtype();
}

/// 0 = none. Gemma 2 caps unless the file says null, Gemma 3 only when the file gives a number.
double ConfigReader::read_softcap(const char* field, double gemma2_default) const {
  if (name_ != "gemma2" && name_ != "gemma3") return 0.0;
  const double fallback = name_ == "gemma2" && !config_.contains(field) ? gemma2_default : 0.0;
  return config_.real_or(field, fallback, 1e-3, 1e9);
}

std::int64_t ConfigReader::read_kv_heads(std::int64_t heads) const {
  if (name_ == "gpt2" || name_ == "gptj" || name_ == "gptneox") return heads;
  if (name_ == "falcon") {
    const std::int64_t grouped =
        optional({"num_kv_heads", "n_head_kv", "num_key_value_heads"}, heads, heads);
    if (flag("new_decoder_architecture", false)) return grouped;
    return flag("multi_query", true) ? 1 : heads;
  }
  std::int64_t fallback = heads;
  if (name_ == "gemma3" || name_ == "gemma2") fallback = 4;
  if (name_ == "starcoder2") fallback = 2;
  if (name_ == "mistral" || name_ == "mixtral") fallback = 8;
  return optional({"num_key_value_heads"}, fallback, heads);
}

void ConfigReader::read_biases(Mixer& mixer) const {
  if (name_ == "qwen2") {
    mixer.qkv_bias = true;
  } else if (name_ == "phi" || name_ == "gpt2") {
    mixer.qkv_bias = mixer.output_bias = true;
  } else if (name_ == "falcon") {
    mixer.qkv_bias = mixer.output_bias = flag("bias", false);
  } else if (name_ == "starcoder2") {
    mixer.qkv_bias = mixer.output_bias = flag("use_bias", true);
  } else if (name_ == "stablelm") {
    mixer.qkv_bias = flag("use_qkv_bias", false);
  } else if (name_ == "gptneox") {
    mixer.qkv_bias = mixer.output_bias = flag("attention_bias", true);
  } else if (name_ == "llama" || name_ == "granite" || name_ == "qwen3" || name_ == "qwen3_moe" ||
             gemma()) {
    mixer.qkv_bias = mixer.output_bias = flag("attention_bias", false);
  }
}

Mixer ConfigReader::read_mixer() const {
  Mixer mixer;
  mixer.heads = name_ == "gemma3" ? optional({"num_attention_heads"}, 8, 65'536)
                                  : required({"num_attention_heads", "n_head"}, 65'536);
  mixer.kv_heads = read_kv_heads(mixer.heads);
  if (mixer.heads % mixer.kv_heads != 0) {
    config_.fail(ErrorCode::kBadConfig, std::to_string(mixer.heads) + " heads do not divide into " +
                                            std::to_string(mixer.kv_heads) + " groups");
  }
  const std::int64_t fixed = gemma() ? 256 : name_ == "qwen3" || name_ == "qwen3_moe" ? 128 : 0;
  if (fixed == 0 && !config_.has("head_dim") && card_.hidden % mixer.heads != 0) {
    config_.at(spelling({"num_attention_heads", "n_head"}))
        .fail(ErrorCode::kBadConfig, "does not divide hidden_size");
  }
  mixer.head_dim = optional({"head_dim"}, fixed > 0 ? fixed : card_.hidden / mixer.heads, 65'536);
  mixer.value_dim = mixer.head_dim;
  read_biases(mixer);
  mixer.qk_norm = name_ == "qwen3" || name_ == "qwen3_moe" || name_ == "gemma3";
  if (name_ == "gemma2" || name_ == "gemma3") {
    const double divisor = config_.real_or("query_pre_attn_scalar", 256, 1e-6, 1e9);
    const bool usual = divisor == static_cast<double>(mixer.head_dim);   // said as 0 in a card
    mixer.softmax_scale = usual ? 0.0 : 1.0 / std::sqrt(divisor);
  }
  mixer.score_softcap = read_softcap("attn_logit_softcapping", 50.0);
  if (name_ == "granite")
    mixer.softmax_scale = config_.real_or("attention_multiplier", 1, 1e-9, 1e6);
  return mixer;
}

Activation ConfigReader::read_activation() const {
  const char* key =
      spelling({"hidden_activation", "hidden_act", "activation_function", "activation"});
  if (!config_.has(key)) return family_.activation;
  const std::string& name = config_.at(key).text();
  // The first Gemma files say gelu and mean its tanh form; their class overrides the field.
  if (gemma() && name == "gelu") return Activation::kGeluTanh;
  if (name == "silu" || name == "swish") return Activation::kSilu;
  if (name == "gelu") return Activation::kGelu;
  if (name == "gelu_new" || name == "gelu_pytorch_tanh" || name == "gelu_fast") {
    return Activation::kGeluTanh;
  }
  if (name == "relu") return Activation::kRelu;
  config_.at(key).fail(ErrorCode::kUnsupported, "the activation " + printable(name),
                       "silu, gelu, gelu_new, gelu_pytorch_tanh and relu can be said in a card");
}

FeedForward ConfigReader::read_feed_forward() const {
  FeedForward out;
  out.gated = family_.gated;
  out.activation = read_activation();
  const auto names = {"intermediate_size", "n_inner", "ffn_hidden_size"};
  const bool four_times = name_ == "gpt2" || name_ == "gptj" || name_ == "falcon";
  out.intermediate = four_times ? optional(names, 4 * card_.hidden, std::int64_t{1} << 28)
                                : required(names, std::int64_t{1} << 28);
  out.bias = name_ == "phi" || name_ == "gpt2" || name_ == "gptj" || name_ == "gptneox" ||
             (name_ == "falcon" && flag("bias", false)) ||
             (name_ == "starcoder2" && flag("use_bias", true)) ||
             ((name_ == "llama" || name_ == "granite") && flag("mlp_bias", false));
  return out;
}

FeedForward ConfigReader::read_experts() const {
  FeedForward out = read_feed_forward();
  out.kind = FeedForwardKind::kMoe;
  out.experts = required({"num_experts", "num_local_experts"}, 65'536);
  out.experts_per_token = required({"num_experts_per_tok"}, out.experts);
  if (name_ == "qwen3_moe") {
    out.intermediate = required({"moe_intermediate_size"}, std::int64_t{1} << 28);
    if (!flag("norm_topk_prob", false)) {
      config_.fail(ErrorCode::kUnsupported,
                   "routing weights that do not sum to 1 (norm_topk_prob is not true)");
    }
  }
  return out;
}

bool ConfigReader::is_sparse(std::size_t layer) const {
  if (!family_.mixture) return false;
  if (config_.has("mlp_only_layers")) {
    for (const JsonNode& dense : config_.at("mlp_only_layers").items()) {
      if (dense.integer(0, 1 << 20) == static_cast<std::int64_t>(layer)) return false;
    }
  }
  const std::int64_t step = config_.integer_or("decoder_sparse_step", 1, 1, 1 << 20);
  return (static_cast<std::int64_t>(layer) + 1) % step == 0;
}

/// How mixer and feed-forward meet the residual stream.
Layer ConfigReader::read_residuals() const {
  Layer layer;
  layer.post_norms = name_ == "gemma2" || name_ == "gemma3";
  if (name_ == "phi" || name_ == "gptj") layer.parallel = true;
  if (name_ == "stablelm") layer.parallel = flag("use_parallel_residual", false);
  if (name_ == "gptneox") {
    layer.parallel = layer.parallel_two_norms = flag("use_parallel_residual", true);
  }
  if (name_ == "falcon") {
    const bool grouped = flag("new_decoder_architecture", false);
    layer.parallel = grouped || flag("parallel_attn", true);
    layer.parallel_two_norms = grouped && optional({"num_ln_in_parallel_attn"}, 2, 2) == 2;
  }
  return layer;
}

void ConfigReader::read_layers() {
  const std::int64_t count = required({"num_hidden_layers", "n_layer"}, 4096);
  Layer layer = read_residuals();
  layer.mixer = read_mixer();
  layer.feed_forward = read_feed_forward();
  const FeedForward experts = family_.mixture ? read_experts() : FeedForward{};
  const HfPositions positions = read_hf_positions(config_, family_, count, layer.mixer.head_dim);
  card_.layers.assign(static_cast<std::size_t>(count), layer);
  for (std::size_t i = 0; i < card_.layers.size(); ++i) {
    Mixer& mixer = card_.layers[i].mixer;
    const bool windowed = positions.windowed[i];
    if (card_.position == PositionKind::kRope)
      mixer.rope = windowed ? positions.sliding : positions.full;
    // A window as long as the longest context never hides a token.
    if (windowed && positions.window_tokens < card_.context_limit) {
      mixer.kind = MixerKind::kSlidingWindow;
      mixer.window_tokens = positions.window_tokens;
    }
    if (is_sparse(i)) card_.layers[i].feed_forward = experts;
  }
}

void ConfigReader::refuse_multipliers() const {
  refuse_unless(!flag("alibi", false), "alibi");
  refuse_unless(!flag("qk_layernorm", false), "qk_layernorm");
  refuse_unless(!flag("scale_attn_by_inverse_layer_idx", false), "scale_attn_by_inverse_layer_idx");
  refuse_unless(flag("scale_attn_weights", true), "scale_attn_weights");
  refuse_unless(!flag("add_cross_attention", false), "add_cross_attention");
  refuse_unless(!flag("use_bidirectional_attention", false), "use_bidirectional_attention");
  refuse_unless(!config_.has("block_configs"), "block_configs");
  refuse_unless(config_.real_or("residual_multiplier", 1, -1e9, 1e9) == 1, "residual_multiplier");
  refuse_unless(config_.real_or("logits_scaling", 1, -1e9, 1e9) == 1, "logits_scaling");
  if (name_ == "gptj") refuse_unless(flag("rotary", true), "rotary");
}

ModelCard ConfigReader::read() {
  refuse_multipliers();
  read_whole_model();
  read_layers();
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
              "write a model card (modelcards/models/README.md) and plan with that");
}

}  // namespace

ModelCard read_hf_config(const std::string& json_text, const std::string& file_name,
                         bool quantised_is_fine) {
  if (json_text.size() > kMaxConfigBytes) {
    throw Error(ErrorCode::kBadConfig, "a config.json of more than 1 MiB").at(file_name);
  }
  const JsonNode root = JsonNode::parse(json_text, file_name);
  if (!root.is_object()) root.fail(ErrorCode::kBadConfig, "is not a JSON object");
  const bool multimodal = root.has("text_config");
  const JsonNode config = multimodal ? root.at("text_config") : root;
  if (!config.is_object()) config.fail(ErrorCode::kBadConfig, "is not a JSON object");
  for (const JsonNode* where : {&root, &config}) {
    if (!quantised_is_fine && where->has("quantization_config")) {
      const JsonNode quantised = where->at("quantization_config");
      quantised.fail(ErrorCode::kUnsupported,
                     "a checkpoint quantised by " +
                         printable(quantised.text_or("quant_method", "an unnamed method")) +
                         ": config.json does not say its bytes",
                     "give the folder with its .safetensors files, or plan the unquantised model "
                     "with a weight format");
    }
  }
  const std::string model_type =
      config.has("model_type") ? config.at("model_type").text() : root.at("model_type").text();
  const HfFamily* family = find_hf_family(model_type);
  if (family == nullptr) unknown_family(config, model_type);
  ModelCard card = ConfigReader(root, config, *family).read();
  card.name = name_from(root, file_name);
  card.source = printable(file_name) + ", model_type " + model_type +
                (multimodal ? "; the text decoder only, encoders are not in the card" : "");
  return card;
}

ModelCard parse_hf_config(const std::string& json_text, const std::string& file_name) {
  return read_hf_config(json_text, file_name, false);
}

}  // namespace vramplan
