#pragma once
// CalibrateDisk: a directory's disk as a link of a device card, timed as a cache beyond the device
// uses it: through the same file, queue, requests and checks.
#include <span>
#include <string>

#include "executor/clock.h"
#include "kernels/ops.h"
#include "modelcards/device_card.h"

namespace vramplan {

struct DiskTiming {
  std::string directory;
  Bytes size;                    // of scratch, written and read back
  int rounds = 9;                // medians of them
  std::span<std::byte> weights;  // what computes beside the disk reads
};

/// Seconds of a layer's blocks coming in: latency_s + bytes / bytes_per_s, from transfers of two
/// sizes. What a layer's new blocks add on their way out, while others come in, the same way in
/// write_latency_s and write_bytes_per_s. `overlap`: see measure_beside. Errors: those of
/// BlockFile.
Link measure_disk(Ops& ops, const Clock& clock, const DiskTiming& timing,
                  const std::string& source);

}  // namespace vramplan
