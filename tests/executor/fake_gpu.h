#pragma once
// A virtual GPU whose driver takes what its card says, and runs on it.
#include <gtest/gtest.h>

#include "executor/run_cuda.h"
#include "executor/run_local.h"
#include "modelcards/library.h"
#include "tests/executor/tiny_model.h"
#include "tests/fake_cuda/fake_runtime.h"
#include "tests/fake_cuda/host_kernels.h"

namespace vramplan {

inline DeviceCard fake_card(Bytes capacity = Bytes{std::int64_t{140} << 30}) {
  DeviceCard card = device_card("h200-sxm-141gb");
  card.capacity_bytes.value = capacity.n;
  return card;
}

inline cuda::FakeDevice fake_device(const DeviceCard& card) {
  cuda::FakeDevice device;
  device.capacity = Bytes{card.capacity_bytes.value};
  device.multiprocessors = static_cast<int>(card.multiprocessors.value);
  device.context = Bytes{card.context_bytes.value};
  device.gemm = Bytes{24 << 20};
  device.modules = Bytes{card.module_bytes.value} - device.gemm;
  return device;
}

/// A GEMM workspace of 4 MiB: less to fill with NaN in tests of many runs.
inline cuda::FakeDevice small_device() {
  cuda::FakeDevice device = fake_device(fake_card());
  device.major = 8;
  return device;
}

inline RunRequest request_with_host_values() {
  RunRequest request;
  request.random_weights = true;
  request.cuda.random_on_host = true;
  request.process_base = Bytes{1 << 20};
  request.offload_directory = testing::TempDir();
  return request;
}

inline Measurement run_on(cuda::FakeRuntime& runtime, const Decisions& decisions,
                          const ModelSource& source, const RunRequest& request) {
  return run_cuda(decisions, source, fake_card(), request, runtime, cuda::host_kernels());
}
inline Measurement run_on(cuda::FakeRuntime& runtime, const Decisions& decisions,
                          const ModelCard& card, const RunRequest& request) {
  return run_on(runtime, decisions, source_of(card), request);
}

inline Measurement run_on_cpu(const Decisions& decisions, const ModelSource& source,
                              const RunRequest& request) {
  DeviceCard cpu;
  cpu.kind = DeviceKind::kCpu;
  return run_local(decisions, source, cpu, request,
                   [](Bytes capacity) { return make_cpu_backend(1, capacity); });
}
inline Measurement run_on_cpu(const Decisions& decisions, const ModelCard& card,
                              const RunRequest& request) {
  return run_on_cpu(decisions, source_of(card), request);
}

}  // namespace vramplan
