#pragma once
// Sampler: logits of one token to a token id. The same seed, sequence and step give the same token
// on every machine and for every batch around it.
#include <cstdint>
#include <span>
#include <utility>
#include <vector>

namespace vramplan {

struct Sampling {
  double temperature = 0;  // 0 = greedy
  double top_p = 1;
  std::uint64_t seed = 0;
};

/// The nucleus: the smallest set of most probable tokens whose probabilities sum to at least top_p
/// (never empty; equal probabilities enter by lower id), renormalised; most probable first.
/// probability = softmax(logits / temperature). Source: Holtzman et al. 2020, "The Curious Case of
/// Neural Text Degeneration", section 3.1.
std::vector<std::pair<std::int32_t, double>> nucleus(std::span<const float> logits,
                                                     double temperature, double top_p);

class Sampler {
 public:
  /// Errors: kUsage when temperature is negative or not finite, or top_p is not in (0, 1].
  explicit Sampler(const Sampling& sampling);

  /// Greedy takes the highest logit, the lowest id among equals.
  /// Errors: kInternal naming sequence and step when a logit is NaN or +infinity, or all are
  /// -infinity.
  std::int32_t sample(std::span<const float> logits, std::int64_t sequence,
                      std::int64_t step) const;
  /// The uniform number in [0, 1) that decides this token.
  double draw(std::int64_t sequence, std::int64_t step) const;
  const Sampling& sampling() const { return sampling_; }

 private:
  Sampling sampling_;
};

}  // namespace vramplan
