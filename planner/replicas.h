#pragma once
// Replicas: processes that each run the whole plan over one read-only copy of the weights: what is
// counted once, what once a replica, and what of the machine is left for one of them.
#include <vector>

#include "modelcards/device_card.h"
#include "planner/decisions.h"
#include "planner/ledger.h"

namespace vramplan {

/// Most processes of a run.
inline constexpr std::int64_t kMostReplicas = 256;

/// What a replica's process holds of its own besides tensors and blocks: `replica_base_bytes` of
/// the card, or where it says nothing this many: pages of the heap, libraries' data and stacks that
/// a forked process writes. Measured as 0.9 to 1.6 MiB with 1 to 2 threads on a 64-bit Linux.
inline constexpr Bytes kReplicaBase{3 << 19};
Bytes replica_base(const DeviceCard& device);

/// Errors: kUnsupported naming what several processes do not do over one copy: a GPU, ranks, a
/// cache, matrices or hidden states beyond the device.
void check_replicas(const Decisions& decisions, DeviceKind kind);

/// Rows of one process as those of all: weights, their padding and the parent's own rows count
/// once; cache and activations once a replica, as does what the row added here is for.
void add_up_replicas(std::vector<LedgerRow>& rows, const DeviceCard& device, std::int64_t replicas);

/// The machine as one of `replicas` that all compute sees it: cores and memory are shared, so that
/// bytes and flops take that many times as long; a call does not.
DeviceCard shared_by(const DeviceCard& device, std::int64_t replicas);

}  // namespace vramplan
