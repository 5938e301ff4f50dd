// The edge of a plan: with the blocks that it counts a run goes through, with one less in any of
// its pools it stops at the take that finds none, and says so before when it is asked.
#include "executor/need.h"

#include <gtest/gtest.h>

#include "executor/engine.h"
#include "modelcards/library.h"
#include "planner/plan.h"
#include "tests/executor/tiny_model.h"

namespace vramplan {
namespace {

struct Use {
  const char* name;
  void (*ask)(PlanRequest&);
  const char* model = "smollm2-135m";
};

constexpr Use kUses[] = {
    {"keep_all", [](PlanRequest&) {}},
    {"window", [](PlanRequest& r) { r.kv_policy = KvPolicy::kWindow; }, "gemma-3-1b"},
    {"sink_window",
     [](PlanRequest& r) {
       r.kv_policy = KvPolicy::kSinkWindow;
       r.kv_window = 100_tokens;
     }},
    {"strided", [](PlanRequest& r) { r.kv_policy = KvPolicy::kStrided; }},
    {"mass",
     [](PlanRequest& r) {
       r.kv_policy = KvPolicy::kMass;
       r.kv_budget = 160_tokens;
     }},
    {"samples", [](PlanRequest& r) { r.samples = 3; }},
    {"beams", [](PlanRequest& r) { r.beams = 3; }},
    {"prefix", [](PlanRequest& r) { r.shared_prefix = 300_tokens; }},
    {"contiguous", [](PlanRequest& r) { r.kv_layout = KvLayout::kContiguous; }},
    {"swap",
     [](PlanRequest& r) {
       r.preempt = PreemptRequest::kSwap;
       r.kv_pool = 1200_tokens;
     }},
    {"recompute",
     [](PlanRequest& r) {
       r.preempt = PreemptRequest::kRecompute;
       r.kv_pool = 1200_tokens;
     }},
    {"host",
     [](PlanRequest& r) {
       r.kv_placement = KvPlacement::kHost;
       r.kv_offload = 0.8;
     }},
    {"disk",
     [](PlanRequest& r) {
       r.kv_placement = KvPlacement::kDisk;
       r.kv_offload = 0.8;
     }},
    {"replicas", [](PlanRequest& r) { r.replicas = 2; }},
    {"ngram",
     [](PlanRequest& r) {
       r.guess = Guess::kNgram;
       r.guess_tokens = 4;
     }},
    {"draft",
     [](PlanRequest& r) {
       r.guess = Guess::kDraft;
       r.guess_tokens = 3;
       r.draft = "smollm2-135m";
     }},
};

DeviceCard edge_device() { return device_card("cpu-generic"); }

/// A model with a draft beside it: itself.
ModelSource edge_source(const Use& use) {
  ModelSource source = source_of(model_card(use.model));
  source.draft = std::make_shared<const ModelSource>(source_of(model_card(use.model)));
  return source;
}

PlanRequest edge_request(const Use& use, KvFormat format) {
  PlanRequest request;
  request.model = use.model;
  request.device = "cpu-generic";
  request.context = 700_tokens;
  request.output = 12_tokens;
  request.batch = 3;
  request.kv_format = format;
  use.ask(request);
  return request;
}

/// What stopped the run; nothing when it went through.
std::optional<ErrorCode> stopped_by(const Decisions& d, const ModelSource& source, bool check,
                                    std::string* message = nullptr) {
  RunRequest request;
  request.check_first = check;
  try {
    run_plan(d, source, edge_device(), "dry", request);
    return std::nullopt;
  } catch (const Error& error) {
    if (message != nullptr) *message = error.message();
    return error.code();
  }
}

/// The same decisions with a block less in one pool: every pool of them in turn.
std::vector<Decisions> one_block_less(const Decisions& d, bool pool_is_used) {
  std::vector<Decisions> all;
  const auto add = [&](auto change) {
    all.push_back(d);
    change(all.back());
  };
  // Preempted sequences make do with fewer blocks, but not with a smaller place on the host.
  if (d.preempt != Preempt::kNone) {
    if (d.swap_blocks.n > 0) add([](Decisions& less) { less.swap_blocks -= Blocks{1}; });
    return all;
  }
  if (pool_is_used) add([](Decisions& less) { less.kv_blocks -= Blocks{1}; });
  for (std::size_t i = 0; i < d.window_pools.size(); ++i) {
    add([i](Decisions& less) { less.window_pools[i].blocks -= Blocks{1}; });
  }
  if (d.kv_residual.any()) add([](Decisions& less) { less.kv_residual.blocks -= Blocks{1}; });
  return all;
}

class Edge : public ::testing::TestWithParam<int> {};

TEST_P(Edge, IsWhereThePlanSaysForEveryUseOfTheCache) {
  const auto format = static_cast<KvFormat>(GetParam());
  int ran = 0;
  for (const Use& use : kUses) {
    SCOPED_TRACE(use.name);
    const ModelSource source = edge_source(use);
    Plan plan;
    try {
      plan = make_plan(source, edge_device(), edge_request(use, format));
    } catch (const Error& error) {  // by name, or the format does not suit the heads
      EXPECT_TRUE(error.code() == ErrorCode::kUnsupported || error.code() == ErrorCode::kUsage);
      continue;
    }
    const Decisions& d = plan.decisions;
    const std::optional<ErrorCode> first = stopped_by(d, source, true);
    if (first == ErrorCode::kUnsupported) continue;
    EXPECT_FALSE(first.has_value())
        << "error code " << static_cast<int>(first.value_or(ErrorCode::kInternal));
    ++ran;
    const bool grows = d.kv_policy != KvPolicy::kSinkWindow && d.kv_policy != KvPolicy::kMass;
    for (const Decisions& less : one_block_less(d, grows)) {
      EXPECT_EQ(stopped_by(less, source, false), ErrorCode::kOutOfPlan);
      if (d.preempt == Preempt::kNone) {
        EXPECT_EQ(stopped_by(less, source, true), ErrorCode::kDoesNotFit);
      }
    }
  }
  const bool runs = format <= KvFormat::kInt8 || format == KvFormat::kQ8_0 ||
                    format == KvFormat::kQ4_0 || format == KvFormat::kKivi2 ||
                    format == KvFormat::kKivi4;
  EXPECT_EQ(ran > 0, runs) << ran;
}

std::string format_name(const ::testing::TestParamInfo<int>& format) {
  return name_of(static_cast<KvFormat>(format.param));
}
/// Of every use, what else it takes included: staging, a draft's pool, what each replica has.
TEST(EdgeOfCapacity, IsExactToTheByte) {
  for (const Use& use : kUses) {
    SCOPED_TRACE(use.name);
    const ModelSource source = edge_source(use);
    Decisions d = make_plan(source, edge_device(), edge_request(use, KvFormat::kF16)).decisions;
    d.capacity = 1_B;
    std::string message;
    ASSERT_EQ(stopped_by(d, source, true, &message), ErrorCode::kDoesNotFit);
    d.capacity = {std::stoll(message.substr(message.find('(') + 1))};
    message.clear();
    EXPECT_FALSE(stopped_by(d, source, true, &message)) << message;
    d.capacity -= 1_B;
    EXPECT_EQ(stopped_by(d, source, true), ErrorCode::kDoesNotFit);
    if (d.preempt != Preempt::kNone) continue;  // whoever may preempt makes do with a block less
    EXPECT_EQ(stopped_by(d, source, false), ErrorCode::kOutOfPlan);
  }
}

INSTANTIATE_TEST_SUITE_P(Formats, Edge, ::testing::Range(0, kKvFormats), format_name);

}  // namespace
}  // namespace vramplan
