#pragma once
// Capacity: what fits. The exact inverse of the account: the largest context, batch and number of
// cached tokens that still fit.
#include "planner/account.h"

namespace vramplan {

/// max_context at this batch and max_sequences at this context: largest value whose plan fits, the
/// next one does not; 0 when the smallest does not fit. kv_tokens: blocks that fit beside all the
/// rest, in tokens, over all sequences. kv_equals_weights: tokens, over all sequences, whose KV
/// reaches the weight bytes of the whole model: ceil(weight_bytes / kv_bytes_per_token), 0 without
/// a cache. The memory's limits, whatever context the model was trained for.
Capacity find_capacity(const std::vector<StageAccount>& stages, const Decisions& decisions,
                       DeviceKind kind, const Totals& totals);

}  // namespace vramplan
