#pragma once
// WarmUp: what this program holds once it has run something: code pages, threads, the allocator's
// own memory. That, not the size of an idle process, is what a run's tensors come on top of.
#include "modelcards/units.h"

namespace vramplan::cli {

/// Plans and runs a tiny random model on the cpu backend with `threads` threads, gives everything
/// back, and says how much of this process is resident then. calibrate puts it into the device
/// card, run and verify observe it in their own process before they open the model.
Bytes resident_after_warm_up(int threads);

/// Pages of its own that a process forked after that holds once it has run the tiny model, too:
/// what a replica takes besides its tensors and blocks.
Bytes own_bytes_of_replica(int threads);

}  // namespace vramplan::cli
