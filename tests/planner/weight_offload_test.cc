#include "planner/weight_offload.h"

#include <gtest/gtest.h>

#include "planner/plan.h"
#include "tests/planner/cards.h"

namespace vramplan {
namespace {

ModelCard card_of(std::int64_t layers) {
  ModelCard card;
  card.name = "small";
  card.hidden = 64;
  card.vocab = 100;
  card.stored_weights = DType::kF16;
  Layer layer;
  layer.mixer.heads = layer.mixer.kv_heads = 4;
  layer.mixer.head_dim = layer.mixer.value_dim = 16;
  layer.feed_forward.intermediate = 128;
  card.layers.assign(static_cast<std::size_t>(layers), layer);
  return card;
}

Decisions with(WeightOffload offload) {
  Decisions d;
  d.context = Tokens{64};
  d.output = Tokens{1};
  d.weight_offload = offload;
  return d;
}

// q, k, v, o 64 x 64 and gate, up, down 64 x 128, two bytes an element.
constexpr std::int64_t kLayer = (4 * 64 * 64 + 3 * 64 * 128) * 2;

TEST(WeightOffload, MatricesLeaveAndTwoRoomsStay) {
  const RankModel all = rank_model(card_of(10), with({}), {}, 0);
  const RankModel model = rank_model(card_of(10), with({6, 2}), {}, 0);
  EXPECT_EQ(streamed_bytes(model).n, 6 * kLayer);
  EXPECT_EQ(weight_staging_bytes(model).n, 2 * kLayer);
  EXPECT_EQ(weight_bytes(model), weight_bytes(all) - Bytes{4 * kLayer});
  Bytes groups, norms_all, norms;
  for (const GroupBytes& group : weight_groups(model)) {
    groups += group.bytes;
    if (std::string(group.group) == "norms") norms = group.bytes;
  }
  for (const GroupBytes& group : weight_groups(all)) {
    if (std::string(group.group) == "norms") norms_all = group.bytes;
  }
  EXPECT_EQ(groups, weight_bytes(model));
  EXPECT_EQ(norms, norms_all) << "vectors stay";
}

TEST(WeightOffload, AShareIsWholeLayersWithStagingCountedAsStaying) {
  EXPECT_EQ(weight_offload_for(0.5, 30), (WeightOffload{17, 2}));   // 15 stay: 13 and two rooms
  EXPECT_EQ(weight_offload_for(0.95, 30), (WeightOffload{30, 1}));  // one room for all
  EXPECT_THROW(weight_offload_for(0.99, 30), Error);
}

TEST(WeightOffload, EveryRoomIsUsedInTurnAndAcrossPasses) {
  EXPECT_EQ(next_streamed(0, 5, 2), 2);
  EXPECT_EQ(next_streamed(3, 5, 2), 1) << "the first of the next pass in that room";
  EXPECT_EQ(next_streamed(4, 5, 2), 0);
  EXPECT_EQ(next_streamed(1, 3, 2), 1) << "alone in its room: it stays";
}

TEST(WeightOffload, WithoutOverlapAPassWaitsForEveryTransfer) {
  const RankModel model = rank_model(card_of(10), with({6, 2}), {}, 0);
  WeightStreamTimes times{{1.0}, {0.5}, kLayer / 0.25, 0, {1, 0}};  // a quarter second a layer
  EXPECT_DOUBLE_EQ(weight_stream_stall(model, with({6, 2}), times).v, 6 * 0.25);
  times.speeds = {};
  EXPECT_DOUBLE_EQ(weight_stream_stall(model, with({6, 2}), times).v, 0) << "a layer takes longer";
  times.speeds = {0.125, 1};  // of a second and a layer between, an eighth of a second is hidden
  EXPECT_NEAR(weight_stream_stall(model, with({6, 2}), times).v, 0, 0.3);
  times.speeds = {};
  times.bytes_per_s = kLayer / 100.0;  // the link sets the pace
  EXPECT_NEAR(weight_stream_stall(model, with({6, 2}), times).v, 6 * 100 - 10 - 0.5, 3);
}

TEST(WeightOffload, BesideACacheBeyondTheDeviceItIsRefused) {
  Decisions d = with({6, 2});
  d.kv_placement = KvPlacement::kHost;
  try {
    rank_model(card_of(10), d, {}, 0);
    FAIL();
  } catch (const Error& error) {
    EXPECT_EQ(error.code(), ErrorCode::kUnsupported);
  }
}

TEST(WeightOffload, APlanFileKeepsIt) {
  ModelSource source;
  source.card = card_of(10);
  const DeviceCard device = test::cpu(1_GiB);
  PlanRequest request;
  request.context = Tokens{64};
  request.weight_offload = 0.5;
  Plan plan = make_plan(source, device, request);
  const WeightOffload offload = plan.decisions.weight_offload;
  EXPECT_EQ(offload, (WeightOffload{7, 2}));
  EXPECT_EQ(read_plan(write_plan(plan), "p").decisions.weight_offload, offload);
  request.weight_offload.reset();
  request.weight_offload_layers = offload;
  EXPECT_EQ(make_plan(source, device, request).predictions.ledger.peak(0, TierKind::kDevice),
            plan.predictions.ledger.peak(0, TierKind::kDevice));
}

// Rooms begin at multiples of 256 B: a matrix of 3 x 5 in f16 takes one whole.
TEST(WeightOffload, EveryStreamedMatrixBeginsAtAMultiple) {
  LayerKind kind;
  for (const Part part : {Part::kQ, Part::kVector}) {
    WeightTensor tensor;
    tensor.group = "attention";
    tensor.dtype = DType::kF16;
    tensor.rows = 3;
    tensor.columns = 5;
    tensor.part = part;
    kind.tensors.push_back(tensor);
  }
  EXPECT_EQ(streamed_layer_bytes(kind).n, 256);
}

}  // namespace
}  // namespace vramplan
