#include "executor/run_replicas.h"

#include <gtest/gtest.h>
#include <unistd.h>

#include <csignal>

#include "executor/need.h"
#include "executor/run_local.h"
#include "planner/plan.h"
#include "tests/executor/tiny_model.h"

namespace vramplan {
namespace {

DeviceCard cpu_card() {
  DeviceCard card;
  card.name = "cpu";
  card.kind = DeviceKind::kCpu;
  return card;
}

std::unique_ptr<Backend> reference(Bytes capacity) {
  return std::make_unique<ReferenceBackend>(capacity);
}

RunRequest random_request() {
  RunRequest request;
  request.random_weights = true;
  return request;
}

Bytes row(const Measurement& m, Category category, const std::string& name, Phase phase) {
  for (const LedgerRow& r : m.observed.rows()) {
    if (r.category == category && r.name == name && r.phase == phase) return r.bytes;
  }
  ADD_FAILURE() << "no row " << name;
  return {};
}

TEST(RunReplicas, SayWhatOneProcessSaysAndCountItsWeightsOnce) {
  for (const auto& [name, card] : tiny_families()) {
    SCOPED_TRACE(name);
    Decisions one = tiny_decisions(card, 18, 6, 2);
    const ModelSource source = source_of(card);
    const Measurement alone = run_local(one, source, cpu_card(), random_request(), reference);
    Decisions three = one;
    three.replicas = 3;
    const Measurement m = run_replicas(three, source, cpu_card(), random_request(), reference);
    EXPECT_EQ(m.output, alone.output);
    ASSERT_EQ(m.replicas.size(), 3U);
    for (const ReplicaMeasurement& replica : m.replicas) EXPECT_TRUE(replica.same_output);
    const auto expect = [&](Category category, const char* row_name, Phase phase, int times) {
      EXPECT_EQ(row(m, category, row_name, phase), row(alone, category, row_name, phase) * times)
          << row_name;
    };
    expect(Category::kWeights, "attention", Phase::kLoad, 1);
    expect(Category::kRuntime, "arena padding", Phase::kLoad, 1);
    expect(Category::kKvCache, "blocks", Phase::kLoad, 3);
    expect(Category::kActivations, "peak", Phase::kPrefill, 3);
    expect(Category::kActivations, "peak", Phase::kDecode, 3);
    EXPECT_EQ(m.timings.decode_tokens, alone.timings.decode_tokens * 3);
    EXPECT_EQ(m.timings.decode_steps, alone.timings.decode_steps);
    ASSERT_EQ(m.capacity.size(), 1U);
    const RankCapacity& c = m.capacity[0];
    EXPECT_EQ(c.capacity, c.free + c.rows + c.unaccounted);
  }
}

/// 64 MiB of weights in three processes: their shares add up to one copy.
TEST(RunReplicas, ProportionalBytesAddUpToOneCopyOfTheWeights) {
  ModelCard card = tiny_card(1);
  card.hidden = 128;
  card.vocab = 1 << 16;
  const Decisions decisions = [&] {
    Decisions d = tiny_decisions(card, 6, 2);
    d.replicas = 3;
    return d;
  }();
  const Measurement m =
      run_replicas(decisions, source_of(card), cpu_card(), random_request(), reference);
  if (m.process_peak.n == 0) GTEST_SKIP() << "this system does not say what a process holds";
  const Bytes weights = row(m, Category::kWeights, "embedding", Phase::kLoad) +
                        row(m, Category::kWeights, "head", Phase::kLoad);
  EXPECT_EQ(weights, 64_MiB);
  Bytes sum = m.parent_proportional;
  for (const ReplicaMeasurement& replica : m.replicas) {
    EXPECT_GT(replica.resident, 32_MiB);      // the head is read by each
    EXPECT_LT(replica.proportional, 60_MiB);  // and is not its own
    sum += replica.proportional;
  }
  EXPECT_EQ(m.process_peak, sum);
  EXPECT_GT(sum, weights);
  // Copies of their own would be 192 MiB. The rest is of a process of tests, not of the program.
  EXPECT_LT(sum, weights + 96_MiB);
}

TEST(RunReplicas, OneThatDiesIsOneErrorAndNoHang) {
  const ModelCard card = tiny_card();
  Decisions decisions = tiny_decisions(card, 18, 6, 2);
  decisions.replicas = 2;
  RunRequest request = random_request();
  request.on_token = [parent = getpid()](std::int64_t, std::int32_t) {
    if (getpid() != parent) raise(SIGKILL);  // in the first replica, the only one that tells
  };
  try {
    run_replicas(decisions, source_of(card), cpu_card(), request, reference);
    FAIL();
  } catch (const Error& error) {
    EXPECT_EQ(error.code(), ErrorCode::kIo);
    EXPECT_NE(error.message().find("replica 0 of 2"), std::string::npos) << error.message();
  }
}

TEST(RunReplicas, AreRefusedBeforeAnythingIsTakenAndStopAtTheFirstBlockOver) {
  const ModelCard card = tiny_card();
  Decisions decisions = tiny_decisions(card, 18, 6, 2);
  decisions.replicas = 4;
  RunRequest request = random_request();
  request.process_base = 1_MiB;
  const RankNeed need = measure_need(decisions, source_of(card), cpu_card(),
                                     model_part(card, {}, 0), {12, 12}, false, nullptr);
  const Bytes each = need.total() - need.sizes.weights;
  decisions.capacity = need.sizes.weights + each * 4 + 1_MiB;
  EXPECT_NO_THROW(run_replicas(decisions, source_of(card), cpu_card(), request, reference));
  decisions.capacity = decisions.capacity - 8_B;
  const auto code = [&] {
    try {
      run_replicas(decisions, source_of(card), cpu_card(), request, reference);
    } catch (const Error& error) {
      return error.code();
    }
    return ErrorCode::kInternal;
  };
  EXPECT_EQ(code(), ErrorCode::kDoesNotFit);
  request.check_first = false;
  EXPECT_EQ(code(), ErrorCode::kOutOfPlan);
}

}  // namespace
}  // namespace vramplan
