#pragma once
// PromptEngine: one rank made for one prompt of which every position's logits are wanted. Its pools
// are what the passes need, whatever a plan says.
#include <memory>
#include <span>
#include <vector>

#include "executor/rank_engine.h"

namespace vramplan {

class PromptEngine {
 public:
  struct Weights {
    bool random = false;                    // no file: seeded ones
    const SharedWeights* shared = nullptr;  // loaded before
  };
  /// Loads the weights unless they are shared. `decisions.batch` and `output` do not matter.
  /// `source` and `backend` must outlive it. Errors: kUnsupported by name, those of load_weights.
  PromptEngine(const Decisions& decisions, const ModelSource& source, Backend& backend,
               std::int64_t prompt_tokens, const Weights& weights);
  ~PromptEngine();

  /// [tokens, vocab] f32 of a prompt of that length.
  std::vector<float> logits(std::span<const std::int32_t> prompt);
  RankEngine& engine();

 private:
  struct Parts;
  std::unique_ptr<Parts> parts_;
};

}  // namespace vramplan
