#pragma once
// Setting: a model, a text and a device card, and plans that are run on them at once.
#include <cstdint>
#include <memory>
#include <string>
#include <vector>

#include "executor/engine.h"
#include "executor/tokenizer.h"
#include "modelcards/device_card.h"
#include "planner/plan.h"
#include "reports/run_record.h"

namespace vramplan {

constexpr Tokens kChunk{128};  // of a prefill, so that every technique sees chunks before it

/// One sequence over an f16 cache, prefilled in chunks.
PlanRequest base_request();

/// A plan and the run of it.
struct PlannedRun {
  Plan plan;
  Measurement measurement;

  static Bytes cache(const Ledger& ledger) {
    return ledger.sum(0, TierKind::kDevice, Category::kKvCache);
  }
  Bytes predicted() const { return cache(plan.predictions.ledger); }
  Bytes observed() const { return cache(measurement.observed); }
};

struct Setting {
  ModelSource source;
  DeviceCard device;
  std::unique_ptr<Tokenizer> tokenizer;
  std::vector<std::int32_t> ids;  // of the text

  /// `text`: a path. Errors: kUsage for a text below 1,100 tokens; those of open_model.
  Setting(const std::string& model, const std::string& text, const std::string& device_name);

  std::vector<std::int32_t> first(std::size_t count) const;
  Plan plan_of(PlanRequest request, std::int64_t prompt, std::int64_t output) const;
  /// On the cpu backend, greedy. Prompts are of one length.
  PlannedRun run_of(const PlanRequest& request, std::vector<std::vector<std::int32_t>> prompts,
                    std::int64_t output) const;
  /// Random prompts of `context` - `output` tokens, judged; times are medians of `rounds` runs.
  RunRecord record_of(const PlanRequest& request, std::int64_t context, std::int64_t output,
                      int rounds) const;
};

/// A card of the library with changes, and random weights.
ModelSource shape_of(const std::string& model, const std::vector<std::string>& changes);

}  // namespace vramplan
