#pragma once
// The fields of a ModelCard as tables: reading, writing, hashing, range checks and --set walk the
// same list, so a new field is added in one place. Not for other folders.
#include <cstdint>
#include <initializer_list>
#include <string>
#include <type_traits>
#include <utility>
#include <vector>

#include "modelcards/model_card.h"

namespace vramplan::card_fields {

// The words of each kind, in the order of the enumeration.
inline const std::vector<std::string>& words(MixerKind) {
  static const std::vector<std::string> kWords{
      "full_attention", "sliding_window", "chunked", "mla", "linear", "none"};
  return kWords;
}
inline const std::vector<std::string>& words(FeedForwardKind) {
  static const std::vector<std::string> kWords{"dense", "moe", "none"};
  return kWords;
}
inline const std::vector<std::string>& words(Activation) {
  static const std::vector<std::string> kWords{"silu", "gelu",  "gelu_tanh",
                                               "relu", "relu2", "silu_clipped"};
  return kWords;
}
inline const std::vector<std::string>& words(NormKind) {
  static const std::vector<std::string> kWords{"rms", "layer", "layer_no_bias", "layer_plain"};
  return kWords;
}
inline const std::vector<std::string>& words(PositionKind) {
  static const std::vector<std::string> kWords{"rope", "learned", "none", "alibi"};
  return kWords;
}
inline const std::vector<std::string>& words(QkNormShape) {
  static const std::vector<std::string> kWords{"head", "full", "plain"};
  return kWords;
}
inline const std::vector<std::string>& words(RouterKind) {
  static const std::vector<std::string> kWords{"softmax", "sigmoid"};
  return kWords;
}
inline const std::vector<std::string>& words(LinearKind) {
  static const std::vector<std::string> kWords{"none", "mamba",      "mamba2",   "gated_delta",
                                               "kda",  "short_conv", "lightning"};
  return kWords;
}
inline const std::vector<std::string>& words(Split) {
  static const std::vector<std::string> kWords{"none", "rows", "columns"};
  return kWords;
}
template <class Kind>
const std::string& word_of(Kind kind) {
  return words(kind).at(static_cast<std::size_t>(kind));
}

// Bounds keep every product of the planner far from 64 bits in honest use; what still overflows is
// caught by the checked units.
inline constexpr std::int64_t kMaxWidth = 1 << 20;  // hidden, head_dim, heads
inline constexpr std::int64_t kMaxIntermediate = 1 << 24;
inline constexpr std::int64_t kMaxVocab = 1 << 24;
inline constexpr std::int64_t kMaxTokens = std::int64_t{1} << 40;
inline constexpr std::int64_t kMaxExperts = 1 << 16;
inline constexpr std::int64_t kMaxLayers = 4096;

/// Calls f(name, member pointer, low, high) for numbers and f(name, member pointer) for the rest.
/// A low of 1 means: 0 is "not given", and validate decides whether that is allowed.
template <class F>
void each_rope_field(F&& f) {
  f("theta", &Rope::theta, 1e-3, 1e15);
  f("rotary_dim", &Rope::rotary_dim, std::int64_t{1}, kMaxWidth);
  f("interleaved", &Rope::interleaved);
  f("scaling", &Rope::scaling);
  f("factor", &Rope::factor, 1e-3, 1e9);
  f("low_freq_factor", &Rope::low_freq_factor, 1e-3, 1e9);
  f("high_freq_factor", &Rope::high_freq_factor, 1e-3, 1e9);
  f("original_context", &Rope::original_context, std::int64_t{1}, kMaxTokens);
}

template <class F>
void each_mixer_field(F&& f) {
  f("kind", &Mixer::kind);
  f("heads", &Mixer::heads, std::int64_t{1}, kMaxWidth);
  f("kv_heads", &Mixer::kv_heads, std::int64_t{1}, kMaxWidth);
  f("head_dim", &Mixer::head_dim, std::int64_t{1}, kMaxWidth);
  f("value_dim", &Mixer::value_dim, std::int64_t{1}, kMaxWidth);
  f("window_tokens", &Mixer::window_tokens, std::int64_t{0}, kMaxTokens);
  f("qkv_bias", &Mixer::qkv_bias);
  f("output_bias", &Mixer::output_bias);
  f("qk_norm", &Mixer::qk_norm);
  f("qk_norm_shape", &Mixer::qk_norm_shape);
  f("qk_norm_bias", &Mixer::qk_norm_bias);
  f("sinks", &Mixer::sinks);
  f("output_gate", &Mixer::output_gate);
  f("kv_shared", &Mixer::kv_shared);
  f("no_rope", &Mixer::no_rope);
  f("q_lora_rank", &Mixer::q_lora_rank, std::int64_t{0}, kMaxWidth);
  f("kv_lora_rank", &Mixer::kv_lora_rank, std::int64_t{0}, kMaxWidth);
  f("qk_rope_dim", &Mixer::qk_rope_dim, std::int64_t{0}, kMaxWidth);
  f("index_heads", &Mixer::index_heads, std::int64_t{0}, kMaxWidth);
  f("index_head_dim", &Mixer::index_head_dim, std::int64_t{0}, kMaxWidth);
  f("index_topk", &Mixer::index_topk, std::int64_t{0}, kMaxTokens);
  f("softmax_scale", &Mixer::softmax_scale, 0.0, 1e6);
  f("score_softcap", &Mixer::score_softcap, 0.0, 1e9);
}

template <class F>
void each_linear_field(F&& f) {
  f("kind", &LinearMixer::kind);
  f("heads", &LinearMixer::heads, std::int64_t{0}, kMaxWidth);
  f("key_heads", &LinearMixer::key_heads, std::int64_t{0}, kMaxWidth);
  f("key_dim", &LinearMixer::key_dim, std::int64_t{0}, kMaxWidth);
  f("value_dim", &LinearMixer::value_dim, std::int64_t{0}, kMaxWidth);
  f("conv_kernel", &LinearMixer::conv_kernel, std::int64_t{0}, kMaxWidth);
  f("rank", &LinearMixer::rank, std::int64_t{0}, kMaxWidth);
  f("bias", &LinearMixer::bias);
  f("conv_bias", &LinearMixer::conv_bias);
  f("norm", &LinearMixer::norm);
  f("state_format", &LinearMixer::state_format);
}

template <class F>
void each_extra_field(F&& f) {
  f("name", &ExtraTensor::name);
  f("group", &ExtraTensor::group);
  f("rows", &ExtraTensor::rows, std::int64_t{1}, kMaxTokens);
  f("columns", &ExtraTensor::columns, std::int64_t{1}, kMaxTokens);
  f("split", &ExtraTensor::split);
  f("quantisable", &ExtraTensor::quantisable);
}

template <class F>
void each_feed_forward_field(F&& f) {
  f("kind", &FeedForward::kind);
  f("intermediate", &FeedForward::intermediate, std::int64_t{1}, kMaxIntermediate);
  f("gated", &FeedForward::gated);
  f("bias", &FeedForward::bias);
  f("activation", &FeedForward::activation);
  f("experts", &FeedForward::experts, std::int64_t{0}, kMaxExperts);
  f("experts_per_token", &FeedForward::experts_per_token, std::int64_t{0}, kMaxExperts);
  f("shared_intermediate", &FeedForward::shared_intermediate, std::int64_t{0}, kMaxIntermediate);
  f("router", &FeedForward::router);
  f("router_bias", &FeedForward::router_bias);
  f("shared_gate", &FeedForward::shared_gate);
  f("renormalise", &FeedForward::renormalise);
  f("routed_scale", &FeedForward::routed_scale, 1e-9, 1e9);
  f("router_groups", &FeedForward::router_groups, std::int64_t{0}, kMaxExperts);
  f("router_topk_groups", &FeedForward::router_topk_groups, std::int64_t{0}, kMaxExperts);
}

template <class F>
void each_layer_flag(F&& f) {
  f("pre_norms", &Layer::pre_norms);
  f("post_norms", &Layer::post_norms);
  f("parallel", &Layer::parallel);
  f("parallel_two_norms", &Layer::parallel_two_norms);
}

/// Numbers, flags and kinds of the card itself; texts and layers are not among them.
template <class F>
void each_card_field(F&& f) {
  f("hidden", &ModelCard::hidden, std::int64_t{1}, kMaxWidth);
  f("vocab", &ModelCard::vocab, std::int64_t{1}, kMaxVocab);
  f("context_limit", &ModelCard::context_limit, std::int64_t{1}, kMaxTokens);
  f("position", &ModelCard::position);
  f("learned_positions", &ModelCard::learned_positions, std::int64_t{0}, kMaxTokens);
  f("norm", &ModelCard::norm);
  f("norm_eps", &ModelCard::norm_eps, 1e-30, 1.0);
  f("norm_one_plus", &ModelCard::norm_one_plus);
  f("final_norm", &ModelCard::final_norm);
  f("tied_head", &ModelCard::tied_head);
  f("head_bias", &ModelCard::head_bias);
  f("embedding_scale", &ModelCard::embedding_scale, 1e-9, 1e9);
  f("logit_softcap", &ModelCard::logit_softcap, 0.0, 1e9);
  f("residual_multiplier", &ModelCard::residual_multiplier, 1e-9, 1e9);
  f("logit_multiplier", &ModelCard::logit_multiplier, 1e-9, 1e9);
  f("mtp_layers", &ModelCard::mtp_layers, std::int64_t{0}, kMaxLayers);
  f("mtp_loaded", &ModelCard::mtp_loaded);
  f("stored_weights", &ModelCard::stored_weights);
  f("unpacked_weights", &ModelCard::unpacked_weights);
  f("unpacked", &ModelCard::unpacked);
}

/// Every field of a layer by its full name: f("mixer.rope.theta", accessor, low, high); the
/// accessor maps a (const) Layer& to the field.
template <class F>
void each_layer_field(F&& f) {
  each_layer_flag([&](const char* name, auto member) {
    f(
        std::string(name), [member](auto& layer) -> auto& { return layer.*member; });
  });
  each_mixer_field([&](const char* name, auto member, auto... limits) {
    f(
        std::string("mixer.") + name,
        [member](auto& layer) -> auto& { return layer.mixer.*member; }, limits...);
  });
  each_rope_field([&](const char* name, auto member, auto... limits) {
    f(
        std::string("mixer.rope.") + name,
        [member](auto& layer) -> auto& { return layer.mixer.rope.*member; }, limits...);
  });
  each_linear_field([&](const char* name, auto member, auto... limits) {
    f(
        std::string("mixer.linear.") + name,
        [member](auto& layer) -> auto& { return layer.mixer.linear.*member; }, limits...);
  });
  each_feed_forward_field([&](const char* name, auto member, auto... limits) {
    f(
        std::string("feed_forward.") + name,
        [member](auto& layer) -> auto& { return layer.feed_forward.*member; }, limits...);
  });
}

/// Attention over keys and values (MLA included).
inline bool is_attention(MixerKind kind) {
  return kind == MixerKind::kFullAttention || kind == MixerKind::kSlidingWindow ||
         kind == MixerKind::kChunked || kind == MixerKind::kMla;
}

}  // namespace vramplan::card_fields
