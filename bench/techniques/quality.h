#pragma once
// Quality: what a text loses when its logits are computed over another cache.
#include <cstdint>
#include <vector>

namespace vramplan {

struct Quality {
  double perplexity = 0;                             // of the text
  double mean_divergence = 0, worst_divergence = 0;  // KL from the base's distribution, nats
  double same_best = 0;                              // share of positions, 0 to 1
};

/// `logits` against `base`, both [ids, vocab]; every position but the last predicts the next id.
Quality compare(const std::vector<float>& logits, const std::vector<float>& base,
                const std::vector<std::int32_t>& ids);

}  // namespace vramplan
