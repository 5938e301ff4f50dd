#pragma once
// HostKernels: the kernels of kernels/cuda/kernels.h as plain calls of the CPU operations in f32 on
// the fake's memory, run when their turn on the stream comes. With f32 activations the results are
// the cpu backend's to the bit.
#include "kernels/cuda/kernel_table.h"

namespace vramplan::cuda {

const KernelTable& host_kernels();

}  // namespace vramplan::cuda
