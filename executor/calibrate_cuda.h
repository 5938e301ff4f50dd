#pragma once
// CalibrateCuda: measures a GPU into a device card: what the driver hands out, context size, rates
// of memory, bus and matrix products, spacing of small kernels in a graph, and a cost line for each
// operation of the cuda backend. Every number is "measured" and says on what and when.
#include "executor/calibrate.h"
#include "executor/calibrate_gpu_ops.h"

namespace vramplan {

struct GpuCalibrationRequest {
  int device = 0;
  bool quick = false;
  double total_seconds = 50;  // from then on points are left out, a line keeps at least its first
  std::int64_t graph_nodes = 8192;  // of the graph whose bytes are looked at: 80 MiB, or 40 pages
  GpuBenchOptions bench;
  CalibrationProgress progress;
};

/// Errors: kNoDevice; kOutOfPlan when the pool does not fit beside other processes; kBadCard when
/// the events showed nothing.
Calibration calibrate_cuda(cuda::Runtime& runtime, const cuda::KernelTable& kernels,
                           const Environment& environment, const GpuCalibrationRequest& request);

}  // namespace vramplan
