#include "modelcards/nearest_names.h"

#include <algorithm>
#include <cctype>
#include <utility>

namespace vramplan {
namespace {

constexpr std::size_t kLongestWord = 200;  // the table is quadratic; outside text is cut

std::string folded(const std::string& text) {
  std::string out = text.substr(0, kLongestWord);
  for (char& c : out) c = static_cast<char>(std::tolower(static_cast<unsigned char>(c)));
  return out;
}

/// Optimal string alignment distance, the restricted form of Damerau-Levenshtein.
std::size_t distance(const std::string& a, const std::string& b) {
  std::vector<std::vector<std::size_t>> d(a.size() + 1, std::vector<std::size_t>(b.size() + 1));
  for (std::size_t i = 0; i <= a.size(); ++i) d[i][0] = i;
  for (std::size_t j = 0; j <= b.size(); ++j) d[0][j] = j;
  for (std::size_t i = 1; i <= a.size(); ++i) {
    for (std::size_t j = 1; j <= b.size(); ++j) {
      const std::size_t substitution = d[i - 1][j - 1] + (a[i - 1] == b[j - 1] ? 0 : 1);
      d[i][j] = std::min({d[i - 1][j] + 1, d[i][j - 1] + 1, substitution});
      if (i > 1 && j > 1 && a[i - 1] == b[j - 2] && a[i - 2] == b[j - 1]) {
        d[i][j] = std::min(d[i][j], d[i - 2][j - 2] + 1);
      }
    }
  }
  return d[a.size()][b.size()];
}

}  // namespace

std::vector<std::string> nearest_names(const std::string& word,
                                       const std::vector<std::string>& names) {
  const std::string wanted = folded(word);
  const std::size_t limit = std::max<std::size_t>(2, wanted.size() / 3);
  std::vector<std::pair<std::size_t, std::string>> near;
  for (const std::string& name : names) {
    const std::size_t edits = distance(wanted, folded(name));
    if (edits <= limit && edits < std::max(wanted.size(), name.size()))
      near.emplace_back(edits, name);
  }
  std::stable_sort(near.begin(), near.end(),
                   [](const auto& a, const auto& b) { return a.first < b.first; });
  // A part of a name ("h100" of h100-sxm-80gb) is many edits away and still what was meant.
  const auto holds = [&](const std::string& name) {
    const std::size_t at = folded(name).find(wanted);
    return at == 0 || (at != std::string::npos && name[at - 1] == '-');
  };
  if (wanted.size() > 1) {
    for (const std::string& name : names) {
      const bool listed = std::any_of(near.begin(), near.end(),
                                      [&](const auto& entry) { return entry.second == name; });
      if (!listed && holds(name)) near.emplace_back(limit + 1, name);
    }
  }
  std::vector<std::string> out;
  for (const auto& [edits, name] : near) {
    if (out.size() < 3) out.push_back(name);
  }
  return out;
}

std::string did_you_mean(const std::string& word, const std::vector<std::string>& names,
                         std::size_t listed) {
  const std::vector<std::string> near = nearest_names(word, names);
  if (!near.empty()) {
    std::string text = "did you mean " + near[0];
    for (std::size_t i = 1; i < near.size(); ++i) {
      text += (i + 1 == near.size() ? " or " : ", ") + near[i];
    }
    return text + "?";
  }
  std::string text = "known: ";
  for (std::size_t i = 0; i < names.size() && i < listed; ++i)
    text += (i > 0 ? ", " : "") + names[i];
  return text + (names.size() > listed ? ", ..." : "");
}

}  // namespace vramplan
