#pragma once
// TraceJson: a trace in the format of Chrome's trace viewer, which Perfetto reads too.
#include <string>

#include "executor/trace.h"

namespace vramplan {

/// The JSON object format of the Trace Event Format: complete events ("X") for passes, operations
/// and transfers, one thread a track, and counters ("C") of live bytes; microseconds from the first
/// event on.
std::string trace_json(const Trace& trace, const std::string& name);

}  // namespace vramplan
