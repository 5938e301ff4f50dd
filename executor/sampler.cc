#include "executor/sampler.h"

#include <algorithm>
#include <cmath>
#include <limits>
#include <numeric>
#include <string>

#include "executor/rng.h"
#include "modelcards/error.h"

namespace vramplan {
namespace {

/// The highest logit; throws when the logits are no numbers to choose by.
std::size_t highest(std::span<const float> logits, std::int64_t sequence, std::int64_t step) {
  constexpr float kInfinity = std::numeric_limits<float>::infinity();
  std::size_t best = 0;
  for (std::size_t i = 0; i < logits.size(); ++i) {
    if (std::isnan(logits[i]) || logits[i] == kInfinity) {
      throw Error(ErrorCode::kInternal, "logit " + std::to_string(i) + " is " +
                                            (std::isnan(logits[i]) ? "NaN" : "infinite") +
                                            " in sequence " + std::to_string(sequence) +
                                            " at output token " + std::to_string(step))
          .help("the weights or the cache are damaged; check the model file");
    }
    if (logits[i] > logits[best]) best = i;
  }
  if (logits.empty() || logits[best] == -kInfinity) {
    throw Error(ErrorCode::kInternal, "no token is possible in sequence " +
                                          std::to_string(sequence) + " at output token " +
                                          std::to_string(step));
  }
  return best;
}

}  // namespace

std::vector<std::pair<std::int32_t, double>> nucleus(std::span<const float> logits,
                                                     double temperature, double top_p) {
  const double highest_logit = *std::max_element(logits.begin(), logits.end());
  std::vector<double> weight(logits.size());
  for (std::size_t i = 0; i < logits.size(); ++i) {
    weight[i] = std::exp((static_cast<double>(logits[i]) - highest_logit) / temperature);
  }
  const double total = std::accumulate(weight.begin(), weight.end(), 0.0);

  std::vector<std::int32_t> order(logits.size());
  std::iota(order.begin(), order.end(), 0);
  const auto more_probable = [&](std::int32_t a, std::int32_t b) {
    const float la = logits[static_cast<std::size_t>(a)], lb = logits[static_cast<std::size_t>(b)];
    return la != lb ? la > lb : a < b;
  };
  std::sort(order.begin(), order.end(), more_probable);

  std::vector<std::pair<std::int32_t, double>> kept;
  double sum = 0;
  for (const std::int32_t id : order) {
    const double probability = weight[static_cast<std::size_t>(id)] / total;
    kept.emplace_back(id, probability);
    sum += probability;
    if (top_p < 1 && sum >= top_p) break;
  }
  for (auto& [id, probability] : kept) probability /= sum;
  return kept;
}

Sampler::Sampler(const Sampling& sampling) : sampling_(sampling) {
  if (!std::isfinite(sampling.temperature) || sampling.temperature < 0) {
    throw Error(ErrorCode::kUsage, "a temperature must be a number >= 0").at("", "--temperature");
  }
  if (!(sampling.top_p > 0 && sampling.top_p <= 1)) {
    throw Error(ErrorCode::kUsage, "top-p must be in (0, 1]").at("", "--top-p");
  }
}

std::int32_t Sampler::sample(std::span<const float> logits, std::int64_t sequence,
                             std::int64_t step) const {
  const std::size_t best = highest(logits, sequence, step);
  if (sampling_.temperature == 0) return static_cast<std::int32_t>(best);
  const auto kept = nucleus(logits, sampling_.temperature, sampling_.top_p);
  const double drawn = draw(sequence, step);
  double sum = 0;
  for (const auto& [id, probability] : kept) {
    sum += probability;
    if (drawn < sum) return id;
  }
  return kept.back().first;  // rounding left the sum a little below 1
}

// One draw a token, from a generator of its own, so that batches and orders do not matter.
double Sampler::draw(std::int64_t sequence, std::int64_t step) const {
  SplitMix64 sequence_rng(sampling_.seed ^
                          (static_cast<std::uint64_t>(sequence) * 0xd1342543de82ef95ULL));
  SplitMix64 rng(sequence_rng.next() + static_cast<std::uint64_t>(step));
  return rng.uniform();
}

}  // namespace vramplan
