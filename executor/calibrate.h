#pragma once
// Calibrate: measures this machine into a device card: memory it can hand out, streaming read
// bandwidth, and a cost line for each operation of the cpu backend. Every number is "measured" and
// says on what and when.
#include <string>
#include <vector>

#include "executor/calibrate_ops.h"
#include "executor/clock.h"
#include "executor/measurement.h"
#include "kernels/ops.h"
#include "modelcards/device_card.h"

namespace vramplan {

/// What the operating system says about the machine. Unknown numbers are 0.
struct MachineFacts {
  Environment environment;  // cpu, kernel, commit and time go into the source of every number
  Bytes available;          // what a new process could take now
  Bytes total;              // MemTotal
  Bytes last_level_cache;
  int cores = 1;  // that this process may run on
};
MachineFacts machine_facts();

struct CalibrationRequest {
  int threads = 1;
  bool quick = false;
  Bytes process_base;          // resident bytes of a fresh process of the program
  Bytes replica_base;          // own pages of a process forked from it; 0 = not measured
  std::string disk_directory;  // whose disk becomes a link of the card; empty = none
  RowSampler sample_rows;      // empty: greedy, as a run does it
  RowSampler sample_beams;     // empty: a beam a row, as a run does it
  Ops* unrounded = nullptr;    // see CalibrationEffort
  CalibrationProgress progress;
};

struct Calibration {
  DeviceCard card;
  std::vector<CalibratedOp> ops;  // the fits behind card.op_costs
};

/// The card of a machine with these facts, timed with this clock. Errors: kBadCard when the clock
/// showed nothing (all medians zero).
Calibration calibrate(const MachineFacts& machine, Ops& ops, const Clock& clock,
                      const CalibrationRequest& request);
/// This machine: make_cpu_backend, the real clock.
Calibration calibrate_this_machine(const CalibrationRequest& request);

/// Median rate of reading `pool` bytes once with all threads.
double streaming_bytes_per_s(Bytes pool, int threads, const Clock& clock, int repetitions);

}  // namespace vramplan
