#include "planner/kv_mix.h"

#include <fmt/format.h>

#include <algorithm>
#include <utility>

#include "modelcards/model_card.h"

namespace vramplan {
namespace {

constexpr const char* kForm = "LAYERS:FORMAT,..., e.g. 0-1:f16,20-29:kivi2 or 5:kivi4/0/2";
constexpr const char* kLayersFlag = "--kv-layers";
constexpr const char* kHeadsFlag = "--kv-full-heads";

[[noreturn]] void refuse(const std::string& flag, const std::string& message,
                         const std::string& fix, ErrorCode code = ErrorCode::kUsage) {
  throw Error(code, message).at("", flag).help(fix);
}

KvHeads heads_of(const std::vector<std::string>& words, const std::string& flag) {
  KvHeads heads;
  for (const std::string& word : words) {
    const auto head = whole_number(word);
    if (!head || *head >= KvHeads::kMost) {
      refuse(flag, fmt::format("'{}' is no number of a KV head", printable(word)),
             fmt::format("heads count from 0, to at most {}", KvHeads::kMost - 1));
    }
    heads.bits |= std::uint64_t{1} << *head;
  }
  return heads;
}

std::vector<LayerWord> words_of(const std::vector<KvLayerRange>& layers) {
  std::vector<LayerWord> words;
  for (const KvLayerRange& piece : layers) {
    words.push_back({piece.begin, piece.end, name_of(piece.encoding)});
  }
  return words;
}

/// Why a layer has no cache to choose a format for; null when it has one.
const char* without_cache(const Layer& layer) {
  if (layer.mixer.kv_shared) return "reads the cache of an earlier layer and follows its format";
  if (layer.mixer.kind == MixerKind::kNone) return "has no attention";
  if (layer.mixer.kind == MixerKind::kLinear) return "keeps a recurrent state, no keys and values";
  return nullptr;
}

void check_full_heads(const ModelCard& card, const Decisions& decisions, std::int64_t index,
                      const char* flag) {
  const KvEncoding encoding = kv_encoding(decisions, index);
  if (!encoding.full_heads.any()) return;
  const Mixer& mixer = card.layers[static_cast<std::size_t>(index)].mixer;
  if (without_cache(card.layers[static_cast<std::size_t>(index)]) != nullptr) return;
  if (!needs_residual(encoding.format)) {
    refuse(flag, fmt::format("heads in f16 beside others in {}", name_of(encoding.format)),
           "only kivi2 and kivi4 leave heads out");
  }
  if (mixer.kind == MixerKind::kMla) {
    refuse(flag, "heads in f16 in a layer whose heads share one latent", "leave them out",
           ErrorCode::kUnsupported);
  }
  if (decisions.sharding.tp > 1) {
    refuse(flag, "heads in f16 over tensor parallel ranks, whose blocks would differ",
           "--tp 1, or give whole layers another format with --kv-layers", ErrorCode::kUnsupported);
  }
  if (encoding.full_heads.end() > mixer.kv_heads) {
    refuse(flag,
           fmt::format("head {} of layer {}, which has {} KV heads", encoding.full_heads.end() - 1,
                       index, mixer.kv_heads),
           fmt::format("heads are 0 to {}", mixer.kv_heads - 1));
  }
  if (encoding.full_heads.count() == mixer.kv_heads) {
    refuse(flag, fmt::format("all {} KV heads of layer {} in f16", mixer.kv_heads, index),
           "give the layer the format f16 with --kv-layers");
  }
}

/// Puts neighbours that are alike together and leaves out what is as the rest, or has no cache.
std::vector<KvLayerRange> pieces(const std::vector<std::optional<KvEncoding>>& encodings,
                                 const KvEncoding& rest) {
  std::vector<KvLayerRange> out;
  for (std::size_t i = 0; i < encodings.size(); ++i) {
    if (!encodings[i] || *encodings[i] == rest) continue;
    const auto at = static_cast<std::int64_t>(i);
    if (!out.empty() && out.back().end == at && out.back().encoding == *encodings[i]) {
      ++out.back().end;
    } else {
      out.push_back({at, at + 1, *encodings[i]});
    }
  }
  return out;
}

}  // namespace

std::optional<KvFormat> kv_format_from(const std::string& text) {
  for (int i = 0; i < kKvFormats; ++i) {
    const auto format = static_cast<KvFormat>(i);
    if (text == name_of(format)) return format;
    if (i < 3 && dtype_from_name(text) == dtype_of(format)) return format;
  }
  return std::nullopt;
}

std::vector<std::string> kv_format_names() {
  std::vector<std::string> names;
  for (int i = 0; i < kKvFormats; ++i) names.emplace_back(name_of(static_cast<KvFormat>(i)));
  return names;
}

KvHeads parse_kv_heads(const std::string& text, const std::string& flag) {
  return heads_of(split_text(text, ','), flag);
}

std::string text_of(const KvHeads& heads) {
  std::string text;
  for (std::int64_t head = 0; head < heads.end(); ++head) {
    if (heads.has(head)) text += (text.empty() ? "" : ",") + std::to_string(head);
  }
  return text;
}

KvEncoding parse_kv_encoding(const std::string& text, const std::string& flag) {
  std::vector<std::string> words = split_text(text, '/');
  const auto format = kv_format_from(words.front());
  if (!format) {
    refuse(flag, fmt::format("'{}' is no KV format", printable(words.front())),
           fmt::format("one of: {}", fmt::join(kv_format_names(), " ")));
  }
  words.erase(words.begin());
  return {*format, heads_of(words, flag)};
}

std::vector<KvLayerRange> kv_layers_of(const std::vector<LayerWord>& words,
                                       const std::string& flag) {
  std::vector<KvLayerRange> layers;
  for (const LayerWord& piece : words) {
    layers.push_back({piece.begin, piece.end, parse_kv_encoding(piece.word, flag)});
  }
  return layers;
}

std::vector<KvLayerRange> parse_kv_layers(const std::string& text, const std::string& flag) {
  return kv_layers_of(parse_layer_words(text, flag, kForm), flag);
}

std::string text_of(const std::vector<KvLayerRange>& layers) { return text_of(words_of(layers)); }

KvEncoding kv_encoding(const Decisions& decisions) {
  return {decisions.kv_format, decisions.kv_full_heads};
}

std::optional<KvEncoding> named_kv_encoding(const Decisions& decisions, std::int64_t layer) {
  for (const KvLayerRange& piece : decisions.kv_layers) {
    if (layer >= piece.begin && layer < piece.end) return piece.encoding;
  }
  return std::nullopt;
}

KvEncoding kv_encoding(const Decisions& decisions, std::int64_t layer) {
  return named_kv_encoding(decisions, layer).value_or(kv_encoding(decisions));
}

std::vector<KvFormat> kv_formats(const Decisions& decisions) {
  std::vector<KvFormat> formats = {decisions.kv_format};
  for (const KvLayerRange& piece : decisions.kv_layers) {
    const KvFormat format = piece.encoding.format;
    if (std::find(formats.begin(), formats.end(), format) == formats.end()) {
      formats.push_back(format);
    }
  }
  return formats;
}

std::optional<KvFormat> packed_format(const Decisions& decisions) {
  for (const KvFormat format : kv_formats(decisions)) {
    if (needs_residual(format)) return format;
  }
  return std::nullopt;
}

bool names_formats(const Decisions& decisions) {
  return !decisions.kv_layers.empty() && decisions.kv_placement == KvPlacement::kDevice;
}

bool has_window(const Decisions& decisions, KvFormat format) {
  if (!decisions.kv_residual.any()) return false;
  return decisions.kv_policy == KvPolicy::kStrided || needs_residual(format);
}

bool mixes_windows(const Decisions& decisions) {
  const bool first = has_window(decisions, decisions.kv_format);
  return std::any_of(decisions.kv_layers.begin(), decisions.kv_layers.end(),
                     [&](const KvLayerRange& piece) {
                       return has_window(decisions, piece.encoding.format) != first;
                     });
}

void settle_kv_layers(const ModelCard& card, Decisions& decisions) {
  std::vector<KvLayerRange>& layers = decisions.kv_layers;
  std::stable_sort(layers.begin(), layers.end(),
                   [](const KvLayerRange& a, const KvLayerRange& b) { return a.begin < b.begin; });
  check_kv_layers(card, decisions);
  std::vector<std::optional<KvEncoding>> encodings;
  std::vector<std::pair<KvEncoding, std::int64_t>> counts;
  for (std::int64_t i = 0; i < card.layer_count(); ++i) {
    encodings.emplace_back();
    if (without_cache(card.layers[static_cast<std::size_t>(i)]) != nullptr) continue;
    encodings.back() = kv_encoding(decisions, i);
    const auto known = std::find_if(counts.begin(), counts.end(), [&](const auto& count) {
      return count.first == encodings.back();
    });
    if (known == counts.end())
      counts.emplace_back(*encodings.back(), 1);
    else
      ++known->second;
  }
  KvEncoding rest = kv_encoding(decisions);
  const bool unused = std::none_of(counts.begin(), counts.end(),
                                   [&](const auto& count) { return count.first == rest; });
  if (unused && !counts.empty()) {
    rest = std::max_element(counts.begin(), counts.end(), [](const auto& a, const auto& b) {
             return a.second < b.second;
           })->first;
  }
  decisions.kv_format = rest.format;
  decisions.kv_full_heads = rest.full_heads;
  layers = pieces(encodings, rest);
}

void check_kv_layers(const ModelCard& card, const Decisions& decisions) {
  const std::int64_t count = card.layer_count();
  check_layer_words(card, words_of(decisions.kv_layers), kLayersFlag, "--kv-cache-dtype");
  for (const KvLayerRange& piece : decisions.kv_layers) {
    for (std::int64_t i = piece.begin; i < piece.end; ++i) {
      const char* const why = without_cache(card.layers[static_cast<std::size_t>(i)]);
      if (why == nullptr) continue;
      refuse(kLayersFlag, fmt::format("a KV format for layer {} of {}: it {}", i, card.name, why),
             "leave it out", ErrorCode::kUnsupported);
    }
  }
  if (decisions.kv_full_heads.any() && !needs_residual(decisions.kv_format)) {
    refuse(kHeadsFlag,
           fmt::format("heads in f16 beside others in {}", name_of(decisions.kv_format)),
           "only kivi2 and kivi4 leave heads out");
  }
  for (std::int64_t i = 0; i < count; ++i) {
    const bool named = named_kv_encoding(decisions, i).has_value();
    check_full_heads(card, decisions, i, named ? kLayersFlag : kHeadsFlag);
  }
}

void refuse_kv_mix(const Decisions& decisions, const char* engine) {
  if (decisions.kv_layers.empty() && !decisions.kv_full_heads.any()) return;
  refuse(decisions.kv_layers.empty() ? kHeadsFlag : kLayersFlag,
         fmt::format("no flag of {} gives layers or heads a KV format of their own", engine),
         "plan with one --kv-cache-dtype for all layers", ErrorCode::kUnsupported);
}

}  // namespace vramplan
