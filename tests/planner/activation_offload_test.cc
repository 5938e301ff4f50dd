#include "planner/activation_offload.h"

#include <gtest/gtest.h>

#include "planner/plan.h"
#include "tests/planner/cards.h"

namespace vramplan {
namespace {

PlanRequest request_of() {
  PlanRequest request;
  request.context = Tokens{1024};
  request.output = Tokens{24};
  request.prefill_chunk = Tokens{100};
  request.activation_offload = true;
  return request;
}

ModelSource source_of_layers(std::int64_t layers) {
  ModelSource source;
  source.card.name = "small";
  source.card.hidden = 64;
  source.card.vocab = 100;
  source.card.stored_weights = DType::kF32;
  Layer layer;
  layer.mixer.heads = layer.mixer.kv_heads = 4;
  layer.mixer.head_dim = layer.mixer.value_dim = 16;
  layer.feed_forward.intermediate = 128;
  source.card.layers.assign(static_cast<std::size_t>(layers), layer);
  return source;
}

double term(const std::vector<TimeTerm>& terms, const std::string& op) {
  for (const TimeTerm& t : terms) {
    if (t.op == op) return t.seconds.v;
  }
  return 0;
}

TEST(ActivationOffload, APromptsHiddenStatesWaitInHostMemory) {
  const ModelSource source = source_of_layers(6);
  const Plan plan = make_plan(source, test::cpu(1_GiB), request_of());
  Bytes host;
  for (const LedgerRow& row : plan.predictions.ledger.rows()) {
    if (row.tier == TierKind::kHost && row.name == "hidden states") host += row.bytes;
  }
  EXPECT_EQ(host.n, 1000 * 64 * 4);
  EXPECT_EQ(hidden_state_traffic(64, 6, plan.decisions).n, 13 * 1000 * 64 * 4);
  EXPECT_GT(term(plan.predictions.performance.prefill_terms, "hidden_states"), 0);
  EXPECT_EQ(term(plan.predictions.performance.decode_terms, "hidden_states"), 0);
  EXPECT_TRUE(read_plan(write_plan(plan), "p").decisions.activation_offload);
}

TEST(ActivationOffload, AStreamedLayerComesInOnceAPromptAndNotOnceAChunk) {
  const ModelSource source = source_of_layers(6);
  PlanRequest request = request_of();
  request.weight_offload = 0.7;
  const Plan by_layer = make_plan(source, test::cpu(1_GiB), request);
  request.activation_offload = false;
  const Plan by_chunk = make_plan(source, test::cpu(1_GiB), request);
  const double once = term(by_layer.predictions.performance.prefill_terms, "weight_stream");
  const double each = term(by_chunk.predictions.performance.prefill_terms, "weight_stream");
  EXPECT_GT(once, 0);
  EXPECT_NEAR(each / once, 10, 1e-6) << "ten chunks of a hundred tokens";
}

TEST(ActivationOffload, WindowsAndACacheBeyondTheDeviceAreRefused) {
  ModelSource source = source_of_layers(6);
  PlanRequest request = request_of();
  request.kv_placement = KvPlacement::kHost;
  EXPECT_THROW(make_plan(source, test::cpu(1_GiB), request), Error);
  request = request_of();
  request.kv_policy = KvPolicy::kSinkWindow;
  request.kv_window = Tokens{128};
  try {
    make_plan(source, test::cpu(1_GiB), request);
    FAIL();
  } catch (const Error& error) {
    EXPECT_EQ(error.code(), ErrorCode::kUnsupported);
  }
}

}  // namespace
}  // namespace vramplan
