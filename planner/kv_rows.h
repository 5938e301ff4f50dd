#pragma once
// KvRows: the rows of a rank's KV cache, each with its arithmetic in words and numbers.
#include <string>
#include <vector>

#include "planner/ledger.h"
#include "planner/weights.h"

namespace vramplan {

/// The rows of planner/README.md. Where layers have formats of their own, `blocks` and `window
/// blocks` are a row a format: "blocks int8".
std::vector<LedgerRow> kv_rows(const RankModel& model, const Decisions& decisions);

/// "2 x 80 layers x 8 kv heads x 128 x 2 B = 327,680 B/token"
std::string kv_formula(const RankModel& model, const Decisions& decisions);

}  // namespace vramplan
