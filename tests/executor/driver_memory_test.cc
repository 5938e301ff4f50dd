#include "executor/driver_memory.h"

#include <gtest/gtest.h>

#include "tests/fake_cuda/fake_runtime.h"

namespace vramplan {
namespace {

using namespace literals;

TEST(DriverMemory, GrowthOfThisProcessIsToldApartFromTenants) {
  for (const bool nvml : {true, false}) {
    cuda::FakeDevice device;
    device.nvml = nvml;
    cuda::FakeRuntime runtime({device});
    DriverMemory driver(runtime, 0);
    runtime.use_device(0);
    EXPECT_EQ(driver.look("context"), device.context);
    runtime.tenant_at(runtime.calls() + 1, 7_GiB);
    void* const data = runtime.allocate(3_MiB);
    const Bytes grown = driver.look("three MiB");
    EXPECT_EQ(grown, nvml ? 4_MiB : 4_MiB + 7_GiB) << "pages of 2 MiB; without NVML all is ours";
    EXPECT_EQ(driver.last().others, nvml ? 7_GiB : 0_B);
    EXPECT_EQ(driver.named_others().size(), nvml ? 1U : 0U);
    EXPECT_EQ(driver.last().total, driver.last().free + driver.last().ours + driver.last().others);
    runtime.release(data);
  }
}

TEST(DriverMemory, TenantsFromBeforeAreNotOurs) {
  cuda::FakeRuntime runtime;
  runtime.tenant_at(0, 5_GiB);
  DriverMemory driver(runtime, 0);
  EXPECT_EQ(driver.last().others, 5_GiB);
  runtime.use_device(0);
  EXPECT_EQ(driver.look("context"), cuda::FakeDevice{}.context);
  EXPECT_NE(driver.named_others().front().find("another-tenant"), std::string::npos);
}

}  // namespace
}  // namespace vramplan
