#pragma once
// KernelCost: seconds of one kernel of a served model on an NVIDIA device, fitted to kernels timed
// alone (planner/engines/tables/kernels.yaml, written by bench/accuracy/kernel_fit.py). By
// operation, engine, device and format. What a served step adds to them is in planner/serving.h.
#include <cstdint>
#include <string>

#include "modelcards/device_card.h"
#include "planner/engines/engine_table.h"

namespace vramplan {

enum class KernelOp : std::uint8_t {
  kGemm,              // [m, k] x [k, n]; x = k
  kAttentionPrefill,  // causal; flops of half the square; x = tokens x heads x head_dim
  kAttentionDecode,   // bytes = the cache read; x = sequences x heads x head_dim
  kLatentPrefill,     // MLA; x = tokens x heads
  kLatentDecode,      // MLA, absorbed; x = sequences x heads
  kExperts,           // gate, up and down; bytes of the experts reached; x = rows x hidden
  kAllReduce,         // a 16-bit tensor over `ranks`; bytes that one rank moves over its link
};
/// "gemm" "attention_prefill" ...: the words of the data file.
const char* name_of(KernelOp op);

struct KernelCost {
  double call_s = 0, each_s = 0;  // a call; a unit of x
  double memory = 1, compute = 1, power = 1;
  double error = 0;   // median share of the error on shapes held out of the fit
  std::string dtype;  // of the row that was taken
  std::string source;
  bool other_device = false;  // taken from a device of the same generation

  /// call_s + each_s x + ((bytes_s / memory)^power + (flops_s / compute)^power)^(1 / power), where
  /// bytes_s and flops_s are bytes / data-sheet bandwidth and flops / data-sheet peak.
  double seconds(double bytes_s, double flops_s, double x) const;
  /// The same without call_s.
  double work_seconds(double bytes_s, double flops_s, double x) const;
};

/// The row of (op, engine, device, dtype, ranks). A device without rows takes those of the H200, or
/// of the B200 when its card has fp4, at its own bandwidth and peaks. A dtype without rows takes
/// bf16's. ranks: 2, 4 or 8 and more for all-reduce, else 1. Errors: kUnsupported when the engine
/// has none.
KernelCost kernel_cost(KernelOp op, EngineKind engine, const DeviceCard& device,
                       const std::string& dtype, int ranks = 1);

}  // namespace vramplan
