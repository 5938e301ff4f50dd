#include "modelcards/model_card.h"

#include <cmath>
#include <cstring>

#include "modelcards/model_card_fields.h"

namespace vramplan {
namespace {

using namespace card_fields;

[[noreturn]] void contradiction(const ModelCard& card, const std::string& field,
                                const std::string& message, const std::string& fix) {
  throw Error(ErrorCode::kBadCard, message).at(card.name, field).help(fix);
}

void check_range(const ModelCard& card, const std::string& field, std::int64_t value,
                 std::int64_t low, std::int64_t high) {
  if (value == 0 && low == 1) return;  // "not given": the rules below decide
  if (value < low || value > high) {
    contradiction(card, field, field + " is " + std::to_string(value) + ", outside its range",
                  "allowed: " + std::to_string(low) + " to " + std::to_string(high));
  }
}

void check_range(const ModelCard& card, const std::string& field, double value, double low,
                 double high) {
  if (!std::isfinite(value) || value < low || value > high) {
    contradiction(card, field, field + " is outside its range", "see modelcards/models/README.md");
  }
}

void need(const ModelCard& card, const std::string& field, std::int64_t value) {
  if (value <= 0) contradiction(card, field, field + " is missing", "give it a value above 0");
}

void check_rope(const ModelCard& card, const std::string& where, const Mixer& mixer) {
  const Rope& rope = mixer.rope;
  if (card.position != PositionKind::kRope || mixer.no_rope) {
    if (rope.rotary_dim != 0) {
      contradiction(card, where + "rope.rotary_dim",
                    mixer.no_rope ? "the layer has no_rope" : "the card's position is not rope",
                    "remove the rope, or set position: rope");
    }
    return;
  }
  if (rope.rotary_dim <= 0 || rope.rotary_dim > mixer.head_dim || rope.rotary_dim % 2 != 0) {
    contradiction(card, where + "rope.rotary_dim",
                  "rotary_dim " + std::to_string(rope.rotary_dim) + " does not suit head_dim " +
                      std::to_string(mixer.head_dim),
                  "it is even, above 0 and at most head_dim");
  }
  if (rope.scaling != "none" && rope.scaling != "linear" && rope.scaling != "llama3" &&
      rope.scaling != "yarn" && rope.scaling != "other") {
    contradiction(card, where + "rope.scaling", "'" + rope.scaling + "' is no known scaling",
                  "known: none, linear, llama3, yarn, other");
  }
  if (rope.scaling == "llama3" || rope.scaling == "yarn") {
    need(card, where + "rope.original_context", rope.original_context);
  }
  if (rope.scaling == "llama3" && rope.low_freq_factor >= rope.high_freq_factor) {
    contradiction(card, where + "rope.high_freq_factor", "low_freq_factor is not below it",
                  "llama3 scaling blends between the two");
  }
}

void check_linear(const ModelCard& card, const std::string& where, const Mixer& mixer) {
  const LinearMixer& linear = mixer.linear;
  if (linear.kind == LinearKind::kNone) {
    if (mixer.kind == MixerKind::kLinear) need(card, where + "linear.heads", 0);
    return;
  }
  if (mixer.kind == MixerKind::kNone) {
    contradiction(card, where + "kind", "a layer without a mixer has a linear one",
                  "set the mixer's kind to linear");
  }
  need(card, where + "linear.heads", linear.heads);
  need(card, where + "linear.value_dim", linear.value_dim);
  if (linear.kind == LinearKind::kShortConv) {
    need(card, where + "linear.conv_kernel", linear.conv_kernel);
    return;
  }
  need(card, where + "linear.key_heads", linear.key_heads);
  need(card, where + "linear.key_dim", linear.key_dim);
  if (linear.kind == LinearKind::kMamba) need(card, where + "linear.rank", linear.rank);
  if (linear.kind != LinearKind::kLightning) {
    need(card, where + "linear.conv_kernel", linear.conv_kernel);
  }
  if (linear.heads % linear.key_heads != 0) {
    contradiction(card, where + "linear.key_heads", "it does not divide linear.heads",
                  "heads share keys evenly");
  }
}

void check_latent(const ModelCard& card, const std::string& where, const Mixer& mixer) {
  if (mixer.kind != MixerKind::kMla) {
    if (mixer.kv_lora_rank == 0 && mixer.q_lora_rank == 0 && mixer.qk_rope_dim == 0) return;
    contradiction(card, where + "kv_lora_rank", "only mla mixers have latent ranks",
                  "set the mixer's kind to mla");
  }
  need(card, where + "kv_lora_rank", mixer.kv_lora_rank);
  if (mixer.qk_rope_dim >= mixer.head_dim) {
    contradiction(card, where + "qk_rope_dim", "it is not below head_dim",
                  "head_dim counts both parts of a query: without positions and with");
  }
}

void check_mixer(const ModelCard& card, const std::string& where, const Mixer& mixer) {
  check_linear(card, where, mixer);
  if (!is_attention(mixer.kind)) return;
  need(card, where + "heads", mixer.heads);
  need(card, where + "kv_heads", mixer.kv_heads);
  need(card, where + "head_dim", mixer.head_dim);
  need(card, where + "value_dim", mixer.value_dim);
  if (mixer.heads % mixer.kv_heads != 0) {
    contradiction(card, where + "kv_heads",
                  std::to_string(mixer.heads) + " heads cannot share " +
                      std::to_string(mixer.kv_heads) + " kv heads evenly",
                  "kv_heads must divide heads");
  }
  check_latent(card, where, mixer);
  const bool windowed =
      mixer.kind == MixerKind::kSlidingWindow || mixer.kind == MixerKind::kChunked;
  if (windowed && mixer.window_tokens <= 0) {
    contradiction(card, where + "window_tokens", "a " + word_of(mixer.kind) + " has no length",
                  "give window_tokens");
  }
  if (!windowed && mixer.window_tokens != 0) {
    contradiction(card, where + "window_tokens", "full attention has no window",
                  "set the mixer's kind to sliding_window, or window_tokens to 0");
  }
  check_rope(card, where, mixer);
}

void check_feed_forward(const ModelCard& card, const std::string& where, const FeedForward& ff) {
  if (ff.kind == FeedForwardKind::kNone) return;
  need(card, where + "intermediate", ff.intermediate);
  if (ff.kind == FeedForwardKind::kMoe) {
    need(card, where + "experts", ff.experts);
    need(card, where + "experts_per_token", ff.experts_per_token);
    if (ff.experts_per_token > ff.experts) {
      contradiction(card, where + "experts_per_token", "more experts per token than experts",
                    "it is at most experts");
    }
  } else if (ff.experts != 0 || ff.experts_per_token != 0 || ff.shared_intermediate != 0) {
    contradiction(card, where + "experts", "a dense feed-forward has no experts",
                  "set the feed_forward's kind to moe, or remove the experts");
  }
}

void check_extras(const ModelCard& card, const std::string& where,
                  const std::vector<ExtraTensor>& extras) {
  for (std::size_t i = 0; i < extras.size(); ++i) {
    const std::string field = where + "extras[" + std::to_string(i) + "].";
    const ExtraTensor& extra = extras[i];
    each_extra_field([&](const char* name, auto member, auto... limits) {
      if constexpr (sizeof...(limits) > 0) check_range(card, field + name, extra.*member, limits...);
    });
    need(card, field + "columns", extra.columns);
    if (extra.name.empty()) {
      contradiction(card, field + "name", "the tensor has no name", "give it one");
    }
    bool known = false;
    for (const char* group : {"embedding", "positions", "attention", "feed_forward", "norms",
                              "head", "encoder"}) {
      known = known || extra.group == group;
    }
    if (known) continue;
    contradiction(card, field + "group", "'" + extra.group + "' is no group of weights",
                  "known: embedding, positions, attention, feed_forward, norms, head, encoder");
  }
}

void check_layer(const ModelCard& card, const std::string& where, const Layer& layer) {
  each_layer_field([&](const std::string& name, auto field, auto... limits) {
    if constexpr (sizeof...(limits) > 0) check_range(card, where + name, field(layer), limits...);
  });
  if (layer.parallel_two_norms && !layer.parallel) {
    contradiction(card, where + "parallel_two_norms", "the layer is not parallel",
                  "set parallel: true as well");
  }
  if (layer.parallel && (layer.post_norms || !layer.pre_norms)) {
    contradiction(card, where + "parallel", "a parallel layer has its norms before it",
                  "pre_norms is true and post_norms false");
  }
  check_extras(card, where, layer.extras);
  check_mixer(card, where + "mixer.", layer.mixer);
  check_feed_forward(card, where + "feed_forward.", layer.feed_forward);
}

/// FNV-1a, 64 bits: http://www.isthe.com/chongo/tech/comp/fnv
class Fnv {
 public:
  void add(const std::string& text) {
    for (const char c : text) add_byte(static_cast<unsigned char>(c));
    add_byte(0);
  }
  void add(std::int64_t value) {
    auto bits = static_cast<std::uint64_t>(value);
    for (int i = 0; i < 8; ++i, bits >>= 8U) add_byte(static_cast<unsigned char>(bits & 0xFFU));
  }
  void add(double value) {
    std::int64_t bits = 0;
    std::memcpy(&bits, &value, sizeof bits);
    add(bits);
  }
  // By word, so that a new kind or format in the middle of an enumeration changes no hash.
  void add(DType dtype) { add(std::string(info(dtype).name)); }
  template <class Kind>
  requires std::is_enum_v<Kind>
  void add(Kind kind) { add(word_of(kind)); }
  void add(bool value) { add(static_cast<std::int64_t>(value)); }
  void add(const std::vector<ExtraTensor>& extras) {
    for (const ExtraTensor& extra : extras) {
      add(std::string("extra"));
      each_extra_field([&](const char*, auto member, auto...) { add(extra.*member); });
    }
  }
  std::uint64_t value() const { return hash_; }

