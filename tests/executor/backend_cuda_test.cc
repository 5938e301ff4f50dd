// Every technique of the cache, of beams and of memory beyond the device on the cuda backend: the
// cpu backend's tokens, the plan's rows, whatever order the fake's streams run in.
#include "executor/backend_cuda.h"

#include <gtest/gtest.h>

#include <functional>
#include <map>
#include <tuple>

#include "planner/plan.h"
#include "tests/executor/fake_gpu.h"

namespace vramplan {
namespace {

using namespace literals;

/// Four layers, heads of 32, which formats in blocks of 32 need.
ModelCard card_of_32() {
  ModelCard card = tiny_card(4);
  card.hidden = 48;
  card.context_limit = 4096;
  for (Layer& layer : card.layers) {
    layer.mixer.head_dim = layer.mixer.value_dim = 32;
    layer.mixer.rope.rotary_dim = 32;
  }
  return card;
}

struct Technique {
  const char* name;
  std::function<void(PlanRequest&)> ask;
  std::int64_t batch = 3;
  bool graphs = true;
};

const std::vector<Technique>& techniques() {
  static const std::vector<Technique> all{
      {"kivi2", [](PlanRequest& r) { r.kv_format = KvFormat::kKivi2; }},
      {"kivi4", [](PlanRequest& r) { r.kv_format = KvFormat::kKivi4; }, 1},
      {"strided fp8",
       [](PlanRequest& r) {
         r.kv_policy = KvPolicy::kStrided;
         r.kv_residual = 64_tokens;
       }},
      {"strided int8",
       [](PlanRequest& r) {
         r.kv_policy = KvPolicy::kStrided;
         r.kv_format = KvFormat::kInt8;
         r.kv_residual = 96_tokens;
         r.kv_stride = 8;
       }},
      {"sinks",
       [](PlanRequest& r) {
         r.kv_policy = KvPolicy::kSinkWindow;
         r.kv_window = 50_tokens;
       }},
      {"mass",
       [](PlanRequest& r) {
         r.kv_policy = KvPolicy::kMass;
         r.kv_budget = 110_tokens;
         r.block_tokens = 8;
       }},
      {"mass, decayed",
       [](PlanRequest& r) {
         r.kv_policy = KvPolicy::kMass;
         r.kv_score = KvScore::kDecayed;
         r.kv_budget = 120_tokens;
       },
       1},
      {"beams", [](PlanRequest& r) { r.beams = 3; }},
      {"samples", [](PlanRequest& r) { r.samples = 3; }},
      {"swap",
       [](PlanRequest& r) {
         r.kv_pool = 420_tokens;
         r.preempt = PreemptRequest::kSwap;
       },
       5},
      {"recompute",
       [](PlanRequest& r) {
         r.kv_pool = 420_tokens;
         r.preempt = PreemptRequest::kRecompute;
       },
       5},
      {"cache on the host",
       [](PlanRequest& r) {
         r.kv_placement = KvPlacement::kHost;
         r.kv_offload = 0.5;
       },
       3, false},
      {"kivi2 on the host",
       [](PlanRequest& r) {
         r.kv_placement = KvPlacement::kHost;
         r.kv_format = KvFormat::kKivi2;
       },
       2, false},
      {"streamed weights", [](PlanRequest& r) { r.weight_offload = 0.5; }, 2, false},
      {"streamed weights, one room", [](PlanRequest& r) { r.weight_offload = 0.7; }, 2, false},
      {"layer by layer", [](PlanRequest& r) { r.activation_offload = true; }},
      {"layer by layer, streamed weights",
       [](PlanRequest& r) {
         r.activation_offload = true;
         r.weight_offload = 0.5;
       },
       2, false},
      {"guesses",
       [](PlanRequest& r) {
         r.guess = Guess::kNgram;
         r.guess_tokens = 4;
       }},
      {"cache on a disk",
       [](PlanRequest& r) {
         r.kv_placement = KvPlacement::kDisk;
         r.kv_offload = 0.75;
       },
       3, false},
      {"kivi4 on a disk",
       [](PlanRequest& r) {
         r.kv_placement = KvPlacement::kDisk;
         r.kv_format = KvFormat::kKivi4;
       },
       1, false},
      {"mass, naive",
       [](PlanRequest& r) {
         r.kv_policy = KvPolicy::kMass;
         r.kv_budget = 110_tokens;
         r.block_tokens = 8;
         r.attention = AttentionAlgorithm::kNaive;
       },
       3, false},
  };
  return all;
}

Plan plan_of(const Technique& technique, const ModelCard& card, const DeviceCard& device) {
  PlanRequest ask;
  ask.model = "tiny";
  ask.context = 180_tokens;
  ask.output = 70_tokens;
  ask.batch = technique.batch;
  ask.prefill_chunk = 32_tokens;
  ask.block_tokens = 16;
  technique.ask(ask);
  if (ask.kv_format == KvFormat::kKivi2 || ask.kv_format == KvFormat::kKivi4) ask.block_tokens = 32;
  return make_plan(source_of(card), device, ask);
}

/// f32 all through: then the numbers are the cpu backend's.
Decisions exact(Decisions decisions) {
  decisions.activations = DType::kF32;
  if (decisions.kv_format == KvFormat::kBF16) decisions.kv_format = KvFormat::kF32;
  return decisions;
}

TEST(CudaBackend, TokensOfEveryTechniqueAreTheCpuBackendsInAnyOrderOfTheStreams) {
  const ModelCard card = card_of_32();
  for (const Technique& technique : techniques()) {
    SCOPED_TRACE(technique.name);
    const Decisions decisions = exact(plan_of(technique, card, fake_card()).decisions);
    const RunRequest request = request_with_host_values();
    const Measurement wanted = run_on_cpu(decisions, card, request);
    for (const std::uint64_t seed : {3, 4, 5}) {
      cuda::FakeRuntime runtime({small_device()}, seed);
      const Measurement m = run_on(runtime, decisions, card, request);
      EXPECT_EQ(m.output, wanted.output);
      ASSERT_EQ(m.scores.size(), wanted.scores.size());
      for (std::size_t i = 0; i < m.scores.size(); ++i) {
        EXPECT_NEAR(m.scores[i], wanted.scores[i], 1e-5);
      }
      EXPECT_EQ(m.preemption, wanted.preemption);
      EXPECT_EQ(runtime.graph_launches() > 0, technique.graphs);
      EXPECT_EQ(runtime.live_allocations(), 0);
      EXPECT_EQ(runtime.live_objects(), 0);
    }
  }
}

using Key = std::tuple<int, int, std::string, int>;

std::map<Key, std::int64_t> table(const Ledger& ledger) {
  std::map<Key, std::int64_t> rows;
  for (const LedgerRow& r : ledger.rows()) {
    rows[{static_cast<int>(r.tier), static_cast<int>(r.category), r.name,
          static_cast<int>(r.phase)}] += r.bytes.n;
  }
  return rows;
}

TEST(CudaBackend, RowsOfEveryTechniqueAreThePlansToTheByte) {
  ModelCard card = card_of_32();
  card.stored_weights = DType::kBF16;
  const DeviceCard device = fake_card();
  for (const Technique& technique : techniques()) {
    SCOPED_TRACE(technique.name);
    const Plan plan = plan_of(technique, card, device);
    RunRequest request = request_with_host_values();
    request.process_base = Bytes{device.process_base_bytes.value};
    cuda::FakeRuntime runtime({fake_device(device)});
    const Measurement m = run_on(runtime, plan.decisions, card, request);
    EXPECT_EQ(table(m.observed), table(plan.predictions.ledger));
    EXPECT_EQ(m.process_peak, plan.predictions.ledger.peak(0, TierKind::kDevice));
    ASSERT_EQ(m.capacity.size(), 1U);
    EXPECT_EQ(m.capacity[0].unaccounted, Bytes{0});
    // The virtual GPU of the dry backend takes the same.
    const Measurement dry = run_plan(plan.decisions, source_of(card), device, "dry", request);
    EXPECT_EQ(table(dry.observed), table(plan.predictions.ledger));
  }
}

/// What a run computes does not depend on copies that come late: every call of runs with a second
/// stream may fail, in words, and leaves nothing behind.
TEST(CudaBackend, AnyCallOfARunWithASecondStreamMayFail) {
  const ModelCard card = card_of_32();
  for (const std::size_t which : {std::size_t{11}, std::size_t{13}, std::size_t{18}}) {
    Technique small = techniques()[which];
    SCOPED_TRACE(small.name);
    small.batch = 1;
    Decisions decisions = exact(plan_of(small, card, fake_card()).decisions);
    decisions.context = 20_tokens;
    decisions.output = 3_tokens;
    cuda::FakeRuntime plain({small_device()});
    run_on(plain, decisions, card, request_with_host_values());
    for (std::int64_t call = 1; call <= plain.calls(); call += 7) {
      cuda::FakeRuntime runtime({small_device()});
      runtime.fail_call(call, cuda::Status::kLaunchFailure, call % 2 == 0);
      EXPECT_THROW(run_on(runtime, decisions, card, request_with_host_values()), Error) << call;
      EXPECT_EQ(runtime.live_allocations(), 0);
      EXPECT_EQ(runtime.live_objects(), 0);
    }
  }
}

}  // namespace
}  // namespace vramplan
