#include "executor/kv_stream.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <atomic>
#include <string>

#include "executor/run_local.h"
#include "tests/executor/tiny_model.h"

namespace vramplan {
namespace {

KvStreamShape shape_of(std::int64_t layers, std::int64_t staging) {
  KvStreamShape shape;
  shape.layers = layers;
  shape.staging = staging;
  shape.part = Bytes{64};
  shape.blocks = Blocks{4};
  shape.block = TokensPerBlock{16};
  return shape;
}

/// Writes down what it was asked for; layer `fails` cannot be fetched.
class NotedFar final : public KvFar {
 public:
  NotedFar(std::vector<std::string>& log, std::int64_t fails) : log_(log), fails_(fails) {}
  void fetch(std::int64_t layer, const std::vector<std::int32_t>& blocks, std::byte*) override {
    if (layer == fails_) throw Error(ErrorCode::kIo, "the disk is gone");
    log_.push_back("fetch " + text(layer, blocks));
  }
  void store(std::int64_t layer, const std::vector<std::int32_t>& blocks, std::byte*) override {
    log_.push_back("store " + text(layer, blocks));
  }

 private:
  static std::string text(std::int64_t layer, const std::vector<std::int32_t>& blocks) {
    std::string out = std::to_string(layer) + ":";
    for (const std::int32_t block : blocks) out += " " + std::to_string(block);
    return out;
  }
  std::vector<std::string>& log_;
  std::int64_t fails_;
};

TEST(KvStream, FetchesWhatWasAndStoresWhatIsNewInTheOrderOfLayers) {
  const auto tier = make_host_tier(TierKind::kDevice, 1_MiB);
  std::vector<std::string> log;
  {
    KvStream stream(*tier, shape_of(3, 2), std::make_unique<NotedFar>(log, -1));
    EXPECT_EQ(stream.staging_bytes(), Bytes{2 * 4 * 64});
    EXPECT_EQ(stream.staged(2), stream.staged(0)) << "two layers' room, used in turn";
    const std::int32_t table[] = {3, 1};
    // 20 tokens in the cache and 4 more: block 3 is full, block 1 is read and written.
    const SequenceSlice slice{0, 4, 24, table};
    stream.begin_pass(std::span(&slice, 1));
    for (const std::int64_t layer : {0, 1, 2}) {
      stream.before(layer);
      stream.after(layer);
    }
    stream.drain();
  }
  // Whoever's they are, neighbours come together.
  EXPECT_EQ(log, (std::vector<std::string>{"fetch 0: 1 3", "fetch 1: 1 3", "store 0: 1",
                                           "fetch 2: 1 3", "store 1: 1", "store 2: 1"}));
}

TEST(KvStream, AFailedTransferEndsThePass) {
  const auto tier = make_host_tier(TierKind::kDevice, 1_MiB);
  std::vector<std::string> log;
  KvStream stream(*tier, shape_of(3, 1), std::make_unique<NotedFar>(log, 1));
  const std::int32_t table[] = {0};
  const SequenceSlice slice{0, 1, 2, table};
  stream.begin_pass(std::span(&slice, 1));
  stream.before(0);
  stream.after(0);
  EXPECT_THROW(stream.before(1), Error);
}

TEST(KvStream, OnAVirtualClockTheSlowerOfComputeAndLinkSetsThePace) {
  const auto tier = make_dry_tier(TierKind::kDevice, 1_MiB);
  VirtualClock clock;
  KvStream stream(*tier, shape_of(4, 2), nullptr);
  Link link;
  link.bytes_per_s.value = 64;  // a block of a layer a second
  stream.run_on(clock, link, {});
  const std::int32_t table[] = {0};
  const SequenceSlice slice{0, 0, 8, table};  // one block to fetch, none to write
  stream.begin_pass(std::span(&slice, 1));
  for (std::int64_t layer = 0; layer < 4; ++layer) {
    stream.before(layer);
    clock.advance({3.0});
    stream.after(layer);
  }
  EXPECT_DOUBLE_EQ(clock.now().v, 1 + 4 * 3) << "only the first is waited for";
  EXPECT_DOUBLE_EQ(stream.take_waited().v, 1);
}

/// A run of a tiny model on the CPU kernels with its cache at `placement`.
Measurement run_with(KvPlacement placement, KvOffload offload, Bytes capacity = 1_GiB) {
  const ModelCard card = tiny_card(5);
  Decisions d = tiny_decisions(card, 40, 12, 3);
  d.prefill_chunk = Tokens{10};
  d.kv_placement = placement;
  d.kv_offload = offload;
  d.capacity = capacity;
  RunRequest request;
  request.random_weights = true;
  request.process_base = 1_B;
  request.offload_directory = testing::TempDir();
  DeviceCard device;
  device.kind = DeviceKind::kCpu;
  return run_local(d, source_of(card), device, request,
                   [](Bytes bytes) { return make_cpu_backend(2, bytes); });
}

Bytes cache_bytes(const Measurement& m, TierKind tier) {
  Bytes sum;
  for (const LedgerRow& row : m.observed.rows()) {
    if (row.category == Category::kKvCache && row.tier == tier) sum += row.bytes;
  }
  return sum;
}

TEST(KvStreamRun, TokensAreThoseOfACacheOnTheDevice) {
  const Measurement device = run_with(KvPlacement::kDevice, {});
  const Bytes all = cache_bytes(device, TierKind::kDevice);
  for (const KvPlacement placement : {KvPlacement::kHost, KvPlacement::kDisk}) {
    const TierKind tier = placement == KvPlacement::kHost ? TierKind::kHost : TierKind::kDisk;
    for (const KvOffload offload : {KvOffload{0, 1}, KvOffload{0, 2}, KvOffload{2, 2}}) {
      const Measurement far = run_with(placement, offload);
      EXPECT_EQ(far.output, device.output) << name_of(placement) << " " << offload.resident;
      EXPECT_TRUE(far.complete);
      if (placement != KvPlacement::kHost) continue;
      const std::int64_t stays = offload.resident + offload.staging;
      EXPECT_EQ(cache_bytes(far, TierKind::kDevice).n, all.n / 5 * stays);
      EXPECT_EQ(cache_bytes(far, tier).n, all.n / 5 * (5 - offload.resident));
    }
  }
}

TEST(KvStreamRun, RunsAtItsNeedAndNotAByteBelow) {
  Bytes need;
  try {
    run_with(KvPlacement::kHost, {1, 2}, 1_B);
    FAIL();
  } catch (const Error& error) {
    const std::string text = error.message();
    need = {std::stoll(text.substr(text.find(" B: ") + 4))};
  }
  EXPECT_TRUE(run_with(KvPlacement::kHost, {1, 2}, need + 1_B).complete);
  EXPECT_THROW(run_with(KvPlacement::kHost, {1, 2}, need), Error);
}

}  // namespace
}  // namespace vramplan
