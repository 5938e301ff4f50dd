#include "bench/techniques/quality.h"

#include <algorithm>
#include <cmath>
#include <cstddef>

namespace vramplan {
namespace {

struct Distribution {
  std::vector<double> log_probability;  // [vocab]
};

Distribution log_softmax(const float* logits, std::size_t vocab) {
  double largest = logits[0];
  for (std::size_t i = 1; i < vocab; ++i) largest = std::max<double>(largest, logits[i]);
  double sum = 0;
  for (std::size_t i = 0; i < vocab; ++i) sum += std::exp(logits[i] - largest);
  const double shift = largest + std::log(sum);
  Distribution out;
  out.log_probability.resize(vocab);
  for (std::size_t i = 0; i < vocab; ++i) out.log_probability[i] = logits[i] - shift;
  return out;
}

}  // namespace

Quality compare(const std::vector<float>& logits, const std::vector<float>& base,
                const std::vector<std::int32_t>& ids) {
  const std::size_t vocab = logits.size() / ids.size(), positions = ids.size() - 1;
  Quality quality;
  for (std::size_t t = 0; t < positions; ++t) {
    const Distribution p = log_softmax(&base[t * vocab], vocab);
    const Distribution q = log_softmax(&logits[t * vocab], vocab);
    double divergence = 0;
    for (std::size_t i = 0; i < vocab; ++i) {
      const double weight = std::exp(p.log_probability[i]);
      divergence += weight * (p.log_probability[i] - q.log_probability[i]);
    }
    quality.mean_divergence += divergence / static_cast<double>(positions);
    quality.worst_divergence = std::max(quality.worst_divergence, divergence);
    const auto best = [](const Distribution& d) {
      return std::max_element(d.log_probability.begin(), d.log_probability.end()) -
             d.log_probability.begin();
    };
    if (best(p) == best(q)) quality.same_best += 1.0 / static_cast<double>(positions);
    quality.perplexity -=
        q.log_probability[static_cast<std::size_t>(ids[t + 1])] / static_cast<double>(positions);
  }
  quality.perplexity = std::exp(quality.perplexity);
  return quality;
}

}  // namespace vramplan
