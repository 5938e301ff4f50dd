#include "executor/cuda_ops.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <map>
#include <tuple>

#include "planner/plan.h"
#include "tests/executor/fake_gpu.h"

namespace vramplan {
namespace {

using namespace literals;

/// Extents that the GEMM library takes and packed formats have.
ModelCard fp8_card(DType weights) {
  ModelCard card = tiny_card(3);
  card.hidden = 64;
  card.vocab = 48;
  card.stored_weights = weights;
  for (Layer& layer : card.layers) {
    layer.mixer.head_dim = layer.mixer.value_dim = layer.mixer.rope.rotary_dim = 16;
    layer.feed_forward.intermediate = 96;
    layer.mixer.qkv_bias = weights == DType::kFp8Channel;
  }
  return card;
}

Plan fp8_plan(const ModelCard& card, std::int64_t batch) {
  PlanRequest ask;
  ask.model = "tiny";
  ask.context = 60_tokens;
  ask.output = 8_tokens;
  ask.batch = batch;
  ask.prefill_chunk = 21_tokens;
  ask.linear_inputs = DType::kF8E4M3;
  return make_plan(source_of(card), fake_card(), ask);
}

constexpr DType kFp8Weights[] = {DType::kF8E4M3, DType::kFp8Tensor, DType::kFp8Channel};

TEST(CudaOps, Fp8InputsGiveTheTokensOfTheCpuBackend) {
  for (const DType weights : kFp8Weights) {
    SCOPED_TRACE(info(weights).name);
    const ModelCard card = fp8_card(weights);
    Decisions decisions = fp8_plan(card, 2).decisions;
    decisions.activations = DType::kF32;
    decisions.kv_format = KvFormat::kF32;
    const RunRequest request = request_with_host_values();
    DeviceCard cpu;
    cpu.kind = DeviceKind::kCpu;
    const auto wanted = run_local(decisions, source_of(card), cpu, request, [](Bytes capacity) {
                          return make_cpu_backend(1, capacity, DType::kF8E4M3);
                        }).output;
    // A device from 8.9 on takes the library for many tokens; one before it our kernel for all.
    for (const int major : {9, 8}) {
      cuda::FakeDevice device = small_device();
      device.major = major;
      cuda::FakeRuntime runtime({device});
      EXPECT_EQ(run_on(runtime, decisions, card, request).output, wanted) << major;
      const auto products =
          std::count(runtime.log().begin(), runtime.log().end(), std::string("cublasLtMatmul"));
      // f32 matrices beside packed ones go to the library on every device.
      const std::int64_t fp8 = 2 * 3 * 3 * 7;  // sequences, chunks, layers, linears
      EXPECT_EQ(products >= fp8, major == 9) << products;
    }
  }
}

using Key = std::tuple<int, int, std::string, int>;

std::map<Key, Bytes> table(const Ledger& ledger) {
  std::map<Key, Bytes> rows;
  for (const LedgerRow& r : ledger.rows()) {
    rows[{static_cast<int>(r.tier), static_cast<int>(r.category), r.name,
          static_cast<int>(r.phase)}] += r.bytes;
  }
  return rows;
}

TEST(CudaOps, RowsOfFp8InputsAreThePlansToTheByte) {
  for (const DType weights : kFp8Weights) {
    for (const std::int64_t batch : {1, 9}) {
      SCOPED_TRACE(std::string(info(weights).name) + " batch " + std::to_string(batch));
      const ModelCard card = fp8_card(weights);
      const Plan plan = fp8_plan(card, batch);
      const DeviceCard device = fake_card();
      RunRequest request = request_with_host_values();
      request.process_base = Bytes{device.process_base_bytes.value};
      cuda::FakeRuntime runtime({fake_device(device)});
      const Measurement m =
          run_cuda(plan.decisions, source_of(card), device, request, runtime, cuda::host_kernels());
      const auto predicted = table(plan.predictions.ledger), observed = table(m.observed);
      for (const auto& [key, bytes] : predicted) {
        const auto found = observed.find(key);
        ASSERT_NE(found, observed.end()) << std::get<2>(key);
        EXPECT_EQ(found->second, bytes) << std::get<2>(key);
      }
      EXPECT_EQ(observed.size(), predicted.size());
      EXPECT_EQ(m.process_peak, plan.predictions.ledger.peak(0, TierKind::kDevice));
    }
  }
}

}  // namespace
}  // namespace vramplan
