#pragma once
// FreshProcess: starts this very program again to see what it holds before it opens a model.
#include "modelcards/units.h"

namespace vramplan::cli {

/// Median over several starts of resident_after_warm_up. Errors: kIo when it cannot be started.
Bytes fresh_process_base(int threads);

}  // namespace vramplan::cli
