// Tensors that only one family has, and the layers of Nemotron-NAS.
#include <algorithm>

#include "modelcards/hf_config.h"

namespace vramplan {
namespace {

constexpr std::int64_t kMost = std::int64_t{1} << 28;

ExtraTensor matrix(const char* name, const char* group, std::int64_t rows, std::int64_t columns) {
  ExtraTensor out;
  out.name = name;
  out.group = group;
  out.rows = rows;
  out.columns = columns;
  return out;
}

ExtraTensor table(const char* name, const char* group, std::int64_t rows, std::int64_t columns) {
  ExtraTensor out = matrix(name, group, rows, columns);
  out.quantisable = false;
  return out;
}

/// Per-layer inputs, alternating updates of several streams, a low-rank branch beside attention,
/// and layers at the end that reuse keys and values.
void read_gemma3n(const HfFields& f, ModelCard& card) {
  const std::int64_t h = card.hidden, layers = card.layer_count();
  const std::int64_t width = f.optional({"hidden_size_per_layer_input"}, 256, kMost);
  const std::int64_t vocab = f.optional({"vocab_size_per_layer_input"}, 262'144, kMost);
  const std::int64_t streams = f.optional({"altup_num_inputs"}, 4, 64);
  const std::int64_t rank = f.optional({"laurel_rank"}, 64, kMost);
  card.extras = {matrix("per_layer_token_embd.weight", "embedding", vocab, layers * width),
                 matrix("per_layer_model_proj.weight", "feed_forward", layers * width, h),
                 table("per_layer_proj_norm.weight", "norms", 1, width),
                 matrix("altup_proj.weight", "feed_forward", (streams - 1) * h, h),
                 matrix("altup_unembd_proj.weight", "feed_forward", (streams - 1) * h, h)};
  const std::int64_t shared = f.count({"num_kv_shared_layers"}, 15);
  for (std::int64_t i = 0; i < layers; ++i) {
    Layer& layer = card.layers[static_cast<std::size_t>(i)];
    layer.mixer.kv_shared = i >= layers - shared;
    layer.extras = {table("altup_correct_scale.weight", "norms", 1, h),
                    table("altup_correct_coef.weight", "feed_forward", streams, streams),
                    table("altup_predict_coef.weight", "feed_forward", streams * streams, streams),
                    table("altup_router.weight", "feed_forward", streams, h),
                    table("altup_router_norm.weight", "norms", 1, h),
                    matrix("laurel_l.weight", "attention", rank, h),
                    matrix("laurel_r.weight", "attention", h, rank),
                    table("laurel_post_norm.weight", "norms", 1, h),
                    matrix("inp_gate.weight", "feed_forward", width, h),
                    matrix("proj.weight", "feed_forward", h, width),
                    table("post_norm.weight", "norms", 1, h)};
  }
}

/// A width for each layer.
void read_width_list(const HfFields& f, ModelCard& card) {
  const char* key = f.spelling({"intermediate_size", "ffn_hidden_size"});
  if (!f.is({"gemma3n"}) || !f.config.has(key) || !f.config.at(key).is_array()) return;
  const std::vector<JsonNode> widths = f.config.at(key).items();
  if (widths.size() != card.layers.size()) {
    f.config.at(key).fail(ErrorCode::kBadConfig, "needs one value a layer");
  }
  for (std::size_t i = 0; i < widths.size(); ++i) {
    FeedForward& ff = card.layers[i].feed_forward;
    if (ff.kind == FeedForwardKind::kDense) ff.intermediate = widths[i].integer(1, kMost);
  }
}

/// Rounded up to 256 as the family's class does: 2/3 of the multiple, of the hidden width.
std::int64_t nas_width(double multiple, std::int64_t hidden) {
  const auto width = static_cast<std::int64_t>(2 * multiple * static_cast<double>(hidden) / 3);
  return ceil_div(width, 256) * 256;
}

/// Nemotron-NAS: each block says its heads a group and its width, or that a half is left out.
void read_blocks(const HfFields& f, ModelCard& card) {
  if (!f.config.has("block_configs")) return;
  const std::vector<JsonNode> blocks = f.config.at("block_configs").items();
  if (blocks.size() != card.layers.size()) {
    f.config.at("block_configs").fail(ErrorCode::kBadConfig, "needs one block a layer");
  }
  for (std::size_t i = 0; i < blocks.size(); ++i) {
    Layer& layer = card.layers[i];
    const JsonNode attention = blocks[i].at("attention"), ffn = blocks[i].at("ffn");
    for (const JsonNode& half : {attention, ffn}) {
      if (half.boolean_or("replace_with_linear", false)) {
        half.fail(ErrorCode::kUnsupported, "a half replaced by one linear layer");
      }
    }
    if (attention.boolean_or("no_op", false)) {
      layer.mixer = Mixer{};
      layer.mixer.kind = MixerKind::kNone;
    } else {
      const std::int64_t group = attention.at("n_heads_in_group").integer(1, layer.mixer.heads);
      layer.mixer.kv_heads = layer.mixer.heads / group;
    }
    if (ffn.boolean_or("no_op", false)) {
      layer.feed_forward = {};
      layer.feed_forward.kind = FeedForwardKind::kNone;
    } else if (ffn.has("ffn_mult")) {
      layer.feed_forward.intermediate = nas_width(ffn.at("ffn_mult").real(1e-3, 1e3), card.hidden);
    }
  }
}

}  // namespace

void read_hf_extras(const HfFields& f, ModelCard& card) {
  read_width_list(f, card);
  read_blocks(f, card);
  const std::int64_t h = card.hidden;
  if (f.is({"gemma3n"})) read_gemma3n(f, card);
  if (f.is({"bloom"})) {
    card.extras = {table("token_embd_norm.weight", "norms", 1, h),
                   table("token_embd_norm.bias", "norms", 1, h)};
  }
  if (f.is({"apertus"})) {  // xIELU has two learned numbers a layer
    for (Layer& layer : card.layers) {
      layer.extras = {table("ffn_xielu_alpha_p", "feed_forward", 1, 1),
                      table("ffn_xielu_alpha_n", "feed_forward", 1, 1)};
    }
  }
  const std::int64_t narrow = f.count({"word_embed_proj_dim"}, h);
  if (f.is({"opt"}) && narrow != h) {
    f.config.at("word_embed_proj_dim")
        .fail(ErrorCode::kUnsupported, "a token table narrower than the stream");
  }
}

}  // namespace vramplan
