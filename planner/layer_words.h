#pragma once
// LayerWords: layers of a card and a word said of each run of them, as flags, plan files and
// reports write it: "0-1:f16,20-29:kivi2". What a word means is its reader's.
#include <cstdint>
#include <optional>
#include <string>
#include <vector>

namespace vramplan {

struct ModelCard;

/// Layers [begin, end) of a card.
struct LayerWord {
  std::int64_t begin = 0, end = 0;
  std::string word;
  friend bool operator==(const LayerWord&, const LayerWord&) = default;
};

/// In the order given; words may be empty and hold no comma or colon. Errors: kUsage naming `flag`,
/// the part that names no layers, and `form`.
std::vector<LayerWord> parse_layer_words(const std::string& text, const std::string& flag,
                                         const std::string& form);
/// What parse_layer_words reads; "" for none.
std::string text_of(const std::vector<LayerWord>& layers);
/// Errors: kUsage naming `flag` for layers that the card does not have, out of order, or named
/// twice; those that are not named have `rest_flag`.
void check_layer_words(const ModelCard& card, const std::vector<LayerWord>& layers,
                       const std::string& flag, const std::string& rest_flag);

std::vector<std::string> split_text(const std::string& text, char at);
/// A whole number from 0 to a million, all of the text.
std::optional<std::int64_t> whole_number(const std::string& text);

}  // namespace vramplan
