// --set path=value on a model card.
#include <algorithm>
#include <charconv>

#include "modelcards/model_card.h"
#include "modelcards/model_card_fields.h"
#include "modelcards/model_card_values.h"
#include "modelcards/nearest_names.h"
#include "modelcards/yaml.h"
#include "modelcards/yaml_text.h"

namespace vramplan {
namespace {

using namespace card_fields;

/// The layers a path means, and the field inside a layer.
struct LayerPath {
  std::size_t begin = 0, end = 0;
  std::string field;
};

std::vector<std::string> known_paths() {
  std::vector<std::string> out{"layer_count"};
  each_card_field([&](const char* name, auto...) { out.emplace_back(name); });
  each_layer_field([&](const std::string& name, auto...) {
    out.push_back("layers." + name);
    const std::size_t dot = name.find('.');
    if (dot != std::string::npos && name.substr(dot) != ".kind") {
      out.push_back("layers" + name.substr(dot));
    }
  });
  return out;
}

[[noreturn]] void unknown_path(const std::string& path) {
  // layers[3].x is looked up as layers.x, so that the index does not spoil the distance.
  std::string plain = path;
  const std::size_t open = plain.find('['), close = plain.find(']');
  if (open != std::string::npos && close != std::string::npos && open < close) {
    plain.erase(open, close - open + 1);
  }
  throw Error(ErrorCode::kUsage, "a card has no field " + in_quotes(path))
      .at("", path)
      .help(did_you_mean(plain, known_paths(), 60));
}

/// layers.FIELD or layers[i].FIELD.
LayerPath layer_path(const ModelCard& card, const std::string& path) {
  if (path.rfind("layers.", 0) == 0) return {0, card.layers.size(), path.substr(7)};
  if (path.rfind("layers[", 0) != 0) unknown_path(path);
  const std::size_t close = path.find("].");
  if (close == std::string::npos) unknown_path(path);
  std::size_t index = 0;
  const auto [rest, status] = std::from_chars(path.data() + 7, path.data() + close, index);
  if (status != std::errc() || rest != path.data() + close || index >= card.layers.size()) {
    throw Error(ErrorCode::kUsage, "there is no such layer in " + in_quotes(path))
        .at("", path)
        .help("layers are numbered 0 to " + std::to_string(card.layers.size() - 1));
  }
  return {index, index + 1, path.substr(close + 2)};
}

bool names_field(const std::string& full, const std::string& wanted) {
  // A bare "heads" is the attention's; the fields of a linear mixer are named linear.heads.
  const bool linear = full.rfind("mixer.linear.", 0) == 0;
  if (linear && wanted.find("linear.") == std::string::npos) return false;
  return full == wanted ||
         (full.size() > wanted.size() + 1 &&
          full.compare(full.size() - wanted.size() - 1, std::string::npos, "." + wanted) == 0);
}

/// The one full name that `wanted` stands for: "kv_heads" -> "mixer.kv_heads".
std::string full_name(const std::string& wanted, const std::string& path) {
  std::vector<std::string> found;
  each_layer_field([&](const std::string& name, auto...) {
    if (names_field(name, wanted)) found.push_back(name);
  });
  if (found.empty()) unknown_path(path);
  if (found.size() > 1) {
    throw Error(ErrorCode::kUsage, in_quotes(path) + " could mean two fields")
        .at("", path)
        .help("write layers." + found[0] + " or layers." + found[1]);
  }
  return found[0];
}

/// A window reaches the windowed layers; when none is, it turns full attention into sliding.
void set_window(ModelCard& card, const LayerPath& where, std::int64_t tokens) {
  const auto windowed = [](const Layer& layer) { return layer.mixer.window_tokens > 0; };
  const auto begin = card.layers.begin() + static_cast<std::ptrdiff_t>(where.begin);
  const auto end = card.layers.begin() + static_cast<std::ptrdiff_t>(where.end);
  const bool any = std::any_of(begin, end, windowed);
  std::for_each(begin, end, [&](Layer& layer) {
    Mixer& mixer = layer.mixer;
    if (!is_attention(mixer.kind) || (any && !windowed(layer))) return;
    mixer.window_tokens = tokens;
    if (tokens == 0) mixer.kind = MixerKind::kFullAttention;
    if (tokens > 0 && mixer.kind == MixerKind::kFullAttention)
      mixer.kind = MixerKind::kSlidingWindow;
  });
}

/// What was equal before the change stays equal after it.
void follow(const Mixer& before, Mixer& after) {
  if (before.value_dim == before.head_dim) after.value_dim = after.head_dim;
  if (before.rope.rotary_dim == before.head_dim) after.rope.rotary_dim = after.head_dim;
}

void set_layers(ModelCard& card, const std::string& path, const YamlNode& value) {
  const LayerPath where = layer_path(card, path);
  const std::string name = full_name(where.field, path);
  if (name == "mixer.window_tokens") {
    set_window(card, where, value.integer(0, kMaxTokens));
    return;
  }
  each_layer_field([&](const std::string& field_name, auto field, auto... limits) {
    if (field_name != name) return;
    for (std::size_t i = where.begin; i < where.end; ++i) {
      Layer& layer = card.layers[i];
      const Mixer before = layer.mixer;
      read_value(value, field(layer), limits...);
      if (name == "mixer.head_dim") follow(before, layer.mixer);
      if (name == "mixer.heads" && before.kv_heads == before.heads) {
        layer.mixer.kv_heads = layer.mixer.heads;
      }
      if (name == "mixer.kind" && layer.mixer.kind == MixerKind::kFullAttention) {
        layer.mixer.window_tokens = 0;
      }
    }
  });
}

void set_layer_count(ModelCard& card, std::int64_t count) {
  if (count > card.layer_count()) {
    ModelCard first = card, other = card;
    first.layers.resize(1);
    for (const Layer& layer : card.layers) {
      other.layers.assign(1, layer);
      if (card_hash(first) != card_hash(other)) {
        throw Error(ErrorCode::kUsage, "the layers differ, so more of them cannot be guessed")
            .at("", "layer_count")
            .help("write a card file with the layers you mean");
      }
    }
  }
  card.layers.resize(static_cast<std::size_t>(count), Layer(card.layers.front()));
}

void set_card(ModelCard& card, const std::string& path, const YamlNode& value) {
  bool found = false;
  each_card_field([&](const char* name, auto member, auto... limits) {
    if (path != name) return;
    read_value(value, card.*member, limits...);
    found = true;
  });
  if (!found) unknown_path(path);
}

}  // namespace

void set_field(ModelCard& card, const std::string& assignment) {
  const std::size_t equals = assignment.find('=');
  if (equals == std::string::npos || equals == 0 || equals + 1 == assignment.size()) {
    throw Error(ErrorCode::kUsage, in_quotes(assignment) + " is no path=value")
        .at("", "--set")
        .help("such as layers.kv_heads=8 or vocab=32000");
  }
  const std::string path = assignment.substr(0, equals);
  ModelCard changed = card;
  try {
    const YamlNode value = YamlNode::parse(assignment.substr(equals + 1), "--set");
    if (!value.is_scalar()) value.fail("expected one value");
    if (path == "layer_count") {
      set_layer_count(changed, value.integer(1, kMaxLayers));
    } else if (path.rfind("layers", 0) == 0) {
      set_layers(changed, path, value);
    } else {
      set_card(changed, path, value);
    }
  } catch (const Error& error) {
    if (error.code() != ErrorCode::kBadYaml) throw;
    throw Error(ErrorCode::kUsage, error.message()).at("--set", path).help(error.fix());
  }
  validate(changed);
  card = std::move(changed);
}

}  // namespace vramplan
