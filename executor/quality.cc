#include "executor/quality.h"

#include <algorithm>
#include <cmath>
#include <cstddef>
#include <utility>

#include "executor/prompt_engine.h"

namespace vramplan {
namespace {

double log_sum(const float* logits, std::size_t vocab) {
  const float largest = *std::max_element(logits, logits + vocab);
  double sum = 0;
  for (std::size_t i = 0; i < vocab; ++i) sum += static_cast<double>(std::exp(logits[i] - largest));
  return static_cast<double>(largest) + std::log(sum);
}

}  // namespace

QualityBase::QualityBase(const std::vector<float>& logits, std::vector<std::int32_t> ids)
    : ids_(std::move(ids)), vocab_(logits.size() / ids_.size()) {
  VRAMPLAN_CHECK(ids_.size() >= 2 && logits.size() == ids_.size() * vocab_ && vocab_ > 0);
  log_probability_.resize((ids_.size() - 1) * vocab_);
  for (std::size_t t = 0; t + 1 < ids_.size(); ++t) {
    const float* const row = &logits[t * vocab_];
    const double shift = log_sum(row, vocab_);
    for (std::size_t i = 0; i < vocab_; ++i) {
      log_probability_[t * vocab_ + i] = static_cast<float>(static_cast<double>(row[i]) - shift);
    }
    const double next = static_cast<double>(row[static_cast<std::size_t>(ids_[t + 1])]) - shift;
    itself_.perplexity -= next / static_cast<double>(ids_.size() - 1);
  }
  itself_.perplexity = std::exp(itself_.perplexity);
  itself_.same_best = 1;
}

TextQuality QualityBase::compare(const std::vector<float>& logits) const {
  VRAMPLAN_CHECK(logits.size() == ids_.size() * vocab_);
  const std::size_t positions = ids_.size() - 1;
  const double share = 1.0 / static_cast<double>(positions);
  TextQuality quality;
  for (std::size_t t = 0; t < positions; ++t) {
    const float* const p = &log_probability_[t * vocab_];
    const float* const q = &logits[t * vocab_];
    const double shift = log_sum(q, vocab_);
    double divergence = 0;
    for (std::size_t i = 0; i < vocab_; ++i) {
      const double difference = static_cast<double>(p[i]) - static_cast<double>(q[i]) + shift;
      divergence += static_cast<double>(std::exp(p[i])) * difference;
    }
    quality.mean_divergence += divergence * share;
    quality.worst_divergence = std::max(quality.worst_divergence, divergence);
    if (std::max_element(p, p + vocab_) - p == std::max_element(q, q + vocab_) - q) {
      quality.same_best += share;
    }
    quality.perplexity -=
        (static_cast<double>(q[static_cast<std::size_t>(ids_[t + 1])]) - shift) * share;
  }
  quality.perplexity = std::exp(quality.perplexity);
  return quality;
}

TextQuality compare(const std::vector<float>& logits, const std::vector<float>& base,
                    const std::vector<std::int32_t>& ids) {
  return QualityBase(base, ids).compare(logits);
}

/// An engine for the shortest prompt, which is there for its weights.
struct PromptRuns::Loaded {
  const ModelSource& source;
  Backend& backend;
  bool random_weights;
  Decisions decisions;
  PromptEngine engine;
  SharedWeights weights;

  Loaded(const Decisions& given, const ModelSource& of, Backend& on, bool random)
      : source(of),
        backend(on),
        random_weights(random),
        decisions(given),
        engine(decisions, of, on, 1, {random, nullptr}),
        weights(engine.engine().shared_weights()) {}
};

PromptRuns::PromptRuns(const Decisions& decisions, const ModelSource& source, Backend& backend,
                       bool random_weights)
    : loaded_(std::make_unique<Loaded>(decisions, source, backend, random_weights)) {}

PromptRuns::~PromptRuns() = default;

std::vector<float> PromptRuns::logits(const Decisions& decisions,
                                      std::span<const std::int32_t> prompt) {
  PromptEngine engine(decisions, loaded_->source, loaded_->backend,
                      static_cast<std::int64_t>(prompt.size()),
                      {loaded_->random_weights, &loaded_->weights});
  return engine.logits(prompt);
}

}  // namespace vramplan
