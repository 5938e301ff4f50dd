#pragma once
// MixReport: a study of mixes, of the KV cache or of the weights, as text and as JSON (schema
// vramplan.mix/1).
#include <string>

#include "planner/mix_study.h"
#include "reports/text_table.h"

namespace vramplan::cli {

/// The flags that give a plan this mix: "--kv-cache-dtype kivi2 --kv-layers 0-1:f16", or of weights
/// "--weight-layers 0-3:q8_0".
std::string mix_flags(const Decisions& decisions, bool weights);

struct MixReport {
  const MixAnswer& answer;
  std::string model;
  std::int64_t tokens = 0;  // of the text
  bool weights = false;     // formats are those of the weights, not of the cache
  Elements parameters;
  Decisions found;  // of the mix that was found, settled
  Decisions base;
};

std::string mix_json(const MixReport& report);
std::string mix_text(const MixReport& report, const TextOptions& options);

}  // namespace vramplan::cli
