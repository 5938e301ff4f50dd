#pragma once
// Replicas: processes that each run the whole plan over one read-only copy of the weights: what is
// counted once, and what once a replica. What goes with them: check_replicas in decisions.h; what
// one has of the machine: shared_by in the device card.
#include <vector>

#include "modelcards/device_card.h"
#include "planner/decisions.h"
#include "planner/ledger.h"

namespace vramplan {

/// Rows of one process as those of all: weights, their padding and the parent's own rows count
/// once; cache and activations once a replica, as does what the row added here is for.
void add_up_replicas(std::vector<LedgerRow>& rows, const DeviceCard& device, std::int64_t replicas);

}  // namespace vramplan
