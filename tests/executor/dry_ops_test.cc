#include "executor/dry_ops.h"

#include <gtest/gtest.h>

#include "executor/backend_dry.h"

namespace vramplan {
namespace {

TEST(DryOps, CountsBytesAndFlopsFromTheViews) {
  VirtualClock clock;
  DryOps ops(DeviceKind::kGpu, 1, DType::kI8, clock,
             [](const DryWork& work) { return Seconds{work.bytes}; });
  const TensorView in{nullptr, DType::kBF16, 3, 64}, out{nullptr, DType::kBF16, 3, 32};
  const WeightView weight{{nullptr, DType::kQ8_0, 32, 64}, 0};
  ops.linear(out, in, weight, {}, {});
  EXPECT_EQ(ops.counts().calls, 1);
  EXPECT_EQ(ops.counts().bytes, 32 * 2 * 34 + 3 * 64 * 2 + 3 * 32 * 2);
  EXPECT_EQ(ops.counts().flops, 2.0 * 3 * 64 * 32);
  EXPECT_EQ(clock.now().v, ops.counts().bytes);
}

TEST(DryOps, AttentionCountsTheKeysEachQuerySees) {
  VirtualClock clock;
  KvLayerView kv;
  kv.dtype = DType::kF16;
  kv.kv_heads = 1;
  kv.head_dim = kv.value_dim = 8;
  AttentionParams params;
  params.heads = 2;
  const TensorView q{nullptr, DType::kF32, 3, 16};
  const auto flops = [&](std::int64_t window, SequenceSlice slice) {
    DryOps ops(DeviceKind::kGpu, 1, DType::kI8, clock, {});
    params.window_tokens = window;
    ops.attention(q, q, kv, std::span(&slice, 1), params, {});
    return ops.counts().flops / (2 * 2 * 16);  // keys seen
  };
  EXPECT_EQ(flops(0, {0, 3, 3, nullptr}), 1 + 2 + 3);
  EXPECT_EQ(flops(0, {0, 3, 10, nullptr}), 8 + 9 + 10);
  EXPECT_EQ(flops(4, {0, 3, 10, nullptr}), 4 + 4 + 4);
  EXPECT_EQ(flops(4, {0, 3, 5, nullptr}), 3 + 4 + 4);
}

TEST(DryCommunicator, CountsWhatOneRankMoves) {
  DeviceCard card;
  DryBackend backend(card, 1, DType::kI8, 1_GiB, false);
  DryCommunicator comm(1, 4, backend.dry_ops());
  const TensorView x{nullptr, DType::kF32, 2, 100};
  comm.all_reduce(x);
  EXPECT_EQ(comm.moved(), 1200_B);  // 2 * 3/4 * 800
  comm.all_gather({nullptr, DType::kF32, 2, 400}, x);
  EXPECT_EQ(comm.moved(), 3600_B);  // 3 parts of 800
  comm.send(x, 2);
  EXPECT_EQ(comm.moved(), 4400_B);
  comm.receive(x, 0);
  EXPECT_EQ(comm.moved(), 4400_B);
}

}  // namespace
}  // namespace vramplan
