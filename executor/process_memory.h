#pragma once
// ProcessMemory: what the operating system says this process holds. Nothing is computed from our
// own accounts here; that is the point of it.
#include <string>

#include "modelcards/units.h"

namespace vramplan {

struct ProcessSample {
  Bytes resident;      // Rss of all mappings; 0 = not measured
  Bytes proportional;  // Pss: shared pages divided by their users
  Bytes peak;          // highest Rss since the start or the last reset (VmHWM)
  Bytes own = {};      // pages that no other process has: Private_Clean + Private_Dirty
};

class ProcessMemory {
 public:
  virtual ~ProcessMemory() = default;
  virtual ProcessSample now() const = 0;
  /// Starts a new peak at the present resident bytes. False when the system has no such reset.
  virtual bool reset_peak() = 0;
};

/// /proc/self/smaps_rollup (exact sums) and /proc/self/status of this process.
ProcessMemory& this_process_memory();

/// Rss, Pss and own pages of another process of this user; all 0 when it cannot be read.
ProcessSample memory_of_process(int pid);

/// Rss, Pss and own pages of the text of a smaps_rollup file; fields that are missing or broken
/// stay 0.
ProcessSample parse_smaps_rollup(const std::string& text);
/// A "name:   123 kB" line of a /proc file, 0 when missing or broken.
Bytes parse_kib_field(const std::string& text, const std::string& name);

/// Bytes a new process could still take on this machine: MemAvailable, or what is left of the
/// control group's limit when that is less; 0 when unknown.
Bytes machine_available();

}  // namespace vramplan
