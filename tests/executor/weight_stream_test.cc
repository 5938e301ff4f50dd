#include "executor/weight_stream.h"

#include <gtest/gtest.h>

#include <cstring>

#include "executor/run_local.h"
#include "tests/executor/tiny_model.h"

namespace vramplan {
namespace {

/// Layers of one matrix of 64 x f32, all of a value of their own.
struct Streamed {
  explicit Streamed(std::int64_t layers) : weights{}, host(static_cast<std::size_t>(64 * layers)) {
    for (std::int64_t i = 0; i < layers; ++i) {
      float* const begin = host.data() + 64 * i;
      std::fill_n(begin, 64, static_cast<float>(i));
      LayerWeights layer;
      layer.q.weight.tensor = {begin, DType::kF32, 8, 8};
      weights.layers.push_back(layer);
    }
    decisions.weight_offload = {layers, 2};
  }
  RankWeights weights;
  std::vector<float> host;
  Decisions decisions;
};

TEST(WeightStream, EveryLayerFindsItsMatricesPassAfterPass) {
  for (const std::int64_t layers : {3, 4, 5}) {
    Streamed s(layers);
    std::vector<float> staging(2 * 64, -1.0F);
    WeightStream stream(streamed_layers(s.weights, s.decisions), s.weights,
                        std::as_writable_bytes(std::span(staging)), 2, true);
    for (int pass = 0; pass < 20; ++pass) {
      for (std::int64_t i = 0; i < layers; ++i) {
        stream.before(i);
        const TensorView& view = s.weights.layers[static_cast<std::size_t>(i)].q.weight.tensor;
        const auto* const data = static_cast<const float*>(view.data);
        ASSERT_GE(data, staging.data());
        ASSERT_LT(data, staging.data() + staging.size());
        EXPECT_EQ(data[0], static_cast<float>(i)) << "pass " << pass;
        EXPECT_EQ(data[63], static_cast<float>(i));
        stream.after(i);
      }
    }
  }
}

TEST(WeightStream, OnAVirtualClockTheLinkSetsThePaceWhenItIsSlower) {
  Streamed s(4);
  std::vector<float> staging(2 * 64);
  WeightStream stream(streamed_layers(s.weights, s.decisions), s.weights,
                      std::as_writable_bytes(std::span(staging)), 2, false);
  VirtualClock clock;
  Link link;
  link.bytes_per_s.value = 64;  // 256 B: four seconds a layer
  stream.run_on(clock, link, {});
  double begin = 0;
  for (int pass = 0; pass < 3; ++pass) {
    begin = clock.now().v;
    for (std::int64_t i = 0; i < 4; ++i) {
      stream.before(i);
      clock.advance({1.0});
      stream.after(i);
    }
  }
  EXPECT_DOUBLE_EQ(clock.now().v - begin, 4 * 4.0);
  EXPECT_GT(stream.take_waited().v, 0);
}

Measurement run_with(WeightOffload offload, const ModelCard& card, bool packed) {
  Decisions d = tiny_decisions(card, 40, 12, 3);
  d.prefill_chunk = Tokens{10};
  d.weight_offload = offload;
  if (packed) d.weights = DType::kF16;
  RunRequest request;
  request.random_weights = true;
  request.process_base = 1_B;
  DeviceCard device;
  device.kind = DeviceKind::kCpu;
  return run_local(d, source_of(card), device, request,
                   [](Bytes bytes) { return make_cpu_backend(2, bytes); });
}

Bytes weight_row(const Measurement& m, const std::string& name) {
  Bytes sum;
  for (const LedgerRow& row : m.observed.rows()) {
    if (row.category == Category::kWeights && row.name == name) sum += row.bytes;
  }
  return sum;
}

TEST(WeightStreamRun, TokensAreThoseOfWeightsOnTheDevice) {
  for (const auto& [name, whole] : tiny_families()) {
    ModelCard card = whole;
    while (card.layers.size() < 5) card.layers.push_back(card.layers.back());
    const Measurement device = run_with({}, card, false);
    for (const WeightOffload offload : {WeightOffload{5, 1}, {5, 2}, {3, 2}, {3, 1}}) {
      const Measurement far = run_with(offload, card, false);
      EXPECT_EQ(far.output, device.output) << name << " " << offload.layers;
    }
  }
}

TEST(WeightStreamRun, RowsAreWhatLeftAndWhatStays) {
  const ModelCard card = tiny_card(5);
  const Measurement device = run_with({}, card, true), far = run_with({4, 2}, card, true);
  // q and o 24 x 32, k and v 24 x 16, three of 24 x 36, in f16: multiples of 256 B but for the
  // last.
  const std::int64_t layer = 2 * 1536 + 2 * 768 + 3 * 1792;
  EXPECT_EQ(weight_row(far, "streamed layers").n, 4 * layer);
  EXPECT_EQ(weight_row(far, "staging").n, 2 * layer);
  EXPECT_EQ(weight_row(far, "attention").n, weight_row(device, "attention").n / 5);
  EXPECT_EQ(weight_row(far, "norms"), weight_row(device, "norms"));
  EXPECT_EQ(far.output, device.output);
}

}  // namespace
}  // namespace vramplan
