#pragma once
// nearest_names: "did you mean" for card names, keys and fields.
#include <string>
#include <vector>

namespace vramplan {

/// Names within a small edit distance of `word`, nearest first, at most three. Distance is
/// Damerau-Levenshtein (insert, delete, substitute, swap neighbours, one each), case ignored; a
/// name qualifies within max(2, length / 3) edits. Ties keep the order of `names`. After them come
/// names in which `word` begins a part ("sxm" of h100-sxm-80gb).
std::vector<std::string> nearest_names(const std::string& word,
                                       const std::vector<std::string>& names);

/// "did you mean a, b or c?", or "known: a, b, ..." (at most `listed` of them) when nothing is
/// near.
std::string did_you_mean(const std::string& word, const std::vector<std::string>& names,
                         std::size_t listed = 12);

}  // namespace vramplan
