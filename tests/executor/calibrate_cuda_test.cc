#include "executor/calibrate_cuda.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <set>

#include "tests/fake_cuda/fake_runtime.h"
#include "tests/fake_cuda/host_kernels.h"

namespace vramplan {
namespace {

TEST(CalibrateCuda, AFakeDeviceGivesACardThatReadsBack) {
  cuda::FakeDevice device;
  device.graph_node = Bytes{9 * 1024};
  GpuCalibrationRequest request;
  request.quick = true;
  request.bench.pool = Bytes{128 << 20};
  request.bench.divisor = 64;
  request.bench.most_calls = 2;
  {
    cuda::FakeRuntime runtime({device});
    Environment environment;
    environment.commit = "test";
    const Calibration result = calibrate_cuda(runtime, cuda::host_kernels(), environment, request);
    const DeviceCard& card = result.card;
    EXPECT_EQ(card.kind, DeviceKind::kGpu);
    EXPECT_EQ(card.capacity_bytes.value, device.capacity.n);
    EXPECT_EQ(card.context_bytes.value, device.context.n);
    EXPECT_EQ(card.module_bytes.value, (device.modules + device.gemm).n);
    // The fake's clock: 2 us a kernel, 4 TB/s in the device, 50 GB/s on the bus.
    EXPECT_NEAR(card.launch_s.value, 2e-6, 1e-9);
    EXPECT_EQ(card.graph_node_bytes.value, device.graph_node.n);  // 8192 of them are whole pages
    EXPECT_EQ(card.graph_node_bytes.evidence, Evidence::kMeasured);
    ASSERT_EQ(card.links.size(), 2U);
    EXPECT_NEAR(card.links[1].bytes_per_s.value, 5e10, 0.1 * 5e10);
    std::set<std::string> ops;
    for (const OpCost& cost : card.op_costs) ops.insert(cost.op);
    EXPECT_EQ(ops, (std::set<std::string>{
                       "activation", "add", "attention_decode", "attention_history_decode",
                       "attention_history_prefill", "attention_mass_decode",
                       "attention_mass_prefill", "attention_prefill", "embed", "kv_write", "linear",
                       "linear_decode", "linear_fp8", "linear_fp8_decode", "norm", "rope"}));
    // Every format that a plan may ask for has its lines.
    const auto has = [&](const char* op, const char* dtype) {
      return std::any_of(card.op_costs.begin(), card.op_costs.end(),
                         [&](const OpCost& cost) { return cost.op == op && cost.dtype == dtype; });
    };
    for (const char* kv : {"fp8", "int8", "q8_0", "q4_0", "kivi2", "kivi4"}) {
      EXPECT_TRUE(has("attention_history_decode", kv) && has("attention_history_prefill", kv) &&
                  has("kv_write", kv))
          << kv;
    }
    for (const char* weights : {"fp8-channel", "int8-channel", "awq-int4", "gptq-int4"}) {
      EXPECT_TRUE(has("linear", weights) && has("linear_decode", weights)) << weights;
    }
    EXPECT_GT(card.flops_per_s.at("fp8").value, 0);
    EXPECT_EQ(write_device_card(parse_device_card(write_device_card(card), "card.yaml")),
              write_device_card(card));
    EXPECT_EQ(runtime.live_allocations(), 0);
    EXPECT_EQ(runtime.live_objects(), 0);
  }
}

TEST(CalibrateCuda, AFullDeviceIsSaidInWords) {
  cuda::FakeDevice device;
  device.capacity = Bytes{1 << 30};
  cuda::FakeRuntime runtime({device});
  GpuCalibrationRequest request;
  EXPECT_THROW(calibrate_cuda(runtime, cuda::host_kernels(), {}, request), Error);
  EXPECT_EQ(runtime.live_allocations(), 0);
  EXPECT_EQ(runtime.live_objects(), 0);
}

}  // namespace
}  // namespace vramplan
