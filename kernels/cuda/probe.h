#pragma once
// What this build and this machine know of CUDA devices. Free of CUDA headers.
#include <string>
#include <vector>

#include "modelcards/units.h"

namespace vramplan::cuda {

struct DeviceFacts {
  std::string name;
  Bytes total, free;  // as the driver reports them (cudaMemGetInfo)
  int multiprocessors = 0;
};

struct Probe {
  bool built = false;    // compiled with a CUDA toolkit
  std::string why_none;  // in words, when there is no device
  std::vector<DeviceFacts> devices;
};

/// Creates a context on each device it describes. Never throws: "no device" is an answer.
Probe probe();

}  // namespace vramplan::cuda
