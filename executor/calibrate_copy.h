#pragma once
// CalibrateCopy: how fast one thread copies within this machine's memory, and what is left of a
// transfer's speed while all threads compute: what streams of weights and caches live on.
#include <functional>
#include <span>

#include "executor/clock.h"
#include "kernels/ops.h"

namespace vramplan {

struct CopySpeed {
  double bytes_per_s = 0;  // bytes copied, each read once and written once; 0 = not measured
  double overlap = 0;      // of it, beside computing: 0 = all of it is waited for, 1 = nothing is
};

/// A copier goes through `memory` room by room, alone and beside computing. Medians of `rounds`. A
/// clock that stands still measures nothing.
CopySpeed measure_copy(Ops& ops, const Clock& clock, std::span<std::byte> memory, int rounds);

/// A transfer that a thread of its own makes, and what computing leaves of it.
struct BesideComputing {
  double seconds = 0;  // of the transfer alone; 0 = not measured
  double overlap = 0;
};
/// `transfer` and `ops` multiplying weights of one token, which lie in `weights`, each for as long
/// as the other takes alone. With c seconds of computing, d of the transfer and t of both together
/// the overlap is (c + d - t) / c: what a plan that adds up the rest must hide to be right. Medians
/// of `rounds`.
BesideComputing measure_beside(Ops& ops, const Clock& clock, std::span<std::byte> weights,
                               int rounds, const std::function<void()>& transfer);

}  // namespace vramplan
