// model_card_from_gguf: what a GGUF header says about a decoder. Dims come from the metadata,
// biases and norms from the tensors that are there; in the end every tensor of the file must be one
// that the card explains, with the shape the card gives it.
#include <algorithm>
#include <cmath>
#include <map>

#include "modelcards/gguf_card_reader.h"

namespace vramplan {

std::int64_t GgufCardReader::ranged(const std::string& key, std::int64_t value, std::int64_t low,
                                    std::int64_t high) const {
  if (value < low || value > high) {
    fail_gguf_card(gguf_, key,
                   "the value " + std::to_string(value) + " is not between " + std::to_string(low) +
                       " and " + std::to_string(high));
  }
  return value;
}

std::int64_t GgufCardReader::integer(const char* key, std::int64_t low, std::int64_t high) const {
  return ranged(prefix_ + key, gguf_.integer(prefix_ + key), low, high);
}

std::int64_t GgufCardReader::integer_or(const char* key, std::int64_t fallback, std::int64_t low,
                                        std::int64_t high) const {
  return gguf_.has(prefix_ + key) ? integer(key, low, high) : fallback;
}

/// A scalar for all layers or an array with one value for each; `fallback` < 0 = required.
std::vector<std::int64_t> GgufCardReader::per_layer(const char* key, std::int64_t fallback) const {
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

void GgufCardReader::read_whole_model() {
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

double GgufCardReader::softmax_scale(std::int64_t heads) const {
  // The two 27B models divide by hidden / heads, not by the head's width; no key says so.
  const bool gemma_27b =
      (is("gemma2") && card_.layer_count() == 46) || (is("gemma3") && card_.layer_count() == 62);
  if (!gemma_27b) return 0.0;
  return 1.0 / std::sqrt(static_cast<double>(card_.hidden) / static_cast<double>(heads));
}

Mixer GgufCardReader::read_mixer(std::int64_t layer, std::int64_t heads,
                                 std::int64_t kv_heads) const {
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

FeedForward GgufCardReader::read_feed_forward(std::int64_t layer, std::int64_t width) const {
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

void GgufCardReader::read_residuals(std::int64_t layer, Layer& out) const {
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

void GgufCardReader::read_layers() {
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

/// Of the matrices, by elements: the format a person would call the file by.
DType GgufCardReader::most_common_dtype() const {
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

namespace {

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

}  // namespace

ModelCard GgufCardReader::read() {
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

ModelCard model_card_from_gguf(const Gguf& gguf) { return GgufCardReader(gguf).read(); }

}  // namespace vramplan
