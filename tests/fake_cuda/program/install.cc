// Puts the fake runtime in the place of the driver before main: a device like the card of the H200.
#include "kernels/cuda/driver.h"
#include "tests/fake_cuda/fake_runtime.h"
#include "tests/fake_cuda/host_kernels.h"

namespace vramplan::cuda {
namespace {

FakeDevice h200() {
  FakeDevice device;
  device.capacity = Bytes{150108897280};
  device.modules = Bytes{67108864} - device.gemm;
  return device;
}

[[maybe_unused]] const bool installed = [] {
  static SharedAccount account;  // of processes that are forked from here
  driver() = {[] {
                auto runtime = std::make_unique<FakeRuntime>(std::vector<FakeDevice>{h200()});
                runtime->share(account);
                return runtime;
              },
              [] { return &host_kernels(); }};
  return true;
}();

}  // namespace
}  // namespace vramplan::cuda
