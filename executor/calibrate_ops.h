#pragma once
// CalibrateOps: times single operations of Ops on memory larger than the last-level cache and fits
// one cost line per operation and format. Needs an Ops whose calls return when they are done (cpu).
#include <cstdint>
#include <functional>
#include <string>
#include <vector>

#include "executor/clock.h"
#include "executor/cost_fit.h"
#include "kernels/ops.h"
#include "modelcards/device_card.h"

namespace vramplan {

/// Chooses a token from each row of f32 logits, on the host.
using RowSampler = std::function<void(TensorView logits)>;

struct CalibrationEffort {
  Bytes pool;                   // weights and caches rotate through this much memory
  int rounds = 3;               // each point again, the length of a round later; the median counts,
                                // and two that agree are enough
  double point_seconds = 0.01;  // repetitions of one point in one round stop after this
  int least_repetitions = 5;
  int most_repetitions = 41;
  double spread = 0.03;       // or when their middle half lies within this share of the median
  double total_seconds = 45;  // from then on (a busy machine) one repetition a point
  bool quick = false;         // every second point
  Ops* unrounded = nullptr;   // linears whose inputs stay f32; null = no lines of them
  RowSampler sample_beams;    // empty: no line of it
};

/// One fitted line and how well it went through its points.
struct CalibratedOp {
  OpCost cost;
  CostFit fit;
  std::vector<CostPoint> points;  // what the line was fitted to
};

using CalibrationProgress = std::function<void(const std::string& stage, double fraction)>;

/// linear and linear_decode per weight format, linear_f32 and linear_f32_decode per format that
/// rounds inputs otherwise; attention_decode, attention_prefill and kv_write per
/// KV format, attention_history_decode and _prefill per format that needs a residual window; norm,
/// rope, activation, add, embed, sample and sample_beams for "any". The work of a call is what
/// planner/latency.h says it is.
std::vector<CalibratedOp> calibrate_ops(Ops& ops, const Clock& clock,
                                        const CalibrationEffort& effort,
                                        const RowSampler& sample_rows,
                                        const CalibrationProgress& progress);

/// Median of the seconds of call(i), i counting up; short calls are timed in batches. Repetitions
/// end when they agree or their time is over, see CalibrationEffort.
double time_call(const Clock& clock, const CalibrationEffort& effort,
                 const std::function<void(std::int64_t)>& call);

}  // namespace vramplan
