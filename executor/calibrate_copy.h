#pragma once
// CalibrateCopy: how fast one thread copies within this machine's memory, and what is left of that
// while all threads compute: what streams of weights and caches live on.
#include <span>

#include "executor/clock.h"
#include "kernels/ops.h"

namespace vramplan {

struct CopySpeed {
  double bytes_per_s = 0;  // bytes copied, each read once and written once; 0 = not measured
  double overlap = 0;      // of it, beside computing: 0 = all of it is waited for, 1 = nothing is
};

/// A copier goes through `memory` room by room while `ops` multiplies weights of one token, each
/// for as long as the other takes alone. With c seconds of computing, d of copying and t of both
/// together the overlap is (c + d - t) / c: what a plan that adds up the rest must hide to be
/// right. Medians of `rounds`. A clock that stands still measures nothing.
CopySpeed measure_copy(Ops& ops, const Clock& clock, std::span<std::byte> memory, int rounds);

}  // namespace vramplan
