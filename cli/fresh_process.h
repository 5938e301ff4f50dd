#pragma once
// FreshProcess: starts this very program again to see what it holds before it opens a model.
#include "modelcards/units.h"

namespace vramplan::cli {

struct FreshProcess {
  Bytes base;     // resident_after_warm_up
  Bytes replica;  // own_bytes_of_replica
};

/// Medians over several starts. Errors: kIo when it cannot be started.
FreshProcess measure_fresh_process(int threads);

}  // namespace vramplan::cli
