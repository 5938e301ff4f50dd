#pragma once
// FreshProcess: starts this very program again to see what it holds before it opens anything.
#include "modelcards/units.h"

namespace vramplan::cli {

/// Median Rss of several starts of this executable. Errors: kIo when it cannot be started.
Bytes fresh_process_base();

}  // namespace vramplan::cli
