#pragma once
// CalibrateDisk: a directory's disk as a link of a device card, timed as a cache beyond the device
// uses it: records through direct I/O, many at a time, each checked.
#include <string>

#include "executor/clock.h"
#include "modelcards/device_card.h"

namespace vramplan {

/// Writes `size` of scratch and reads it back: bytes_per_s of reading and the seconds of one record
/// alone, both medians. Errors: those of BlockFile.
Link measure_disk(const std::string& directory, Bytes size, const Clock& clock,
                  const std::string& source);

}  // namespace vramplan
