#pragma once
// GemmLt: matrix products by cuBLASLt, with the workspace it is given and never one of its own. The
// library is opened when first needed, so that a program that never multiplies on a device does not
// carry it. Only in builds with the toolkit.
#include <memory>

#include "kernels/cuda/runtime.h"

namespace vramplan::cuda {

class GemmLt {
 public:
  virtual ~GemmLt() = default;
  virtual void run(Stream stream, const Gemm& call) = 0;
};

/// Errors: kUnsupported when the library cannot be opened, kIo when it makes no handle.
std::unique_ptr<GemmLt> make_gemm_lt();

}  // namespace vramplan::cuda
