#pragma once
// run_cuda_replicas: one plan in several processes at the same time on one GPU, over one copy of
// the weights.
#include <functional>
#include <memory>

#include "executor/engine.h"
#include "kernels/cuda/kernel_table.h"
#include "kernels/cuda/runtime.h"

namespace vramplan {

using MakeCudaRuntime = std::function<std::unique_ptr<cuda::Runtime>()>;

/// Forks `decisions.replicas` processes; this one calls nothing of the driver, before or after: a
/// process that was forked from one that did cannot use it. Each makes its context; the first loads
/// the weights and hands their memory out, the others open it; all run the whole plan. What the
/// driver lost is looked at while all hold everything. Only the first gives its tokens and progress
/// away. Errors: see run_plan and ReplicaGroup.
Measurement run_cuda_replicas(const Decisions& decisions, const ModelSource& source,
                              const DeviceCard& device, const RunRequest& request,
                              const MakeCudaRuntime& make_runtime,
                              const cuda::KernelTable* kernels);
/// On the machine's own driver.
Measurement run_cuda_replicas(const Decisions& decisions, const ModelSource& source,
                              const DeviceCard& device, const RunRequest& request);

/// What a process of its own sees, so that this one can still fork others that use the driver.
struct CudaDevicesSeen {
  std::int64_t count = 0;
  std::string first, why_none;
};
CudaDevicesSeen cuda_devices_seen();

}  // namespace vramplan
