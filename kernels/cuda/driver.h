#pragma once
// Driver: which runtime and kernels this program uses for CUDA: the machine's own, or a test's.
#include <functional>
#include <memory>

#include "kernels/cuda/kernel_table.h"
#include "kernels/cuda/runtime.h"

namespace vramplan::cuda {

struct Driver {
  std::function<std::unique_ptr<Runtime>()> make_runtime;  // errors: kNoDevice
  std::function<const KernelTable*()> kernels;             // null: the build has none
};

/// The one of this program; set before main by programs of tests only.
Driver& driver();

}  // namespace vramplan::cuda
