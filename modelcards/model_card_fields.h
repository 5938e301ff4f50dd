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
  static const std::vector<std::string> kWords{"silu", "gelu", "gelu_tanh", "relu"};
  return kWords;
}
inline const std::vector<std::string>& words(NormKind) {
  static const std::vector<std::string> kWords{"rms", "layer"};
  return kWords;
}
inline const std::vector<std::string>& words(PositionKind) {
  static const std::vector<std::string> kWords{"rope", "learned", "none"};
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
  f("softmax_scale", &Mixer::softmax_scale, 0.0, 1e6);
  f("score_softcap", &Mixer::score_softcap, 0.0, 1e9);
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
  f("stored_weights", &ModelCard::stored_weights);
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
  each_feed_forward_field([&](const char* name, auto member, auto... limits) {
    f(
        std::string("feed_forward.") + name,
        [member](auto& layer) -> auto& { return layer.feed_forward.*member; }, limits...);
  });
}

inline bool is_attention(MixerKind kind) {
  return kind == MixerKind::kFullAttention || kind == MixerKind::kSlidingWindow ||
         kind == MixerKind::kChunked;
}

}  // namespace vramplan::card_fields
