#include "executor/speculative.h"

#include <algorithm>

#include "modelcards/error.h"

namespace vramplan {
namespace {

constexpr std::size_t kLongestMatch = 3;

double probability_of(const Distribution& distribution, std::int32_t token) {
  for (const auto& [id, probability] : distribution) {
    if (id == token) return probability;
  }
  return 0;
}

std::int32_t draw_from(const Distribution& distribution, double total, double uniform) {
  double sum = 0;
  for (const auto& [id, weight] : distribution) {
    sum += weight;
    if (uniform * total < sum) return id;
  }
  // Rounding left the sum a little below the total: the last that is possible.
  for (auto last = distribution.rbegin(); last != distribution.rend(); ++last) {
    if (last->second > 0) return last->first;
  }
  return distribution.front().first;
}

/// A draw from what the model gives more than the guesser did.
std::int32_t draw_instead(const Distribution& model, const Distribution& guesser,
                          std::int32_t guess, double uniform) {
  Distribution rest = model;
  double total = 0;
  for (auto& [id, weight] : rest) {
    const double guessed =
        guesser.empty() ? (id == guess ? 1.0 : 0.0) : probability_of(guesser, id);
    weight = std::max(0.0, weight - guessed);
    total += weight;
  }
  // Equal up to rounding: then a guess is hardly ever refused, and any draw of the model will do.
  return total > 0 ? draw_from(rest, total, uniform) : draw_from(model, 1, uniform);
}

}  // namespace

std::vector<std::int32_t> ngram_guesses(std::span<const std::int32_t> tokens, std::int64_t count) {
  VRAMPLAN_CHECK(!tokens.empty() && count >= 0);
  std::vector<std::int32_t> guesses;
  const std::size_t size = tokens.size();
  for (std::size_t length = std::min(kLongestMatch, size - 1); length > 0; --length) {
    const auto end = tokens.last(length);
    for (std::size_t at = size - length; at-- > 0 && guesses.empty();) {
      if (!std::equal(end.begin(), end.end(), tokens.begin() + static_cast<std::ptrdiff_t>(at))) {
        continue;
      }
      const std::size_t next = at + length;
      const std::size_t known = std::min(size - next, static_cast<std::size_t>(count));
      const auto found = tokens.subspan(next, known);
      guesses.assign(found.begin(), found.end());
    }
    if (!guesses.empty()) break;
  }
  guesses.resize(static_cast<std::size_t>(count), tokens.back());
  return guesses;
}

std::vector<std::int32_t> keep_guesses(std::span<const std::int32_t> guesses,
                                       std::span<const Distribution> model,
                                       std::span<const Distribution> guesser,
                                       const std::function<double()>& uniform) {
  VRAMPLAN_CHECK(model.size() == guesses.size() + 1);
  VRAMPLAN_CHECK(guesser.empty() || guesser.size() == guesses.size());
  const Distribution sure;
  std::vector<std::int32_t> tokens;
  for (std::size_t i = 0; i < guesses.size(); ++i) {
    const Distribution& from = guesser.empty() ? sure : guesser[i];
    const double p = probability_of(model[i], guesses[i]);
    const double q = from.empty() ? 1 : probability_of(from, guesses[i]);
    VRAMPLAN_CHECK(q > 0);
    if (uniform() * q < p) {
      tokens.push_back(guesses[i]);
      continue;
    }
    tokens.push_back(draw_instead(model[i], from, guesses[i], uniform()));
    return tokens;
  }
  tokens.push_back(draw_from(model.back(), 1, uniform()));
  return tokens;
}

}  // namespace vramplan
