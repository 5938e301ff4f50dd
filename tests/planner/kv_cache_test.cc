#include "planner/kv_cache.h"

#include <gtest/gtest.h>
#include <rapidcheck/gtest.h>

#include "cards.h"
#include "modelcards/library.h"

namespace vramplan {
namespace {

using namespace test;

ModelCard with_kv_heads(ModelCard card, std::int64_t kv_heads) {
  for (Layer& layer : card.layers) layer.mixer.kv_heads = kv_heads;
  return card;
}

TEST(KvCache, Llama70bWithAndWithoutGroupedQueries) {
  EXPECT_EQ(kv_bytes_per_token(llama_3_70b(), KvFormat::kF16).n, 327'680);
  const ModelCard mha = with_kv_heads(llama_3_70b(), 64);
  EXPECT_EQ(kv_bytes_per_token(mha, KvFormat::kF16).n, 2'621'440);
  EXPECT_EQ(kv_bytes_per_token(mha, KvFormat::kF16) * 131'072_tokens, 320_GiB);
  EXPECT_EQ(kv_bytes_per_token(llama_3_70b(), KvFormat::kBF16) * 131'072_tokens, 40_GiB);
}

TEST(KvCache, EightyLayersOfSixtyFourHeadsAt32kAreEightyGibibytes) {
  EXPECT_EQ(kv_bytes_per_token(with_kv_heads(llama_3_70b(), 64), KvFormat::kF16) * 32'768_tokens,
            80_GiB);
}

TEST(KvCache, SevenBillionWithFullHeads) {
  EXPECT_EQ(kv_bytes_per_token(llama_2_7b(), KvFormat::kF16).n, 512 * 1024);
  EXPECT_EQ(kv_bytes_per_token(llama_2_7b(), KvFormat::kF16) * 8'192_tokens, 4_GiB);
}

TEST(KvCache, EveryFormatAndLayerKindCounts) {
  ModelCard card = tiny();
  EXPECT_EQ(kv_bytes_per_token(card, KvFormat::kF32).n, 2 * 2 * 2 * 16 * 4);
  card.layers[0].mixer.kind = MixerKind::kNone;
  EXPECT_EQ(kv_bytes_per_token(card, KvFormat::kF32).n, 2 * 2 * 16 * 4);
  card.layers[1].mixer.value_dim = 8;  // K and V differ
  EXPECT_EQ(kv_bytes_per_token(card, KvFormat::kF32).n, 2 * (16 + 8) * 4);
}

Blocks blocks_of(std::int64_t batch, Tokens context) {
  Decisions d = decisions_of();
  d.batch = batch;
  d.context = context;
  d.output = 2_tokens;
  return kv_blocks(d);
}

TEST(KvCache, BlocksAreWholePerSequence) {
  EXPECT_EQ(blocks_of(1, 32'768_tokens).n, 2048);
  EXPECT_EQ(blocks_of(3, 17_tokens).n, 6);
  EXPECT_EQ(blocks_of(3, 16_tokens).n, 3);
}

TEST(KvCache, SamplesOfAPromptShareItsWholeBlocks) {
  Decisions d = decisions_of();
  d.batch = d.samples = 3;
  d.context = 1024_tokens;
  d.output = 16_tokens;  // a prompt of 63 whole blocks
  EXPECT_EQ(kv_blocks(d).n, 63 + 3);
  EXPECT_EQ(kv_blocks_unshared(d).n, 3 * 64);
  EXPECT_GE(1 - 66.0 / 192, 0.65);
  d.output = 20_tokens;  // 62 whole blocks, one begun that each copies, one more each
  EXPECT_EQ(kv_blocks(d).n, 62 + 3 * 2);
  d.output = 1_tokens;  // nobody writes behind the prompt
  EXPECT_EQ(kv_blocks(d).n, 64);
  d.batch = 6;
  EXPECT_EQ(kv_blocks(d).n, 2 * 64);
}

TEST(KvCache, ASharedPrefixIsStoredOnce) {
  Decisions d = decisions_of();
  d.batch = 4;
  d.context = 100_tokens;
  d.output = 20_tokens;
  d.shared_prefix = 50_tokens;
  EXPECT_EQ(kv_blocks(d).n, 3 + 4 * (7 - 3));
  d.shared_prefix = 80_tokens;  // all of it, but the last token is computed for its logits
  EXPECT_EQ(kv_blocks(d).n, 4 + 4 * (7 - 4));
  d.shared_prefix = 15_tokens;
  EXPECT_EQ(kv_blocks(d).n, 4 * 7);
}

TEST(KvCache, FewerKvHeadsThanRanksAreReplicated) {
  const ModelCard card = llama("four", {2, 64, 8, 4, 16, 128, 96});
  const Decisions d = decisions_of(8, 1);
  const RankModel rank = rank_model(card, d, {}, 0);
  // One head a rank: eight ranks hold twice the model's cache.
  EXPECT_EQ(kv_bytes_per_token(rank, KvFormat::kF16).n * 8,
            2 * kv_bytes_per_token(card, KvFormat::kF16).n);
}

TEST(KvCache, AWindowedLayerCouldKeepLess) {
  ModelCard card = tiny();
  card.layers[0].mixer.kind = MixerKind::kSlidingWindow;
  card.layers[0].mixer.window_tokens = 32;
  Decisions d = decisions_of();
  d.context = 1024_tokens;
  d.prefill_chunk = 16_tokens;
  const RankModel rank = rank_model(card, d, {}, 0);
  // The last chunk and the 31 tokens before it begin one token into a block, and the first answer
  // has a slot as well: 49 tokens, 4 blocks.
  EXPECT_EQ(window_saving(rank, d).n, 2 * 2 * 16 * 2 * (1024 - 64));
}

TEST(KvCache, TwoBitsWithScalesAreThreeAndTheNewestTokensStayWhole) {
  const ModelCard card = llama("wide", {2, 256, 4, 2, 64, 128, 96});
  Decisions d = decisions_of();
  d.kv_format = KvFormat::kKivi2;
  d.kv_residual.tokens = 128_tokens;
  d.block = TokensPerBlock{32};
  d.context = 1024_tokens;
  const RankModel rank = rank_model(card, d, {}, 0);
  EXPECT_EQ(kv_bytes_per_token(rank, KvFormat::kKivi2).n * 8, 2 * 2 * 2 * 64 * 3);
  EXPECT_EQ(kv_residual_bytes(rank, d).n, 128 * 2 * 2 * 2 * 64 * 2);
  // 1023 tokens are in the cache at most: 895 before the window, in 28 whole blocks of 32.
  EXPECT_EQ(kv_blocks(d).n, 28);
  EXPECT_EQ(kv_growing_bytes(rank, d).n, 28 * 32 * 2 * 2 * 2 * 64 * 3 / 8);
  EXPECT_EQ(kv_bytes_per_token(rank, KvFormat::kKivi4).n * 8, 2 * 2 * 2 * 64 * 5);
  EXPECT_EQ(kv_bytes_per_token(rank, KvFormat::kInt8).n, 2 * 2 * 2 * (64 + 4));
  EXPECT_EQ(code_of([&] { kv_bytes_per_token(rank, KvFormat::kFp8DsMla); }), ErrorCode::kUsage);
}

TEST(KvCache, AStrideOfFourIn8BitsBehind512TokensIs5Point57TimesSmaller) {
  // 8192 tokens of 128 elements: 2 MiB in f16; 512 x 128 x 2 B + 7680 / 4 x 128 x 1 B.
  const ModelCard card = llama("one", {1, 128, 1, 1, 64, 128, 96});  // K and V: 128 elements
  Decisions d = decisions_of();
  d.kv_format = KvFormat::kFp8;
  d.kv_policy = KvPolicy::kStrided;
  d.kv_residual.tokens = 512_tokens;
  d.kv_residual.stride = 4;
  d.context = 8'193_tokens;  // 8192 are in the cache when the last token is made
  const RankModel rank = rank_model(card, d, {}, 0);
  EXPECT_EQ(kv_blocks(d).n * d.block.n, 7680 / 4);
  const Bytes kept = kv_bytes(rank, d);
  EXPECT_EQ(kept.n, 512 * 128 * 2 + 7680 / 4 * 128);
  EXPECT_NEAR(8192.0 * 128 * 2 / static_cast<double>(kept.n), 5.565, 0.001);
}

RC_GTEST_PROP(KvCache, NoTokenIsLostBetweenHistoryAndWindow, ()) {
  const Tokens window{32 * *rc::gen::inRange<std::int64_t>(2, 20)};
  const Tokens cached{*rc::gen::inRange<std::int64_t>(0, 5000)};
  const Tokens packed = packed_tokens(cached, window);
  RC_ASSERT(packed.n % 32 == 0);
  RC_ASSERT((cached - packed) <= window);
  RC_ASSERT(packed.n == 0 || (cached - packed).n > (window.n - 32));
}

RC_GTEST_PROP(KvCache, RanksSplitTheCacheWhenHeadsDivide, ()) {
  const std::int64_t tp = *rc::gen::element<std::int64_t>(1, 2, 4, 8);
  const std::int64_t pp = *rc::gen::inRange<std::int64_t>(1, 4);
  const ModelCard card = llama("any", {*rc::gen::inRange<std::int64_t>(pp, 9), 64, 16,
                                       8 * *rc::gen::inRange<std::int64_t>(1, 3),
                                       8 * *rc::gen::inRange<std::int64_t>(1, 9), 64, 64});
  const Decisions d = decisions_of(static_cast<int>(tp), static_cast<int>(pp));
  std::int64_t sum = 0;
  for (int rank = 0; rank < d.sharding.ranks(); ++rank) {
    sum += kv_bytes_per_token(rank_model(card, d, {}, rank), KvFormat::kF16).n;
  }
  RC_ASSERT(sum == kv_bytes_per_token(card, KvFormat::kF16).n);
}

// Two prompts of two samples and one left over alone: 62 whole blocks of a prompt are shared.
TEST(KvCache, ASampleLeftOverHasItsPromptAlone) {
  Decisions d = decisions_of();
  d.batch = 5;
  d.samples = 2;
  d.context = 1024_tokens;
  d.output = 20_tokens;
  EXPECT_EQ(kv_blocks(d).n, 2 * (62 + 2 * 2) + (62 + 2));
}

// Gemma 3n E2B: 30 layers of which the last 10 read the cache of others; 2 kv heads of 256 in bf16.
// Source: its config.json, num_kv_shared_layers.
TEST(KvCache, LayersThatReadAnothersCacheKeepNone) {
  EXPECT_EQ(kv_bytes_per_token(model_card("gemma-3n-e2b"), KvFormat::kBF16).n,
            20 * 2 * 2 * 256 * 2);
}

// Qwen3-Next: conv_dim = 2 x 16 x 128 + 32 x 128 = 8,192 channels of 3 taps, and a state of 32
// heads of 128 x 128 in f32. Source: modeling_qwen3_next.py.
TEST(KvCache, AGatedDeltaLayersConvolutionSeesItsKeysTwice) {
  LinearMixer linear;
  linear.kind = LinearKind::kGatedDelta;
  linear.heads = 32;
  linear.key_heads = 16;
  linear.key_dim = linear.value_dim = 128;
  linear.conv_kernel = 4;
  Layer layer;
  layer.mixer.kind = MixerKind::kLinear;
  layer.mixer.linear = linear;
  layer.feed_forward.kind = FeedForwardKind::kNone;
  EXPECT_EQ(linear_state_bytes(linear, layer_shape(layer, 1), DType::kBF16).n,
            3LL * 8192 * 2 + 32LL * 128 * 128 * 4);
}

// Layers that predict further tokens keep a cache like the last one's: 2 x 2 heads x 16 x 2 B each.
TEST(KvCache, LoadedMtpLayersKeepACache) {
  ModelCard card = tiny();
  card.mtp_layers = 1;
  card.mtp_loaded = true;
  Decisions d = decisions_of();
  EXPECT_EQ(kv_growing_per_token(rank_model(card, d, {}, 0), d).n, 3 * 128);
}

// 1,000 tokens of a sequence between 4 ranks: 250 each, 16 blocks.
TEST(KvCache, ContextParallelRanksHoldAShareOfASequence) {
  Decisions d = decisions_of();
  d.sharding.cp = 4;
  d.batch = 3;
  d.context = 1000_tokens;
  EXPECT_EQ(kv_blocks(d).n, 3 * 16);
  EXPECT_EQ(table_blocks(d, {}).n, 16);
}

}  // namespace
}  // namespace vramplan
