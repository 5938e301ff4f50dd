#pragma once
// Replicas: processes that each run the whole plan over one read-only copy of the weights: what is
// counted once, and what once a replica. What goes with them: check_replicas in decisions.h; what
// one has of the machine: shared_by in latency.h.
#include <vector>

#include "modelcards/device_card.h"
#include "planner/decisions.h"
#include "planner/latency.h"
#include "planner/ledger.h"

namespace vramplan {

/// What a replica's process holds of its own besides tensors and blocks where a card says nothing:
/// pages of the heap, libraries' data and stacks that a forked process writes. Seen as 0.38 MiB
/// with 1 thread on a 64-bit Linux; allocators differ.
inline constexpr Bytes kReplicaBase{1 << 20};
/// Rows of one process as those of all: weights, their padding and the parent's own rows count
/// once; cache and activations once a replica, as does what the row added here is for.
void add_up_replicas(std::vector<LedgerRow>& rows, const DeviceCard& device, std::int64_t replicas);

}  // namespace vramplan
