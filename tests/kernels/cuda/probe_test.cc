#include "kernels/cuda/probe.h"

#include <gtest/gtest.h>

namespace vramplan::cuda {
namespace {

TEST(CudaProbe, SaysWhatIsThereOrWhyNothingIs) {
  const Probe found = probe();
  if (found.devices.empty()) {
    EXPECT_FALSE(found.why_none.empty()) << "no device must be explained in words";
  }
  for (const DeviceFacts& device : found.devices) {
    EXPECT_GT(device.total, Bytes{0});
    EXPECT_LE(device.free, device.total);
    EXPECT_GT(device.multiprocessors, 0);
  }
}

}  // namespace
}  // namespace vramplan::cuda
