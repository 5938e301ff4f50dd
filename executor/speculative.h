#pragma once
// Speculative: guesses of the next tokens, and which of them to keep so that what is said is drawn
// from the model's own distribution, whoever guessed.
#include <cstdint>
#include <functional>
#include <span>
#include <utility>
#include <vector>

namespace vramplan {

/// What followed the last place that ends as `tokens` does: the longest match of at most 3 tokens,
/// the latest of equals. Always `count` guesses: where nothing is found, or the end comes first,
/// the last token is guessed again, so that a step costs what it costs. Source: prompt lookup
/// decoding (A. Saxena 2023).
std::vector<std::int32_t> ngram_guesses(std::span<const std::int32_t> tokens, std::int64_t count);

/// Tokens with their probabilities, as `nucleus` gives them; the most probable alone where none is
/// drawn. Of a guesser, empty: it was sure.
using Distribution = std::vector<std::pair<std::int32_t, double>>;

/// Guess i, drawn from `guesser[i]`, is kept with probability min(1, p / q), p of model[i] and q
/// of guesser[i]. The first that is not kept is replaced by a draw from max(0, p - q) made whole,
/// and ends it; when all are kept one more token is drawn from the model's last distribution. Each
/// token is so distributed as model[i]. Returns the tokens, one more than were kept. `uniform`:
/// numbers in [0, 1). Sources: Leviathan et al. 2023 (arXiv 2211.17192), algorithm 1; Chen et al.
/// 2023 (arXiv 2302.01318), theorem 1.
std::vector<std::int32_t> keep_guesses(std::span<const std::int32_t> guesses,
                                       std::span<const Distribution> model,
                                       std::span<const Distribution> guesser,
                                       const std::function<double()>& uniform);

}  // namespace vramplan
