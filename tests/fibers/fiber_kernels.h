#pragma once
// FiberKernels: the sources of the device's kernels, run by the fiber runtime when their turn comes
// on a stream of the fake CUDA runtime.
#include "kernels/cuda/kernel_table.h"

namespace vramplan::cuda {

/// Every launch goes to the stream it names, from now on.
const KernelTable& fiber_kernels();

}  // namespace vramplan::cuda
