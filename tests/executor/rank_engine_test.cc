#include "executor/rank_engine.h"

#include <gtest/gtest.h>

#include <algorithm>

#include "tests/executor/tiny_model.h"

namespace vramplan {
namespace {

/// A sequence that comes back leaves its place on the host to one that goes in the same pass: what
/// comes is read before what goes is written there.
TEST(RankEngine, BlocksComeBackBeforeOthersTakeTheirPlaceOnTheHost) {
  const ModelCard card = tiny_card();
  Decisions decisions = tiny_decisions(card, 16, 4, 1);
  decisions.preempt = Preempt::kSwap;
  decisions.swap_blocks = Blocks{1};
  const ModelSource source = source_of(card);
  ReferenceBackend backend;
  SingleCommunicator alone, alone_too;
  const ModelPart part = model_part(card, decisions.sharding, 0);
  RankEngine engine({backend, alone, alone_too}, decisions, source, part,
                    {1_MiB, 1_MiB, {decisions.kv_blocks}});
  LoadOptions load;
  load.fill = WeightFill::kRandom;
  engine.load(load);

  SchedulerOptions options;
  options.block = decisions.block;
  options.prefill_chunk = 4;
  options.output = 1;
  Scheduler scheduler(engine.kv(), {{1, 2, 3}}, options);
  Pass pass = *scheduler.next();
  const BlockPool& pool = engine.kv().pool(0);
  const BlockPool& host = *engine.kv().swap_pool();
  ASSERT_EQ(pass.groups[0].slices[0].block_table[0], 0) << "the test uses blocks 2 and 3";
  const std::int64_t size = pool.block_bytes().n;
  std::fill_n(pool.data(2), size, std::byte{0x22});
  std::fill_n(host.data(0), size, std::byte{0x11});
  pass.groups[0].swap_in = {{0, 3}};
  pass.groups[0].swap_out = {{2, 0}};
  TensorView logits = engine.forward(pass);
  engine.give_back(logits);
  const auto holds = [size](const std::byte* block, int value) {
    return std::all_of(block, block + size, [&](std::byte b) { return b == std::byte(value); });
  };
  EXPECT_TRUE(holds(pool.data(3), 0x11));
  EXPECT_TRUE(holds(host.data(0), 0x22));
}

}  // namespace
}  // namespace vramplan
