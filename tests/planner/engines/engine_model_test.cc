#include "planner/engines/engine_model.h"

#include <gtest/gtest.h>

#include "modelcards/library.h"
#include "tests/planner/cards.h"

namespace vramplan {
namespace {

EngineModel model_of(const char* card, int tp, const EngineFormats& formats) {
  ModelSource source;
  source.card = model_card(card);
  Decisions d;
  d.sharding.tp = tp;
  return engine_model(source, d, formats, 0);
}

TEST(EngineModel, PlainWeightsAreParametersTimesTwoAndTheRotaryTable) {
  const EngineModel model = model_of("llama-3.1-8b", 1, {});
  // 8,030,261,248 parameters; 131,072 positions x 128 of cos and sin.
  EXPECT_EQ(model.weights.n, 8'030'261'248 * 2 + 131'072 * 128 * 2);
  EXPECT_EQ(model.kv_bytes_per_token().n, 131'072);
}

TEST(EngineModel, WithoutRotaryTablesOnlyTensorsCount) {
  EngineFormats formats;
  formats.rotary_tables = false;
  EXPECT_EQ(model_of("llama-3.1-8b", 1, formats).weights.n, 8'030'261'248 * 2);
}

TEST(EngineModel, Fp8LinearsTakeAByteAndAScaleARow) {
  EngineFormats formats;
  formats.rotary_tables = false;
  formats.quantization = Quantization::kFp8;
  // Per layer: 4096 x (4096 + 1024 + 1024) + 4096 x 4096 + 3 x 4096 x 14336 weights in
  // 4096 + 1024 + 1024 + 4096 + 2 x 14336 + 4096 rows; two norms; two tables and the last norm.
  const std::int64_t linear = 4096LL * 6144 + 4096LL * 4096 + 3LL * 4096 * 14336;
  const std::int64_t rows = 4096 + 1024 + 1024 + 4096 + 2 * 14336 + 4096;
  const std::int64_t outside = (2LL * 128256 * 4096 + 4096) * 2;
  EXPECT_EQ(model_of("llama-3.1-8b", 1, formats).weights.n,
            32 * (linear + 4 * rows + 2 * 4096 * 2) + outside);
}

TEST(EngineModel, FormatsTakeTheirBlocksAndScales) {
  EXPECT_EQ(quantised_bytes(Quantization::kInt4, 128, 256).n, 128 * 128 + 128 * 2 * 5 / 2);
  EXPECT_EQ(quantised_bytes(Quantization::kMxfp4, 32, 64).n, 32 * 2 * 17);
  EXPECT_EQ(quantised_bytes(Quantization::kNvfp4, 16, 64).n, 16 * 4 * 9 + 4);
  EXPECT_EQ(quantised_bytes(Quantization::kFp8Block, 256, 256).n, 256 * 256 + 4 * 4);
  EXPECT_EQ(quantised_bytes(Quantization::kFp8, 10, 20).n, 200 + 40);
}

TEST(EngineModel, FewerKvHeadsThanRanksAreReplicated) {
  // qwen2.5-7b has 4 kv heads: on 4 ranks one each; per token 28 layers x 2 x 128 x 2 B.
  EXPECT_EQ(model_of("qwen2.5-7b", 4, {}).kv_bytes_per_token().n, 28 * 2 * 128 * 2);
}

// 128 experts of 768 columns, 4 ranks: 32 whole experts or a quarter of each take the same bytes,
// until scales of 128 x 128 tiles do not divide a quarter of 768 = 192 columns.
TEST(EngineModel, WholeExpertsTakeNoPartialTiles) {
  EngineFormats split, whole;
  whole.expert_parallel = 4;
  EXPECT_EQ(model_of("qwen3-30b-a3b", 4, split).weights.n,
            model_of("qwen3-30b-a3b", 4, whole).weights.n);
  EXPECT_EQ(model_of("qwen3-30b-a3b", 4, whole).expert_intermediate, 768);
  split.quantization = whole.quantization = Quantization::kFp8Block;
  // gate and up of 128 experts are one matrix of 128 x 192 rows: its tiles divide either way. Down:
  // 48 layers x 128 experts of 2048 rows: 2 tiles for 192 columns against 6 of 32 experts for 768.
  const std::int64_t split_tiles = 128LL * 16 * 2, whole_tiles = 32LL * 16 * 6;
  EXPECT_EQ(
      model_of("qwen3-30b-a3b", 4, split).weights.n - model_of("qwen3-30b-a3b", 4, whole).weights.n,
      48 * 4 * (split_tiles - whole_tiles));
}

// Four groups of one rank: attention, router, norms and tables are whole on each; experts are a
// quarter, as without groups.
TEST(EngineModel, GroupsHoldWholeAttentionAndPartsOfExperts) {
  EngineFormats groups;
  groups.rotary_tables = false;
  groups.groups.count = 4;
  EngineFormats none;
  none.rotary_tables = false;
  const EngineModel four = model_of("qwen3-30b-a3b", 4, groups);
  const EngineModel split = model_of("qwen3-30b-a3b", 4, none);
  const EngineModel whole = model_of("qwen3-30b-a3b", 1, none);
  EXPECT_EQ(four.expert_weights, split.expert_weights);
  EXPECT_EQ(four.weights - four.expert_weights, whole.weights - whole.expert_weights);
  EXPECT_EQ(four.kv_bytes_per_token(), whole.kv_bytes_per_token());
  EXPECT_EQ(four.heads, whole.heads);
  EXPECT_EQ(four.expert_intermediate, split.expert_intermediate);
  groups.groups.whole_head = true;  // SGLang: the head over all ranks
  EXPECT_EQ((four.weights - model_of("qwen3-30b-a3b", 4, groups).weights).n,
            151936LL * 2048 * 2 * 3 / 4);
  groups.groups.count = 3;
  EXPECT_THROW(model_of("qwen3-30b-a3b", 4, groups), Error);
}

TEST(EngineModel, LayersOfOneKindAreOneEntry) {
  const EngineModel model = model_of("gemma-3-27b", 1, {});
  ASSERT_EQ(model.kv.size(), 2u);
  EXPECT_EQ(model.kv[0].layers + model.kv[1].layers, 62);
}

TEST(EngineModel, AnUnknownQuantizationIsRefusedByName) {
  EXPECT_THROW(parse_quantization("compressed-tensors"), Error);
  EXPECT_EQ(parse_quantization("awq_marlin"), Quantization::kInt4);
}

// gpt-oss-120b on four ranks: 32 whole experts each, rows of 2,880 padded to 2,944 and columns to
// 3,072 as the kernels want them, 17 B for 32 elements.
TEST(EngineModel, WholeExpertsInMxfp4ArePaddedEach) {
  EngineFormats formats;
  formats.quantization = Quantization::kMxfp4;
  formats.mxfp4_hidden_granule = 256;
  formats.mxfp4_intermediate_granule = 128;
  formats.expert_parallel = 4;
  EXPECT_EQ(model_of("gpt-oss-120b", 4, formats).expert_weights.n,
            36LL * 3 * 32 * 2944 * 3072 / 32 * 17);
}

// A tower's layers are split like the decoder's, and it computes whether the card holds its weights
// or the request names them.
TEST(EngineModel, ATowerIsSplitAndComputes) {
  EngineFormats formats;
  const EngineModel plain = model_of("llama-3.1-8b", 4, formats);
  EXPECT_FALSE(plain.vision);
  formats.tower = Bytes{4000};
  const EngineModel named = model_of("llama-3.1-8b", 4, formats);
  EXPECT_TRUE(named.vision);
  EXPECT_EQ((named.weights - plain.weights).n, 1000);
  ModelSource held;
  held.card = model_card("llama-3.1-8b");
  held.card.extras.push_back({"v.patch", "encoder", 8, 8, Split::kColumns, true});
  EXPECT_TRUE(engine_model(held, {}, {}, 0).vision);
}

// Layers that differ in something else share a rotary table: 1,048,576 positions x 16 x 2 B once.
TEST(EngineModel, OneRotaryTableIsKeptOnce) {
  ModelSource source;
  source.card = test::tiny();
  EngineFormats without;
  without.rotary_tables = false;
  const auto table = [&] {
    return (engine_model(source, {}, {}, 0).weights - engine_model(source, {}, without, 0).weights)
        .n;
  };
  EXPECT_EQ(table(), (1 << 20) * 16 * 2);
  source.card.layers.back().feed_forward.intermediate = 256;
  EXPECT_EQ(table(), (1 << 20) * 16 * 2);
  source.card.layers.back().mixer.rope.theta *= 100;
  EXPECT_EQ(table(), 2 * (1 << 20) * 16 * 2);
}

}  // namespace
}  // namespace vramplan
