#include "executor/run_cuda.h"

#include <gtest/gtest.h>

#include <map>
#include <tuple>

#include "planner/plan.h"
#include "tests/executor/fake_gpu.h"

namespace vramplan {
namespace {

using namespace literals;

std::vector<std::vector<std::int32_t>> cpu_tokens(const Decisions& decisions, const ModelCard& card,
                                                  const RunRequest& request) {
  return run_on_cpu(decisions, card, request).output;
}

void expect_clean(const cuda::FakeRuntime& runtime) {
  EXPECT_EQ(runtime.live_allocations(), 0);
  EXPECT_EQ(runtime.live_objects(), 0);
}

TEST(RunCuda, GreedyTokensAreTheCpuBackendsForEveryFamily) {
  for (const auto& [name, card] : tiny_families()) {
    for (const AttentionAlgorithm algorithm :
         {AttentionAlgorithm::kTiled, AttentionAlgorithm::kNaive}) {
      SCOPED_TRACE(name);
      if (card.layers.front().mixer.value_dim % 8 != 0) {
        cuda::FakeRuntime runtime;
        EXPECT_THROW(run_on(runtime, tiny_decisions(card, 30, 12, 3), card, {}), Error);
        continue;
      }
      Decisions decisions = tiny_decisions(card, 30, 12, 3);
      decisions.prefill_chunk = Tokens{11};
      decisions.attention = algorithm;
      const RunRequest request = request_with_host_values();
      cuda::FakeRuntime runtime({fake_device(fake_card())}, 7);
      const Measurement m = run_on(runtime, decisions, card, request);
      EXPECT_EQ(m.output, cpu_tokens(decisions, card, request));
      EXPECT_TRUE(m.complete);
      EXPECT_EQ(runtime.graph_launches() > 0, algorithm == AttentionAlgorithm::kTiled);
      expect_clean(runtime);
    }
  }
}

TEST(RunCuda, GraphsChangeNothingAndSoDoSchedules) {
  const ModelCard card = tiny_card();
  Decisions decisions = tiny_decisions(card, 40, 20, 5);
  RunRequest request = request_with_host_values();
  const auto wanted = cpu_tokens(decisions, card, request);
  for (const bool graphs : {false, true}) {
    for (std::uint64_t seed = 1; seed <= 4; ++seed) {
      request.cuda.graphs = graphs;
      cuda::FakeRuntime runtime({fake_device(fake_card())}, seed);
      EXPECT_EQ(run_on(runtime, decisions, card, request).output, wanted);
      EXPECT_EQ(runtime.graph_launches(), graphs ? 18 : 0);  // all steps but the first
    }
  }
}

/// Sequences that end early leave smaller batches, which are padded to a captured size.
TEST(RunCuda, BatchesThatShrinkAreReplayedWithPadding) {
  const ModelCard card = tiny_card();
  Decisions decisions = tiny_decisions(card, 60, 40, 6);
  RunRequest request = request_with_host_values();
  request.stop_at_end = true;
  request.end_tokens = {1, 2, 3, 5, 8, 13, 21, 34};
  const auto wanted = cpu_tokens(decisions, card, request);
  std::size_t shortest = 40, longest = 0;
  for (const auto& sequence : wanted) {
    shortest = std::min(shortest, sequence.size());
    longest = std::max(longest, sequence.size());
  }
  ASSERT_LT(shortest + 3, longest) << "the test wants sequences of different lengths";
  cuda::FakeRuntime runtime({fake_device(fake_card())}, 3);
  EXPECT_EQ(run_on(runtime, decisions, card, request).output, wanted);
}

TEST(RunCuda, SamplesOnTheDeviceWithTheHostsDraws) {
  const ModelCard card = tiny_card();
  Decisions decisions = tiny_decisions(card, 30, 16, 3);
  RunRequest request = request_with_host_values();
  request.sampling = {0.8, 0.9, 11};
  cuda::FakeRuntime runtime;
  EXPECT_EQ(run_on(runtime, decisions, card, request).output, cpu_tokens(decisions, card, request));
}

/// 16-bit activations and quantised weights: many tokens go through tiles and the GEMM library.
TEST(RunCuda, QuantisedWeightsGoThroughTilesAndTheLibrary) {
  ModelCard card = tiny_card();
  card.hidden = 64;
  for (Layer& layer : card.layers) {
    layer.mixer.head_dim = layer.mixer.value_dim = 16;
    layer.mixer.rope.rotary_dim = 16;
    layer.feed_forward.intermediate = 96;
  }
  for (const DType weights : {DType::kQ8_0, DType::kQ4_1, DType::kBF16}) {
    card.stored_weights = weights;
    Decisions decisions = tiny_decisions(card, 60, 4, 2);
    decisions.activations = DType::kBF16;
    decisions.kv_format = KvFormat::kBF16;
    const RunRequest request = request_with_host_values();
    cuda::FakeRuntime runtime;
    const Measurement m = run_on(runtime, decisions, card, request);
    const auto count = std::count(runtime.log().begin(), runtime.log().end(), "cublasLtMatmul");
    EXPECT_GT(count, 0) << info(weights).name;
    EXPECT_EQ(m.output.front().size(), 4U);
    expect_clean(runtime);
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

/// Driver rows and tensors' rows: what the planner's formulas say is what the fake driver loses.
TEST(RunCuda, RowsAndProcessAreThePlansToTheByte) {
  struct Case {
    const char* model;
    std::int64_t context, output, batch, chunk;
    bool naive;
    std::int64_t window = 0;  // of all layers but the first
  };
  for (const Case& c :
       {Case{"tiny", 60, 8, 1, 16, false}, Case{"tiny", 200, 5, 9, 64, false},
        Case{"tiny", 90, 1, 2, 90, false}, Case{"tiny", 90, 6, 2, 30, true},
        Case{"tiny", 200, 45, 3, 64, false, 20}, Case{"tiny", 150, 45, 2, 32, true, 20}}) {
    ModelCard card = tiny_card(3);
    card.stored_weights = DType::kBF16;
    for (std::size_t i = 1; i < card.layers.size() && c.window > 0; ++i) {
      card.layers[i].mixer.kind = MixerKind::kSlidingWindow;
      card.layers[i].mixer.window_tokens = c.window;
    }
    const ModelSource source = source_of(card);
    const DeviceCard device = fake_card();
    PlanRequest ask;
    ask.model = "tiny";
    ask.context = Tokens{c.context};
    ask.output = Tokens{c.output};
    ask.batch = c.batch;
    ask.prefill_chunk = Tokens{c.chunk};
    if (c.naive) ask.attention = AttentionAlgorithm::kNaive;
    const Plan plan = make_plan(source, device, ask);
    RunRequest request = request_with_host_values();
    request.process_base = Bytes{device.process_base_bytes.value};
    cuda::FakeRuntime runtime({fake_device(device)});
    const Measurement m =
        run_cuda(plan.decisions, source, device, request, runtime, cuda::host_kernels());
    const auto predicted = table(plan.predictions.ledger), observed = table(m.observed);
    for (const auto& [key, bytes] : predicted) {
      const auto found = observed.find(key);
      ASSERT_NE(found, observed.end()) << std::get<2>(key);
      EXPECT_EQ(found->second, bytes) << std::get<2>(key) << " batch " << c.batch;
    }
    EXPECT_EQ(observed.size(), predicted.size());
    EXPECT_EQ(m.process_peak, plan.predictions.ledger.peak(0, TierKind::kDevice));
    ASSERT_EQ(m.capacity.size(), 1U);
    EXPECT_EQ(m.capacity[0].unaccounted, Bytes{0});
  }
}

Error error_of(cuda::FakeRuntime& runtime, const Decisions& decisions) {
  try {
    run_on(runtime, decisions, tiny_card(), request_with_host_values());
  } catch (const Error& error) {
    return error;
  }
  return Error(ErrorCode::kInternal, "nothing was thrown");
}

TEST(RunCuda, AStalePlanIsRefusedWithBothNumbersAndTheTenantsName) {
  const ModelCard card = tiny_card();
  const Decisions decisions = tiny_decisions(card, 30, 4);
  cuda::FakeDevice device = fake_device(fake_card());
  device.capacity = 2_GiB;
  cuda::FakeRuntime runtime({device});
  runtime.tenant_at(0, 2_GiB - device.context - device.gemm - 8_MiB);
  const Error error = error_of(runtime, decisions);
  EXPECT_EQ(error.code(), ErrorCode::kStalePlan);
  EXPECT_NE(error.message().find("another-tenant (pid 4711)"), std::string::npos);
  EXPECT_NE(error.message().find(std::to_string((8_MiB).n) + " B) free now"), std::string::npos)
      << error.message();
  expect_clean(runtime);
}

/// Other processes come and go at any call: either the run does not notice, or it is refused in
/// words; rows of this process never change.
TEST(RunCuda, TenantsAtEveryCallAreRefusedOrDoNotMatter) {
  const ModelCard card = tiny_card(1);
  const Decisions decisions = tiny_decisions(card, 16, 4);
  cuda::FakeRuntime plain({small_device()});
  const Measurement alone = run_on(plain, decisions, card, request_with_host_values());
  for (std::int64_t call = 1; call < plain.calls(); call += 3) {
    cuda::FakeRuntime runtime({small_device()});
    runtime.tenant_at(call, 139_GiB);
    runtime.tenant_at(call + 40, 0_B);
    try {
      const Measurement m = run_on(runtime, decisions, card, request_with_host_values());
      EXPECT_EQ(m.process_peak, alone.process_peak);
      EXPECT_EQ(m.output, alone.output);
    } catch (const Error& error) {
      EXPECT_TRUE(error.code() == ErrorCode::kStalePlan || error.code() == ErrorCode::kOutOfPlan)
          << error.what();
    }
    expect_clean(runtime);
  }
}

/// Every call of a whole run fails once: the error is typed and nothing is left behind.
TEST(RunCuda, AnyCallMayFail) {
  const ModelCard card = tiny_card(1);
  const Decisions decisions = tiny_decisions(card, 14, 4, 2);
  cuda::FakeRuntime plain({small_device()});
  run_on(plain, decisions, card, request_with_host_values());
  const std::int64_t calls = plain.calls();
  ASSERT_GT(calls, 100);
  const cuda::Status statuses[] = {cuda::Status::kOutOfMemory,   cuda::Status::kIllegalAddress,
                                   cuda::Status::kLaunchFailure, cuda::Status::kEccUncorrectable,
                                   cuda::Status::kInvalidValue,  cuda::Status::kNoDevice,
                                   cuda::Status::kUnknown};
  std::size_t which = 0;
  for (std::int64_t call = 1; call <= calls; ++call) {
    const cuda::Status status = statuses[which++ % std::size(statuses)];
    cuda::FakeRuntime runtime({small_device()});
    runtime.fail_call(call, status, call % 2 == 0);
    const Error error = error_of(runtime, decisions);
    EXPECT_NE(error.code(), ErrorCode::kInternal)
        << "call " << call << " " << plain.log()[static_cast<std::size_t>(call - 1)];
    expect_clean(runtime);
  }
}

TEST(RunCuda, WithoutNvmlTheDriversTotalsStillAddUp) {
  const ModelCard card = tiny_card();
  cuda::FakeDevice device = fake_device(fake_card());
  device.nvml = false;
  cuda::FakeRuntime runtime({device});
  const Measurement m =
      run_on(runtime, tiny_decisions(card, 30, 4), card, request_with_host_values());
  EXPECT_EQ(m.capacity[0].unaccounted, Bytes{0});
  EXPECT_GT(m.process_peak, device.context);
}

TEST(RunCuda, AMissingDeviceIsSaidInWords) {
  cuda::FakeRuntime none(std::vector<cuda::FakeDevice>{});
  std::string why;
  EXPECT_EQ(none.device_count(why), 0);
  EXPECT_FALSE(why.empty());
}

}  // namespace
}  // namespace vramplan
