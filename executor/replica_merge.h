#pragma once
// ReplicaMerge: what several processes over one copy of the weights saw, as one measurement.
#include <cstdint>
#include <vector>

#include "executor/measurement.h"

namespace vramplan {

/// Where replicas run: on a GPU each has a context, graphs and workspaces of its own as well.
enum class ReplicasOn : std::uint8_t { kCpu, kGpu };

/// Rows of one rank in each replica, as those of all: weights and their padding once, cache and
/// activations added up, and of other rows those of the first. Errors: kInternal when replicas saw
/// different weights or different rows. On a GPU f32 vectors count once, too, and all else but what
/// the processes were before they were forked (process base, tokenizer) adds up.
Ledger added_up(const std::vector<Ledger>& replicas, ReplicasOn on = ReplicasOn::kCpu);

/// Times are means, tokens and rates are sums. Errors: kInternal when replicas made different
/// numbers of steps.
Timings together(const std::vector<Timings>& replicas);

/// Samples of the same moments: bytes added up, `weights` of them counted once; the resident bytes
/// of `parent` beside those of the replicas.
std::vector<MemorySample> together(const std::vector<std::vector<MemorySample>>& replicas,
                                   Bytes weights, Bytes parent);

}  // namespace vramplan
