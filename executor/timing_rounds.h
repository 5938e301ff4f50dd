#pragma once
// Timing rounds: a short run measured several times. One prefill of 100 ms may fall into a
// neighbour's burst on a shared machine; the median of rounds some seconds apart does not.
#include <vector>

#include "executor/measurement.h"

namespace vramplan {

/// Of rounds of one plan: medians of load, TTFT, prefill and both rates; TPOT the median of the
/// steps of all rounds; terms by operation from the round of median prefill and of median decode,
/// so that they add up to a time that was seen. Counts are those of one round: the rounds must
/// agree in them. Empty rounds give empty timings. Errors: kInternal when the counts differ.
Timings median_of_rounds(const std::vector<Timings>& rounds);

}  // namespace vramplan
