#include "executor/hidden_states.h"

#include <gtest/gtest.h>

#include "executor/run_local.h"
#include "tests/executor/tiny_model.h"

namespace vramplan {
namespace {

TEST(HiddenStates, RowsComeBackAsTheyWentAndNoOthers) {
  const auto host = make_host_tier(TierKind::kHost, 1_MiB);
  HiddenStates states(*host, 10, 4, DType::kF32, true);
  EXPECT_EQ(states.bytes().n, 10 * 4 * 4);
  std::vector<float> a(12), b(12, -1.0F);
  for (std::size_t i = 0; i < a.size(); ++i) a[i] = static_cast<float>(i);
  states.store(2, {a.data(), DType::kF32, 3, 4});
  states.fetch(3, {b.data(), DType::kF32, 2, 4});
  EXPECT_EQ(b[0], 4.0F);
  EXPECT_EQ(b[7], 11.0F);
  EXPECT_EQ(b[8], -1.0F);
  EXPECT_GT(states.take_moved().v, 0);
  EXPECT_EQ(states.take_moved().v, 0);
}

TEST(HiddenStates, OnAVirtualClockATransferTakesItsBytesOverTheLink) {
  const auto host = make_dry_tier(TierKind::kHost, 1_MiB);
  HiddenStates states(*host, 10, 4, DType::kF32, false);
  VirtualClock clock;
  Link link;
  link.bytes_per_s.value = 16;
  states.run_on(clock, link);
  states.store(0, {nullptr, DType::kF32, 5, 4});
  EXPECT_DOUBLE_EQ(clock.now().v, 5);
}

Measurement run_with(const ModelCard& card, bool by_layer, WeightOffload weights, KvFormat format) {
  Decisions d = tiny_decisions(card, 40, 12, 3);
  d.prefill_chunk = Tokens{10};
  d.activation_offload = by_layer;
  d.weight_offload = weights;
  d.kv_format = format;
  RunRequest request;
  request.random_weights = true;
  request.process_base = 1_B;
  DeviceCard device;
  device.kind = DeviceKind::kCpu;
  return run_local(d, source_of(card), device, request,
                   [](Bytes bytes) { return make_cpu_backend(2, bytes); });
}

Bytes peak(const Measurement& m, Phase phase, TierKind tier) {
  Bytes sum;
  for (const LedgerRow& row : m.observed.rows()) {
    if (row.category == Category::kActivations && row.phase == phase && row.tier == tier) {
      sum += row.bytes;
    }
  }
  return sum;
}

TEST(HiddenStatesRun, PrefillByLayerGivesTheTokensOfPrefillByChunk) {
  for (const auto& [name, card] : tiny_families()) {
    const Measurement chunks = run_with(card, false, {}, KvFormat::kF32);
    const Measurement layers = run_with(card, true, {}, KvFormat::kF32);
    EXPECT_EQ(layers.output, chunks.output) << name;
    EXPECT_EQ(peak(layers, Phase::kPrefill, TierKind::kDevice),
              peak(chunks, Phase::kPrefill, TierKind::kDevice))
        << name << ": one chunk's activations";
    EXPECT_EQ(peak(layers, Phase::kPrefill, TierKind::kHost).n, 28 * card.hidden * 4) << name;
  }
}

TEST(HiddenStatesRun, WithStreamedWeightsAndAnotherFormatToo) {
  const ModelCard card = tiny_card(5);
  EXPECT_EQ(run_with(card, true, {4, 2}, KvFormat::kInt8).output,
            run_with(card, false, {}, KvFormat::kInt8).output);
}

}  // namespace
}  // namespace vramplan
