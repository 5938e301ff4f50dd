#pragma once
// run_cuda: one rank on one GPU, with the driver's word on memory at every step.
#include "executor/engine.h"
#include "kernels/cuda/kernel_table.h"
#include "kernels/cuda/runtime.h"

namespace vramplan {

struct CudaReplica;

/// Steps: the device is looked at from outside; context; GEMM handle; need; one reservation;
/// weights; passes; each growth of this process goes to a row: `context`, `modules` (library handle
/// and kernels, which load at their first launch), `graphs`, and what the reservation took beyond
/// its tensors, `arena rounding`. Errors: see run_plan; kStalePlan when the driver has less free
/// memory than the plan takes; kNoDevice. `replica`: when this is one of several processes; then
/// rows are its own, and of the first `process_peak` is what the driver lost to all of them.
Measurement run_cuda(const Decisions& decisions, const ModelSource& source,
                     const DeviceCard& device, const RunRequest& request, cuda::Runtime& runtime,
                     const cuda::KernelTable& kernels, const CudaReplica* replica = nullptr);
/// On the machine's own driver. Errors: kNoDevice; kUnsupported for a build without kernels.
Measurement run_cuda(const Decisions& decisions, const ModelSource& source,
                     const DeviceCard& device, const RunRequest& request);

}  // namespace vramplan
