#pragma once
// MeasurementWire: a measurement as bytes, for another process of the same program on the same
// machine: nothing that is kept, so without a version.
#include <string>

#include "executor/measurement.h"

namespace vramplan {

/// Rows, samples, peak, capacity, timings, output, scores, counts, the machine and text.
std::string packed_measurement(const Measurement& measurement);
/// Errors: kInternal when the bytes end early or go on.
Measurement unpacked_measurement(const std::string& bytes);

}  // namespace vramplan
