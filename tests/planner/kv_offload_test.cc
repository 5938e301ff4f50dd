#include "planner/kv_offload.h"

#include <gtest/gtest.h>

#include "planner/kv_cache.h"

namespace vramplan {
namespace {

/// 7B with multi-head attention: 512 KiB a token in f16.
ModelCard seven_b() {
  ModelCard card;
  card.name = "7b";
  card.hidden = 4096;
  card.vocab = 32000;
  Layer layer;
  layer.mixer.heads = layer.mixer.kv_heads = 32;
  layer.mixer.head_dim = layer.mixer.value_dim = 128;
  layer.feed_forward.intermediate = 11008;
  card.layers.assign(32, layer);
  return card;
}

Decisions decisions_for(double share, KvPlacement placement, KvFormat format = KvFormat::kF16) {
  Decisions d;
  d.context = Tokens{8192};
  d.output = Tokens{1};
  d.kv_format = format;
  d.kv_placement = placement;
  d.kv_blocks = Blocks{512};
  if (placement != KvPlacement::kDevice) d.kv_offload = kv_offload_for(share, 32);
  return d;
}

Bytes device_bytes(const Decisions& d) {
  return kv_growing_bytes(rank_model(seven_b(), d, {}, 0), d);
}

TEST(KvOffload, EightThousandTokensOfA7BLeaveAFifthOrATwentiethOnTheDevice) {
  EXPECT_EQ(device_bytes(decisions_for(0, KvPlacement::kDevice)), 4_GiB);
  // 6 of 32 layers: 4 stay, 2 are staging. A twentieth is 1.6 layers: one layer's staging.
  EXPECT_EQ(device_bytes(decisions_for(0.8, KvPlacement::kHost)), 128_MiB * 6);
  EXPECT_EQ(device_bytes(decisions_for(0.95, KvPlacement::kHost)), 128_MiB);
  EXPECT_EQ(device_bytes(decisions_for(0.875, KvPlacement::kHost)), 512_MiB);
  const Bytes both = device_bytes(decisions_for(0.8, KvPlacement::kHost, KvFormat::kInt8));
  EXPECT_LE(both.n * 10, (4_GiB).n) << "int8 and 80 % beyond the device: at least 90 % less";
}

TEST(KvOffload, WhatLeavesIsBeyondTheDevice) {
  const Decisions host = decisions_for(0.8, KvPlacement::kHost);
  const RankModel model = rank_model(seven_b(), host, {}, 0);
  EXPECT_EQ(kv_far_bytes(model, host), 128_MiB * 28);
  EXPECT_EQ(kv_staging_bytes(model, host), 128_MiB * 2);
  // A block of a layer is 16 tokens x 16 KiB = 256 KiB, on a disk 64 B of header more.
  const Decisions disk = decisions_for(0.8, KvPlacement::kDisk);
  EXPECT_EQ(kv_far_bytes(model, disk), Bytes{256 * 1024 + 4096} * (28 * 512));
}

TEST(KvOffload, LayersBeyondTheDeviceAreSpread) {
  const Decisions d = decisions_for(0.5, KvPlacement::kHost);  // 14 stay, 2 staging: 18 leave
  std::int64_t far = 0, longest = 0, run = 0;
  for (std::int64_t i = 0; i < 32; ++i) {
    const bool leaves = is_offloaded(d, i, 32);
    far += leaves;
    run = leaves ? run + 1 : 0;
    longest = std::max(longest, run);
  }
  EXPECT_EQ(far, 18);
  EXPECT_LE(longest, 2);
}

TEST(KvOffload, TheLayerThatComputesCannotLeave) {
  EXPECT_EQ(kv_offload_for(1 - 1.0 / 32, 32).staging, 1);
  EXPECT_THROW(kv_offload_for(0.98, 32), Error);
}

TEST(KvOffload, AModelWhoseLayersDifferIsRefusedByName) {
  ModelCard card = seven_b();
  card.layers[3].mixer.kv_heads = 8;
  Decisions d = decisions_for(0.8, KvPlacement::kHost);
  EXPECT_THROW(kv_offload_bytes(rank_model(card, d, {}, 0), d), Error);
  card = seven_b();
  card.layers[3].mixer.kind = MixerKind::kSlidingWindow;
  card.layers[3].mixer.window_tokens = 128;
  d.kv_policy = KvPolicy::kWindow;
  EXPECT_THROW(kv_offload_bytes(rank_model(card, d, {}, 0), d), Error);
}

TEST(KvStreamStall, IsWhatOneTransferAfterAnotherLeavesOver) {
  const Decisions d = decisions_for(0.9375, KvPlacement::kHost);  // all leave, two at a time
  const KvOffloadBytes bytes = kv_offload_bytes(rank_model(seven_b(), d, {}, 0), d);
  ASSERT_EQ(bytes.far_layers, 32);
  const double block = static_cast<double>(bytes.far_part.n);
  KvStreamTimes times;  // a block a second, a second a layer
  times.layer = {1.0};
  times.link.bytes_per_s.value = block;
  // Half a second's worth a layer hides behind a second of computing: only the first is waited for.
  times.link.bytes_per_s.value = block * 2;
  EXPECT_DOUBLE_EQ(kv_stream_stall(bytes, d, 1, 0, times).v, 0.5);
  // Three seconds' worth a layer: the pass takes as long as the link, 96 s, and computing the rest.
  times.link.bytes_per_s.value = block / 3;
  EXPECT_DOUBLE_EQ(kv_stream_stall(bytes, d, 1, 0, times).v, 96 + 1 - 32);
  times.speeds = {0.5, 1};  // of each second that computes half a second of the link
  EXPECT_DOUBLE_EQ(kv_stream_stall(bytes, d, 1, 0, times).v, 96 - 0.5 * 31);
  times.speeds = {1, 0.5};  // computing takes two seconds, which still hide
  EXPECT_DOUBLE_EQ(kv_stream_stall(bytes, d, 1, 0, times).v, 96 + 1 - 32);
  times.speeds = {1, 0};
  EXPECT_DOUBLE_EQ(kv_stream_stall(bytes, d, 1, 1, times).v, 32 * 6.0);
  times.link.latency_s.value = 1;
  EXPECT_DOUBLE_EQ(kv_stream_stall(bytes, d, 1, 0, times).v, 32 * 4.0);
  // Writing at a speed of its own: 4 s of reading, 2 + 1 s of writing.
  times.link.write_bytes_per_s.value = block;
  times.link.write_latency_s.value = 2;
  EXPECT_DOUBLE_EQ(kv_stream_stall(bytes, d, 1, 1, times).v, 32 * 7.0);
}

}  // namespace
}  // namespace vramplan
