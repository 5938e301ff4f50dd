// Pools by window, held against TensorRT-LLM's own published example and its rounding.
#include "planner/engines/attention_windows.h"

#include <gtest/gtest.h>

#include "modelcards/error.h"
#include "modelcards/library.h"
#include "planner/engines/command.h"
#include "tests/planner/engines/rig.h"

namespace vramplan {
namespace {

EngineModel six_layers() {
  EngineModel model;
  model.kv = {{MixerKind::kFullAttention, 0, 6, BytesPerToken{1024}}};
  model.layer_kv.assign(6, BytesPerToken{1024});
  return model;
}

// Layer 1 keeps 1024, layers 0, 4, 5 4096, layers 2, 3 8192: shares 1024 : 12288 : 16384 of 29696.
// Source of the example: TensorRT-LLM kvCacheManager.h, calculateWindowSizeToShare.
TEST(AttentionWindows, SharesAreWindowTimesBytes) {
  const Bytes cache{1024LL * 29696 * 10};
  const auto pools = window_pools(six_layers(), {4096, 1024, 8192, 8192, 4096, 4096}, Tokens{8192},
                                  cache, TokensPerBlock{32}, std::nullopt);
  ASSERT_EQ(pools.size(), 3u);
  EXPECT_EQ(pools[0].tokens, Tokens{10 * 1024});
  EXPECT_EQ(pools[1].tokens, Tokens{10 * 4096});
  EXPECT_EQ(pools[2].tokens, Tokens{10 * 8192});
  EXPECT_EQ(pools[0].bytes + pools[1].bytes + pools[2].bytes, cache);
  EXPECT_DOUBLE_EQ(sequences_in(pools, Tokens{8192}, TokensPerBlock{32}), 10.0);
}

TEST(AttentionWindows, TheListRepeatsAndEndsAtTheLongestSequence) {
  const auto pools = window_pools(six_layers(), {512, 131072}, Tokens{2048},
                                  Bytes{1024LL * 3 * 2560}, TokensPerBlock{32}, std::nullopt);
  ASSERT_EQ(pools.size(), 2u);
  EXPECT_EQ(pools[0].bytes_per_token, BytesPerToken{3 * 1024});
  EXPECT_EQ(pools[1].window, 2048);
  EXPECT_EQ(pools[1].tokens, Tokens{2048});
}

TEST(AttentionWindows, BlocksAreRoundedUpAndMaxTokensBoundsEveryPool) {
  const auto pools = window_pools(six_layers(), {100, 1000}, Tokens{1000}, Bytes{1024LL * 3 * 1100},
                                  TokensPerBlock{32}, Tokens{500});
  EXPECT_EQ(pools[0].tokens, Tokens{128});
  EXPECT_EQ(pools[1].tokens, Tokens{512});
}

TEST(AttentionWindows, AModelsListIsItsShortestPattern) {
  const ModelCard gemma = model_card("gemma-3-27b");
  Decisions d;
  EXPECT_EQ(attention_windows(gemma, d, Tokens{8192}),
            (std::vector<std::int64_t>{1024, 1024, 1024, 1024, 1024, 8192}));
  EXPECT_TRUE(attention_windows(gemma, d, Tokens{1024}).empty());
  d.sharding.pp = 2;  // 62 layers: the second stage begins with the second of six
  EXPECT_TRUE(attention_windows(gemma, d, Tokens{8192}).empty());
  EXPECT_TRUE(attention_windows(model_card("llama-3.1-8b"), {}, Tokens{8192}).empty());
}

TEST(AttentionWindows, TextIsReadStrictly) {
  EXPECT_EQ(attention_windows_text(parse_attention_windows("512,8192", "f")), "512,8192");
  for (const char* bad : {"", "0", "512,", ",512", "1e3", "-5", "99999999999999", "5 12"}) {
    EXPECT_THROW(parse_attention_windows(bad, "f"), Error) << bad;
  }
}

TEST(Trtllm, PoolsByWindowHoldMoreSequences) {
  test::Rig rig(EngineKind::kTrtllm);
  rig.model.layer_kv.assign(32, BytesPerToken{4096});
  rig.settings.kv_cache_memory = Bytes{131072LL * 65536};
  EXPECT_DOUBLE_EQ(trtllm_rank(rig.input()).max_concurrency, 1.0);
  rig.settings.attention_windows = {1024, 65536};
  const EngineForecast f = trtllm_rank(rig.input());
  EXPECT_EQ(f.kv_pools.size(), 2u);
  EXPECT_NEAR(f.max_concurrency, 2 * 65536.0 / (65536 + 1024), 0.002);
  EXPECT_EQ(f.kv_tokens.n, static_cast<std::int64_t>(f.max_concurrency * 65536));
}

}  // namespace
}  // namespace vramplan
