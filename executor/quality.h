#pragma once
// Quality: what a text loses when its logits are computed over another cache.
#include <cstdint>
#include <memory>
#include <span>
#include <string>
#include <vector>

#include "executor/backend.h"
#include "modelcards/model_source.h"

namespace vramplan {

struct TextQuality {
  double perplexity = 0;                             // of the text
  double mean_divergence = 0, worst_divergence = 0;  // KL from the base's distribution, nats
  double same_best = 0;                              // share of positions, 0 to 1
};

/// Distributions to compare with, made once: every position but the last predicts the next id.
class QualityBase {
 public:
  /// `logits` [ids, vocab].
  QualityBase(const std::vector<float>& logits, std::vector<std::int32_t> ids);
  /// Of other logits [ids, vocab].
  TextQuality compare(const std::vector<float>& logits) const;
  /// Of the base: its perplexity, and nothing lost.
  const TextQuality& itself() const { return itself_; }

 private:
  std::vector<std::int32_t> ids_;
  std::size_t vocab_;
  std::vector<float> log_probability_;  // [ids - 1, vocab]
  TextQuality itself_;
};

/// `logits` against `base`, both [ids, vocab].
TextQuality compare(const std::vector<float>& logits, const std::vector<float>& base,
                    const std::vector<std::int32_t>& ids);

/// Prompts over one copy of the weights, each with a cache of its own choice.
class PromptRuns {
 public:
  /// Loads the weights. Errors: those of prompt_logits. All arguments must outlive it.
  PromptRuns(const Decisions& decisions, const ModelSource& source, Backend& backend,
             bool random_weights);
  ~PromptRuns();
  /// As prompt_logits; `decisions` may differ from the first in what is about the KV cache and in
  /// the prefill chunk.
  std::vector<float> logits(const Decisions& decisions, std::span<const std::int32_t> prompt);

 private:
  struct Loaded;
  std::unique_ptr<Loaded> loaded_;
};

}  // namespace vramplan