 private:
  void add_byte(unsigned char byte) { hash_ = (hash_ ^ byte) * 0x100000001b3ULL; }
  std::uint64_t hash_ = 0xcbf29ce484222325ULL;
};

}  // namespace

void validate(const ModelCard& card) {
  each_card_field([&](const char* name, auto member, auto... limits) {
    if constexpr (sizeof...(limits) > 0) check_range(card, name, card.*member, limits...);
  });
  need(card, "hidden", card.hidden);
  need(card, "vocab", card.vocab);
  need(card, "context_limit", card.context_limit);
  if (card.evidence != "read" && card.evidence != "derived" && card.evidence != "assumed") {
    contradiction(card, "evidence", "'" + card.evidence + "' is no kind of evidence",
                  "known: read, derived, assumed");
  }
  if (card.position == PositionKind::kLearned && card.learned_positions < card.context_limit) {
    contradiction(card, "learned_positions",
                  "the position table has " + std::to_string(card.learned_positions) +
                      " rows, the context limit is " + std::to_string(card.context_limit),
                  "raise learned_positions first, or lower context_limit");
  }
  if (card.position != PositionKind::kLearned && card.learned_positions != 0) {
    contradiction(card, "learned_positions", "the card's position is not learned",
                  "set position: learned, or learned_positions: 0");
  }
  if (card.layers.empty() || card.layer_count() > kMaxLayers) {
    contradiction(card, "layers", "a model has 1 to " + std::to_string(kMaxLayers) + " layers",
                  "this card has " + std::to_string(card.layer_count()));
  }
  check_extras(card, "", card.extras);
  for (std::size_t i = 0; i < card.layers.size(); ++i) {
    check_layer(card, "layers[" + std::to_string(i) + "].", card.layers[i]);
  }
}

std::uint64_t card_hash(const ModelCard& card) {
  Fnv fnv;
  const ModelCard usual;
  each_card_field([&](const char* name, auto member, auto...) {
    if (card.*member == usual.*member) return;
    fnv.add(std::string(name));
    fnv.add(card.*member);
  });
  fnv.add(card.extras);
  const Layer usual_layer;
  fnv.add(card.layer_count());
  for (const Layer& layer : card.layers) {
    fnv.add(std::string("layer"));
    each_layer_field([&](const std::string& name, auto field, auto...) {
      if (field(layer) == field(usual_layer)) return;
      fnv.add(name);
      fnv.add(field(layer));
    });
    fnv.add(layer.extras);
  }
  return fnv.value();
}

}  // namespace vramplan
