// TensorRT-LLM's twin, term by term.
#include <gtest/gtest.h>

#include <cmath>

#include "tests/planner/engines/rig.h"

namespace vramplan {
namespace {

// 2 x tokens x heads x head_dim x c of the whole group: 8 heads a rank of 8, c = 5 with 8 ranks.
// Source: aiconfigurator, as the table says.
TEST(Trtllm, ActivationsAreThoseOfAllHeads) {
  test::Rig rig(EngineKind::kTrtllm);
  rig.model.heads = 8;
  rig.model.attention_tp = 8;
  rig.decisions.sharding.tp = 8;
  EXPECT_EQ(trtllm_rank(rig.input()).activations.n, 2LL * 8192 * 8 * 128 * 8 * 5);
}

// (capacity - beside - weights - activations - context) x fraction.
TEST(Trtllm, TheFractionIsOfWhatIsFreeThen) {
  test::Rig rig(EngineKind::kTrtllm);
  rig.settings.beside = 10_GiB;
  const EngineForecast f = trtllm_rank(rig.input());
  EXPECT_EQ(f.activations.n, 2LL * 8192 * 4096 * 11);
  const Bytes free = 80_GiB - 10_GiB - 16_GiB - f.activations - 512_MiB;
  EXPECT_EQ(f.kv.n, std::llround(0.9 * static_cast<double>(free.n)));
}

TEST(Trtllm, APoolIsWholeBlocks) {
  test::Rig rig(EngineKind::kTrtllm);
  rig.decisions.block = TokensPerBlock{32};
  rig.settings.kv_cache_memory = Bytes{131072LL * 1000};
  EXPECT_EQ(trtllm_rank(rig.input()).kv_tokens, Tokens{992});
}

}  // namespace
}  // namespace vramplan
