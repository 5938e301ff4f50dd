#include "planner/layer_words.h"

#include <fmt/format.h>

#include <charconv>

#include "modelcards/model_card.h"

namespace vramplan {
namespace {

[[noreturn]] void refuse(const std::string& flag, const std::string& message,
                         const std::string& fix) {
  throw Error(ErrorCode::kUsage, message).at("", flag).help(fix);
}

}  // namespace

std::vector<std::string> split_text(const std::string& text, char at) {
  std::vector<std::string> parts;
  std::size_t begin = 0;
  while (true) {
    const std::size_t end = text.find(at, begin);
    parts.push_back(text.substr(begin, end - begin));
    if (end == std::string::npos) return parts;
    begin = end + 1;
  }
}

std::optional<std::int64_t> whole_number(const std::string& text) {
  constexpr std::int64_t kMost = 1'000'000;
  std::int64_t value = 0;
  const char* const end = text.data() + text.size();
  const auto [rest, status] = std::from_chars(text.data(), end, value);
  const bool whole = status == std::errc() && rest == end && value >= 0 && value <= kMost;
  return whole ? std::optional(value) : std::nullopt;
}

std::vector<LayerWord> parse_layer_words(const std::string& text, const std::string& flag,
                                         const std::string& form) {
  std::vector<LayerWord> layers;
  for (const std::string& part : split_text(text, ',')) {
    const std::vector<std::string> sides = split_text(part, ':');
    const std::vector<std::string> ends = split_text(sides.front(), '-');
    const auto first = whole_number(ends.front()), last = whole_number(ends.back());
    if (sides.size() != 2 || ends.size() > 2 || !first || !last || *last < *first) {
      refuse(flag, fmt::format("'{}' names no layers and their format", printable(part)), form);
    }
    layers.push_back({*first, *last + 1, sides.back()});
  }
  return layers;
}

std::string text_of(const std::vector<LayerWord>& layers) {
  std::string text;
  for (const LayerWord& piece : layers) {
    if (!text.empty()) text += ",";
    text += std::to_string(piece.begin);
    if (piece.end > piece.begin + 1) text += "-" + std::to_string(piece.end - 1);
    text += ":" + piece.word;
  }
  return text;
}

void check_layer_words(const ModelCard& card, const std::vector<LayerWord>& layers,
                       const std::string& flag, const std::string& rest_flag) {
  const std::int64_t count = card.layer_count();
  std::int64_t end = 0;
  for (const LayerWord& piece : layers) {
    if (piece.begin < 0 || piece.begin >= piece.end || piece.end > count) {
      refuse(flag,
             fmt::format("'{}' is beyond the {} layers of {}", text_of({piece}), count, card.name),
             fmt::format("layers are 0 to {}", count - 1));
    }
    if (piece.begin < end) {
      refuse(flag, fmt::format("layer {} has two formats", piece.begin),
             fmt::format("name each layer once; those that are not named have {}", rest_flag));
    }
    end = piece.end;
  }
}

}  // namespace vramplan
