#include "planner/weight_mix.h"

#include <fmt/format.h>

#include <algorithm>

#include "modelcards/model_card.h"

namespace vramplan {
namespace {

constexpr const char* kForm = "LAYERS:FORMAT,..., e.g. 0-3:q8_0,29:f16 or 5:stored";
constexpr const char* kFlag = "--weight-layers";
constexpr const char* kStored = "stored";

/// Numbers that tables of checkpoints hold are no weights.
bool is_weight_format(DType dtype) {
  return dtype != DType::kI16 && dtype != DType::kI32 && dtype != DType::kI64 &&
         dtype != DType::kF64;
}

std::vector<LayerWord> words_of(const std::vector<WeightLayerRange>& layers) {
  std::vector<LayerWord> words;
  for (const WeightLayerRange& piece : layers) {
    words.push_back({piece.begin, piece.end, weight_word(piece.format)});
  }
  return words;
}

}  // namespace

std::vector<std::string> weight_format_names() {
  std::vector<std::string> names;
  for (int i = 0; i <= static_cast<int>(DType::kQ6_K); ++i) {
    if (is_weight_format(static_cast<DType>(i))) {
      names.emplace_back(info(static_cast<DType>(i)).name);
    }
  }
  for (int i = static_cast<int>(DType::kMxfp4); i <= static_cast<int>(DType::kNvfp4Packed); ++i) {
    const auto dtype = static_cast<DType>(i);
    if (packed_rule(dtype) != nullptr) names.emplace_back(info(dtype).name);
  }
  return names;
}

std::optional<DType> weight_format_from(const std::string& text) {
  const auto dtype = dtype_from_name(text);
  return dtype && is_weight_format(*dtype) ? dtype : std::nullopt;
}

std::string weight_word(const std::optional<DType>& format) {
  return format ? info(*format).name : kStored;
}

std::vector<WeightLayerRange> weight_layers_of(const std::vector<LayerWord>& words,
                                               const std::string& flag) {
  std::vector<WeightLayerRange> layers;
  for (const LayerWord& piece : words) {
    const auto format = weight_format_from(piece.word);
    if (!format && piece.word != kStored) {
      throw Error(ErrorCode::kUsage, fmt::format("'{}' is no weight format", printable(piece.word)))
          .at("", flag)
          .help(fmt::format("one of: stored {}", fmt::join(weight_format_names(), " ")));
    }
    layers.push_back({piece.begin, piece.end, format});
  }
  return layers;
}

std::vector<WeightLayerRange> parse_weight_layers(const std::string& text,
                                                  const std::string& flag) {
  return weight_layers_of(parse_layer_words(text, flag, kForm), flag);
}

std::string text_of(const std::vector<WeightLayerRange>& layers) {
  return text_of(words_of(layers));
}

std::optional<DType> weight_format(const Decisions& decisions, std::int64_t layer) {
  for (const WeightLayerRange& piece : decisions.weight_layers) {
    if (layer >= piece.begin && layer < piece.end) return piece.format;
  }
  return decisions.weights;
}

std::vector<DType> weight_formats(const Decisions& decisions) {
  std::vector<DType> formats;
  const auto add = [&](const std::optional<DType>& format) {
    if (!format || std::find(formats.begin(), formats.end(), *format) != formats.end()) return;
    formats.push_back(*format);
  };
  add(decisions.weights);
  for (const WeightLayerRange& piece : decisions.weight_layers) add(piece.format);
  return formats;
}

std::string weight_row(const Decisions& decisions, const std::string& group, DType dtype) {
  const bool layers = group == "attention" || group == "feed_forward";
  if (decisions.weight_layers.empty() || !layers) return group;
  return group + " " + info(dtype).name;
}

void settle_weight_layers(const ModelCard& card, Decisions& decisions) {
  std::vector<WeightLayerRange>& layers = decisions.weight_layers;
  std::stable_sort(layers.begin(), layers.end(),
                   [](const auto& a, const auto& b) { return a.begin < b.begin; });
  check_weight_layers(card, decisions);
  std::vector<WeightLayerRange> settled;
  for (const WeightLayerRange& piece : layers) {
    if (piece.format == decisions.weights) continue;
    const bool goes_on = !settled.empty() && settled.back().end == piece.begin &&
                         settled.back().format == piece.format;
    if (goes_on)
      settled.back().end = piece.end;
    else
      settled.push_back(piece);
  }
  layers = std::move(settled);
}

void check_weight_layers(const ModelCard& card, const Decisions& decisions) {
  check_layer_words(card, words_of(decisions.weight_layers), kFlag, "--weights");
}

void refuse_weight_mix(const Decisions& decisions, const char* engine) {
  if (decisions.weight_layers.empty()) return;
  throw Error(ErrorCode::kUnsupported,
              fmt::format("no flag of {} gives layers a weight format of their own", engine))
      .at("", kFlag)
      .help("plan a checkpoint whose layers have it, or one --weights for all");
}

}  // namespace vramplan
