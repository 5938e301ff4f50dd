#include "kernels/cuda/driver.h"

namespace vramplan::cuda {

Driver& driver() {
  static Driver own{make_cuda_runtime, device_kernels};
  return own;
}

}  // namespace vramplan::cuda
