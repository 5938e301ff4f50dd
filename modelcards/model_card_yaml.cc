// Card file <-> ModelCard. The format is described in modelcards/models/README.md.
#include <cstdio>
#include <cstdlib>
#include <optional>

#include "modelcards/model_card.h"
#include "modelcards/model_card_fields.h"
#include "modelcards/model_card_values.h"
#include "modelcards/yaml.h"

namespace vramplan {
namespace {

using namespace card_fields;

/// Reads the keys of a map into an object; keys that are absent leave it as it was.
template <class Object, class EachField>
void read_fields(const YamlNode& map, Object& object, EachField each_field) {
  each_field([&](const char* name, auto member, auto... limits) {
    if (map.has(name)) read_value(map.at(name), object.*member, limits...);
  });
}

template <class EachField>
std::vector<std::string> names_of(EachField each_field, std::vector<std::string> more) {
  each_field([&](const char* name, auto...) { more.emplace_back(name); });
  return more;
}

const auto kRopeFields = [](auto&& f) { each_rope_field(f); };
const auto kMixerFields = [](auto&& f) { each_mixer_field(f); };
const auto kLinearFields = [](auto&& f) { each_linear_field(f); };
const auto kExtraFields = [](auto&& f) { each_extra_field(f); };
const auto kFeedForwardFields = [](auto&& f) { each_feed_forward_field(f); };
const auto kLayerFlags = [](auto&& f) { each_layer_flag(f); };
const auto kCardFields = [](auto&& f) { each_card_field(f); };

void read_extras(const YamlNode& map, std::vector<ExtraTensor>& extras) {
  if (!map.has("extras")) return;
  const YamlNode list = map.at("extras");
  if (!list.is_list() || list.size() == 0) list.fail("expected a list of tensors");
  extras.clear();
  for (std::size_t i = 0; i < list.size(); ++i) {
    const YamlNode entry = list.at(i);
    entry.allow_only(names_of(kExtraFields, {}));
    entry.at("name");
    read_fields(entry, extras.emplace_back(), kExtraFields);
  }
}

/// Lays what a map says over a layer.
void read_layer(const YamlNode& map, Layer& layer) {
  read_fields(map, layer, kLayerFlags);
  if (map.has("mixer")) {
    const YamlNode mixer = map.at("mixer");
    mixer.allow_only(names_of(kMixerFields, {"rope", "linear"}));
    read_fields(mixer, layer.mixer, kMixerFields);
    if (mixer.has("rope")) {
      mixer.at("rope").allow_only(names_of(kRopeFields, {}));
      read_fields(mixer.at("rope"), layer.mixer.rope, kRopeFields);
    }
    if (mixer.has("linear")) {
      mixer.at("linear").allow_only(names_of(kLinearFields, {}));
      read_fields(mixer.at("linear"), layer.mixer.linear, kLinearFields);
    }
  }
  read_extras(map, layer.extras);
  if (map.has("feed_forward")) {
    map.at("feed_forward").allow_only(names_of(kFeedForwardFields, {}));
    read_fields(map.at("feed_forward"), layer.feed_forward, kFeedForwardFields);
  }
}

/// Fills what follows from other fields when it was not written: kv_heads = heads, head_dim =
/// hidden / heads, value_dim = rotary_dim = head_dim.
void complete(const ModelCard& card, Layer& layer) {
  Mixer& mixer = layer.mixer;
  if (!is_attention(mixer.kind)) return;
  if (mixer.kv_heads == 0) mixer.kv_heads = mixer.heads;
  if (mixer.head_dim == 0 && mixer.heads > 0 && card.hidden % mixer.heads == 0) {
    mixer.head_dim = card.hidden / mixer.heads;
  }
  if (mixer.value_dim == 0) mixer.value_dim = mixer.head_dim;
  const bool rope = card.position == PositionKind::kRope && !mixer.no_rope;
  if (mixer.rope.rotary_dim == 0 && rope) {
    const bool latent = mixer.kind == MixerKind::kMla;
    mixer.rope.rotary_dim = latent ? mixer.qk_rope_dim : mixer.head_dim;
  }
  if (mixer.no_rope) mixer.rope = Rope{};
}

void append(const YamlNode& where, ModelCard& card, std::int64_t count, const Layer& layer) {
  if (count > kMaxLayers - card.layer_count()) {
    where.fail("more than " + std::to_string(kMaxLayers) + " layers", "check count and repeat");
  }
  for (std::int64_t i = 0; i < count; ++i) card.layers.push_back(layer);
}

void read_group(const YamlNode& group, const Layer& common, ModelCard& card) {
  group.allow_only(names_of(kLayerFlags, {"count", "mixer", "feed_forward", "extras"}));
  Layer layer = common;
  read_layer(group, layer);
  complete(card, layer);
  append(group, card, group.integer_or("count", 1, 1, kMaxLayers), layer);
}

void read_layers(const YamlNode& root, ModelCard& card) {
  Layer common;
  if (root.has("layer")) {
    root.at("layer").allow_only(names_of(kLayerFlags, {"mixer", "feed_forward", "extras"}));
    read_layer(root.at("layer"), common);
  }
  const YamlNode groups = root.at("layers");
  if (!groups.is_list() || groups.size() == 0) groups.fail("expected a list of layer groups");
  for (std::size_t g = 0; g < groups.size(); ++g) {
    const YamlNode group = groups.at(g);
    if (!group.has("pattern")) {
      read_group(group, common, card);
      continue;
    }
    group.allow_only({"repeat", "pattern"});
    const YamlNode pattern = group.at("pattern");
    if (!pattern.is_list() || pattern.size() == 0) pattern.fail("expected a list of layer groups");
    const std::int64_t repeat = group.integer_or("repeat", 1, 1, kMaxLayers);
    for (std::int64_t r = 0; r < repeat; ++r) {
      for (std::size_t i = 0; i < pattern.size(); ++i) read_group(pattern.at(i), common, card);
    }
  }
}

// --- writing ---

template <class T>
std::string value_text(const T& value) {
  if constexpr (std::is_same_v<T, bool>) {
    return value ? "true" : "false";
  } else if constexpr (std::is_same_v<T, std::int64_t>) {
    return std::to_string(value);
  } else if constexpr (std::is_same_v<T, double>) {
    // The shortest digits that read back to the same bits.
    char out[40];
    for (int digits = 1; digits <= 17; ++digits) {
      std::snprintf(out, sizeof out, "%.*g", digits, value);
      if (std::strtod(out, nullptr) == value) break;
    }
    return out;
  } else if constexpr (std::is_same_v<T, std::string>) {
    return yaml_quoted(value);
  } else if constexpr (std::is_same_v<T, DType>) {
    return info(value).name;
  } else {
    return word_of(value);
  }
}

/// key: value pairs of the fields that differ from the default, in flow style.
template <class Object, class EachField>
std::string flow(const Object& object, EachField each_field, const std::string& more = {}) {
  const Object usual;
  std::string out;
  each_field([&](const char* name, auto member, auto...) {
    if (object.*member == usual.*member) return;
    out += (out.empty() ? "" : ", ") + std::string(name) + ": " + value_text(object.*member);
  });
  if (!more.empty()) out += (out.empty() ? "" : ", ") + more;
  return out;
}

std::string extras_text(const std::vector<ExtraTensor>& extras, const std::string& indent) {
  std::string out;
  for (const ExtraTensor& extra : extras) {
    if (out.empty()) out = indent + "extras:\n";
    out += indent + "  - {" + flow(extra, kExtraFields) + "}\n";
  }
  return out;
}

std::string layer_text(const Layer& layer) {
  std::string out;
  const Layer usual;
  each_layer_flag([&](const char* name, auto member) {
    if (layer.*member != usual.*member) {
      out += std::string("    ") + name + ": " + value_text(layer.*member) + "\n";
    }
  });
  const std::string rope = flow(layer.mixer.rope, kRopeFields);
  const std::string linear = flow(layer.mixer.linear, kLinearFields);
  std::string nested = rope.empty() ? "" : "rope: {" + rope + "}";
  if (!linear.empty()) nested += (nested.empty() ? "" : ", ") + ("linear: {" + linear + "}");
  out += "    mixer: {" + flow(layer.mixer, kMixerFields, nested) + "}\n";
  out += "    feed_forward: {" + flow(layer.feed_forward, kFeedForwardFields) + "}\n";
  return out + extras_text(layer.extras, "    ");
}

struct Run {
  std::size_t count = 0;
  std::string text;
  friend bool operator==(const Run&, const Run&) = default;
};

std::vector<Run> runs_of(const ModelCard& card) {
  std::vector<Run> runs;
  for (const Layer& layer : card.layers) {
    std::string text = layer_text(layer);
    if (!runs.empty() && runs.back().text == text) {
      ++runs.back().count;
    } else {
      runs.push_back({1, std::move(text)});
    }
  }
  return runs;
}

/// How often the `period` runs from `begin` on repeat, the first time included.
std::size_t repeats(const std::vector<Run>& runs, std::size_t begin, std::size_t period) {
  std::size_t end = begin + period;
  while (end < runs.size() && runs[end] == runs[end - period]) ++end;
  return (end - begin) / period;
}

std::string indented(const std::string& text) {
  std::string out = "    ";
  for (std::size_t i = 0; i < text.size(); ++i) {
    out += text[i];
    if (text[i] == '\n' && i + 1 < text.size()) out += "    ";
  }
  return out;
}

/// Layers as groups; what repeats is written once, as a pattern.
std::string groups_text(const ModelCard& card) {
  constexpr std::size_t kLongestPattern = 16;
  const std::vector<Run> runs = runs_of(card);
  std::string out;
  for (std::size_t i = 0; i < runs.size();) {
    std::size_t best = 1, times = 1;
    for (std::size_t period = 2; period <= kLongestPattern && i + period <= runs.size(); ++period) {
      const std::size_t found = repeats(runs, i, period);
      if (found > 1 && found * period > best * times) {
        best = period;
        times = found;
      }
    }
    if (times > 1) out += "  - repeat: " + std::to_string(times) + "\n    pattern:\n";
    for (std::size_t k = i; k < i + best; ++k) {
      const std::string group = "  - count: " + std::to_string(runs[k].count) + "\n" + runs[k].text;
      out += times > 1 ? indented(group) : group;
    }
    i += best * times;
  }
  return out;
}

}  // namespace

ModelCard parse_model_card(const std::string& yaml_text, const std::string& file_name) {
  const YamlNode root = YamlNode::parse(yaml_text, file_name);
  root.allow_only(names_of(
      kCardFields, {"name", "title", "family", "source", "evidence", "notes", "layer", "layers",
                    "extras"}));
  ModelCard card;
  card.name = root.at("name").text();
  card.title = root.at("title").text();
  card.family = root.at("family").text();
  card.source = root.at("source").text();
  card.evidence = root.at("evidence").text();
  if (card.source.empty())
    root.at("source").fail("the source is empty", "say where the numbers were read");
  if (root.has("notes")) root.at("notes").text();
  for (const char* required : {"hidden", "vocab", "context_limit"}) root.at(required);
  read_fields(root, card, kCardFields);
  if (card.position == PositionKind::kLearned && card.learned_positions == 0) {
    card.learned_positions = card.context_limit;
  }
  read_extras(root, card.extras);
  read_layers(root, card);
  try {
    validate(card);
  } catch (Error& error) {
    error.at(file_name, error.field());
    throw;
  }
  return card;
}

std::string write_model_card(const ModelCard& card) {
  std::string out = "name: " + yaml_quoted(card.name) + "\ntitle: " + yaml_quoted(card.title) +
                    "\nfamily: " + yaml_quoted(card.family) +
                    "\nsource: " + yaml_quoted(card.source) +
                    "\nevidence: " + yaml_quoted(card.evidence) + "\n";
  const ModelCard usual;
  each_card_field([&](const char* name, auto member, auto...) {
    if (card.*member == usual.*member) return;
    out += std::string(name) + ": " + value_text(card.*member) + "\n";
  });
  return out + extras_text(card.extras, "") + "layers:\n" + groups_text(card);
}

}  // namespace vramplan
