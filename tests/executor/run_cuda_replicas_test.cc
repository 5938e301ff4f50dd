#include "executor/run_cuda_replicas.h"

#include <gtest/gtest.h>
#include <unistd.h>

#include <csignal>
#include <map>
#include <tuple>

#include "planner/plan.h"
#include "tests/executor/fake_gpu.h"

namespace vramplan {
namespace {

using namespace literals;

using Key = std::tuple<int, int, std::string, int>;

std::map<Key, std::int64_t> table(const Ledger& ledger) {
  std::map<Key, std::int64_t> rows;
  for (const LedgerRow& r : ledger.rows()) {
    rows[{static_cast<int>(r.tier), static_cast<int>(r.category), r.name,
          static_cast<int>(r.phase)}] += r.bytes.n;
  }
  return rows;
}

/// Runtimes on one device, each in a process of its own.
MakeCudaRuntime runtimes_of(cuda::SharedAccount& account, const cuda::FakeDevice& device) {
  return [&account, device] {
    auto runtime = std::make_unique<cuda::FakeRuntime>(std::vector<cuda::FakeDevice>{device});
    runtime->share(account);
    return runtime;
  };
}

ModelCard bf16_card() {
  ModelCard card = tiny_card(3);
  card.stored_weights = DType::kBF16;
  return card;
}

Plan plan_of(const ModelCard& card, std::int64_t replicas, const DeviceCard& device) {
  PlanRequest ask;
  ask.model = "tiny";
  ask.context = 90_tokens;
  ask.output = 24_tokens;
  ask.batch = 2;
  ask.prefill_chunk = 32_tokens;
  ask.replicas = replicas;
  return make_plan(source_of(card), device, ask);
}

TEST(RunCudaReplicas, EachSaysWhatTheCpuSays) {
  const ModelCard card = tiny_card(2);
  Decisions decisions = tiny_decisions(card, 40, 14, 2);
  const RunRequest request = request_with_host_values();
  const Measurement wanted = run_on_cpu(decisions, card, request);
  decisions.replicas = 3;
  cuda::SharedAccount account;
  const Measurement m =
      run_cuda_replicas(decisions, source_of(card), fake_card(), request,
                        runtimes_of(account, small_device()), &cuda::host_kernels());
  EXPECT_EQ(m.output, wanted.output);
  ASSERT_EQ(m.replicas.size(), 3U);
  for (const ReplicaMeasurement& replica : m.replicas) EXPECT_TRUE(replica.same_output);
  EXPECT_EQ(m.timings.decode_tokens, 3 * 2 * 13);
  EXPECT_TRUE(account.others().empty()) << "all are gone, and what they held";
}

/// N contexts, graphs and caches; the weights once: rows, and what the driver lost to all of them.
TEST(RunCudaReplicas, RowsAndTheDriversBytesAreThePlans) {
  const ModelCard card = bf16_card();
  const DeviceCard device = fake_card();
  for (const std::int64_t replicas : {2, 3}) {
    const Plan plan = plan_of(card, replicas, device), alone = plan_of(card, 1, device);
    RunRequest request = request_with_host_values();
    request.process_base = Bytes{device.process_base_bytes.value};
    cuda::SharedAccount account;
    const Measurement m =
        run_cuda_replicas(plan.decisions, source_of(card), device, request,
                          runtimes_of(account, fake_device(device)), &cuda::host_kernels());
    EXPECT_EQ(table(m.observed), table(plan.predictions.ledger));
    EXPECT_EQ(m.process_peak, plan.predictions.ledger.peak(0, TierKind::kDevice));
    ASSERT_EQ(m.capacity.size(), 1U);
    EXPECT_EQ(m.capacity[0].unaccounted, 0_B);
    // The first holds the weights; the others are alike.
    ASSERT_EQ(static_cast<std::int64_t>(m.replicas.size()), replicas);
    EXPECT_GT(m.replicas[0].own, m.replicas[1].own);
    Bytes sum;
    for (const ReplicaMeasurement& replica : m.replicas) sum += replica.own;
    EXPECT_EQ(sum, m.process_peak);
    const Measurement dry = run_plan(plan.decisions, source_of(card), device, "dry", request);
    EXPECT_EQ(table(dry.observed), table(plan.predictions.ledger));
    const auto rows = table(plan.predictions.ledger), one = table(alone.predictions.ledger);
    const auto at = [](Category category, const char* name) {
      return Key{static_cast<int>(TierKind::kDevice), static_cast<int>(category), name,
                 static_cast<int>(Phase::kLoad)};
    };
    EXPECT_EQ(rows.at(at(Category::kRuntime, "context")),
              one.at(at(Category::kRuntime, "context")) * replicas);
    EXPECT_EQ(rows.at(at(Category::kWeights, "attention")),
              one.at(at(Category::kWeights, "attention")));
    EXPECT_EQ(rows.at(at(Category::kWorkspace, "f32 vectors")),
              one.at(at(Category::kWorkspace, "f32 vectors")));
  }
}

TEST(RunCudaReplicas, GuessesAreMadeInEach) {
  const ModelCard card = bf16_card();
  const DeviceCard device = fake_card();
  PlanRequest ask;
  ask.model = "tiny";
  ask.context = 60_tokens;
  ask.output = 20_tokens;
  ask.batch = 2;
  ask.replicas = 2;
  ask.guess = Guess::kNgram;
  ask.guess_tokens = 3;
  const Plan plan = make_plan(source_of(card), device, ask);
  RunRequest request = request_with_host_values();
  request.process_base = Bytes{device.process_base_bytes.value};
  cuda::SharedAccount account;
  const Measurement m =
      run_cuda_replicas(plan.decisions, source_of(card), device, request,
                        runtimes_of(account, fake_device(device)), &cuda::host_kernels());
  EXPECT_EQ(table(m.observed), table(plan.predictions.ledger));
  const Measurement dry = run_plan(plan.decisions, source_of(card), device, "dry", request);
  EXPECT_EQ(table(dry.observed), table(plan.predictions.ledger));
}

TEST(RunCudaReplicas, OneThatDiesEndsAllAndNothingIsLeft) {
  const ModelCard card = tiny_card();
  Decisions decisions = tiny_decisions(card, 18, 6, 2);
  decisions.replicas = 3;
  RunRequest request = request_with_host_values();
  request.on_token = [parent = getpid()](std::int64_t, std::int32_t) {
    if (getpid() != parent) raise(SIGKILL);  // in the first replica, the only one that tells
  };
  cuda::SharedAccount account;
  try {
    run_cuda_replicas(decisions, source_of(card), fake_card(), request,
                      runtimes_of(account, small_device()), &cuda::host_kernels());
    FAIL();
  } catch (const Error& error) {
    EXPECT_EQ(error.code(), ErrorCode::kIo);
    EXPECT_NE(error.message().find("replica 0 of 3"), std::string::npos) << error.message();
  }
  EXPECT_TRUE(account.others().empty());
}

/// The n-th call of each process fails: one error that names a replica, and all end.
TEST(RunCudaReplicas, AnyCallMayFail) {
  const ModelCard card = tiny_card(1);
  Decisions decisions = tiny_decisions(card, 14, 4, 1);
  decisions.replicas = 2;
  for (std::int64_t call = 1; call <= 90; call += 8) {
    cuda::SharedAccount account;
    const auto make = [&] {
      auto runtime =
          std::make_unique<cuda::FakeRuntime>(std::vector<cuda::FakeDevice>{small_device()});
      runtime->share(account);
      runtime->fail_call(call, cuda::Status::kLaunchFailure, true);
      return runtime;
    };
    try {
      run_cuda_replicas(decisions, source_of(card), fake_card(), request_with_host_values(), make,
                        &cuda::host_kernels());
      ADD_FAILURE() << call;
    } catch (const Error& error) {
      EXPECT_NE(error.code(), ErrorCode::kInternal) << error.message();
      EXPECT_NE(error.message().find("replica "), std::string::npos) << error.message();
    }
    EXPECT_TRUE(account.others().empty());
  }
}

TEST(RunCudaReplicas, WhatDoesNotFitIsSaidWithBothNumbers) {
  const ModelCard card = bf16_card();
  const DeviceCard device = fake_card();
  Plan plan = plan_of(card, 2, device);
  plan.decisions.capacity = Bytes{device.context_bytes.value} * 2;
  cuda::SharedAccount account;
  try {
    run_cuda_replicas(plan.decisions, source_of(card), device, request_with_host_values(),
                      runtimes_of(account, fake_device(device)), &cuda::host_kernels());
    FAIL();
  } catch (const Error& error) {
    EXPECT_EQ(error.code(), ErrorCode::kDoesNotFit);
  }
}

TEST(RunCudaReplicas, DevicesAreLookedAtFromAProcessOfTheirOwn) {
  const CudaDevicesSeen seen = cuda_devices_seen();  // this program's own driver
  EXPECT_TRUE(seen.count > 0 || !seen.why_none.empty());
}

}  // namespace
}  // namespace vramplan
