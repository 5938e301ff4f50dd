// Cases that broke at least one published planner, each with the answer that is right. Traps of a
// single engine's allocator (page groups, copies of masks, meaning of a utilisation flag, engines
// that start at once) are in engine_traps_test.cc.
#include <gtest/gtest.h>

#include <cmath>

#include "modelcards/library.h"
#include "planner/activations.h"
#include "planner/kv_cache.h"
#include "planner/weights.h"

namespace vramplan {
namespace {

Decisions on(int tp, int pp = 1) {
  Decisions d;
  d.sharding.tp = tp;
  d.sharding.pp = pp;
  d.context = 1024_tokens;
  d.output = 1_tokens;
  d.prefill_chunk = 1024_tokens;
  d.activations = DType::kBF16;
  return d;
}

std::int64_t per_token(const std::string& card, int tp, KvFormat format) {
  return kv_bytes_per_token(rank_model(model_card(card), on(tp), {}, 0), format).n;
}

// Dims of LFM2-1.2B: six of sixteen layers attend.
const char* const kLfm2 = R"({"model_type":"lfm2","hidden_size":2048,"intermediate_size":12288,
  "num_hidden_layers":16,"num_attention_heads":32,"num_key_value_heads":8,"vocab_size":65536,
  "max_position_embeddings":128000,"torch_dtype":"bfloat16","conv_L_cache":3,
  "full_attn_idxs":[2,5,8,10,12,14]})";

TEST(GoldenTraps, T01_ALatentCacheIsWholeOnEveryTensorRank) {
  for (const int tp : {1, 2, 8}) {
    EXPECT_EQ(per_token("deepseek-v3", tp, KvFormat::kBF16), 70'272) << tp;
    EXPECT_EQ(per_token("deepseek-r1", tp, KvFormat::kBF16), 70'272) << tp;
  }
}

TEST(GoldenTraps, T02_TheFp8LatentCarriesScalesAndItsRotaryPart) {
  EXPECT_EQ(per_token("deepseek-v3", 8, KvFormat::kFp8DsMla), 656 * 61);
}

TEST(GoldenTraps, T03_TheNvfp4LatentOverTwoContextRanks) {
  ModelCard card = model_card("deepseek-v3");
  card.layers.resize(78, card.layers.back());
  EXPECT_EQ(kv_bytes_per_token(card, KvFormat::kNvfp4DsMla).n / 2, 14'352);
}

TEST(GoldenTraps, T04_GptOssCountsAllLayersAToken) {
  EXPECT_EQ(per_token("gpt-oss-120b", 1, KvFormat::kBF16), 36 * 2048);
  const double gib = 78'384.0 * 36 * 2048 / (1 << 30);
  EXPECT_NEAR(gib, 5.38, 0.005);
}

TEST(GoldenTraps, T05_AlternatingWindowsAreTwoKindsOfLayer) {
  const RankModel model = rank_model(model_card("gpt-oss-20b"), on(1), {}, 0);
  ASSERT_EQ(model.kinds.size(), 2U);
  EXPECT_EQ(model.kinds[0].count, 12);
  EXPECT_EQ(model.kinds[1].count, 12);
}

TEST(GoldenTraps, T07_LayersWithoutHeadsKeepNoCacheButAState) {
  const ModelCard card = parse_hf_config(kLfm2, "lfm2/config.json");
  Decisions d = on(1);
  d.kv_format = KvFormat::kF16;
  d.context = 32'768_tokens;
  const RankModel model = rank_model(card, d, {}, 0);
  EXPECT_EQ(kv_growing_bytes(model, d), 384_MiB);
  EXPECT_EQ(kv_state_bytes(model, d).n, 10 * 2048 * 2 * 2);  // two inputs of 2048 channels a layer
}

TEST(GoldenTraps, T08_OneOfFourLayersOfAHybridKeepsACache) {
  const ModelCard card = model_card("qwen3.5-35b-a3b");
  EXPECT_EQ(kv_bytes_per_token(card, KvFormat::kBF16).n, 10 * 2 * 2 * 256 * 2);
  const Decisions d = on(1);
  const std::int64_t recurrent = 32 * 128 * 128 * 4, convolution = (2 * 16 + 32) * 128 * 3 * 2;
  EXPECT_EQ(kv_state_bytes(rank_model(card, d, {}, 0), d).n, 30 * (recurrent + convolution));
}

TEST(GoldenTraps, T09_TheControl) {
  EXPECT_EQ(per_token("mistral-small-24b", 1, KvFormat::kBF16), 163'840);
  EXPECT_NEAR(184'832.0 * 163'840 / (1 << 30), 28.20, 0.005);
}

TEST(GoldenTraps, T10_QuantisedRowsHaveScales) {
  const std::int64_t elements = 40 * 2 * 8 * 128;
  EXPECT_EQ(per_token("mistral-small-24b", 1, KvFormat::kQ8_0), elements * 34 / 32);
  EXPECT_EQ(per_token("mistral-small-24b", 1, KvFormat::kQ4_0), elements * 18 / 32);
}

TEST(GoldenTraps, T11_Nvfp4IsSeventyTwoBytesAHeadForKAndForV) {
  EXPECT_EQ(per_token("mistral-small-24b", 1, KvFormat::kNvfp4), 40 * 8 * (72 + 72));
}

TEST(GoldenTraps, T13_LogitsOfEveryRowAreThePeak) {
  const ModelCard card = model_card("qwen3.5-35b-a3b");
  const RankModel model = rank_model(card, on(1), {}, 0);
  const ScratchRules rules{DeviceKind::kGpu, 1, DType::kBF16, AttentionAlgorithm::kTiled};
  const std::int64_t logits = 4LL * card.vocab * 8192;
  EXPECT_GE(peak_bytes(model, rules, {8192, 8192, 1, 8192}).n, logits);
  EXPECT_LT(peak_bytes(model, rules, {8192, 1, 1, 8192}).n, logits);
  EXPECT_NEAR(static_cast<double>(logits) / (1 << 30), 7.6, 0.1);
}

TEST(GoldenTraps, T14_ATiedTableIsHeldTwiceOverStages) {
  const ModelCard card = model_card("llama-3.2-1b");
  ASSERT_TRUE(card.tied_head);
  Bytes stages;
  for (const int rank : {0, 1}) stages += weight_bytes(rank_model(card, on(1, 2), {}, rank));
  EXPECT_EQ((stages - weight_bytes(rank_model(card, on(1), {}, 0))).n,
            card.vocab * card.hidden * 2);
}

TEST(GoldenTraps, T15_FewerKvHeadsThanRanksAreReplicated) {
  EXPECT_EQ(per_token("qwen3-30b-a3b", 8, KvFormat::kBF16) * 8,
            2 * per_token("qwen3-30b-a3b", 1, KvFormat::kBF16));
}

TEST(GoldenTraps, T16_FourBitWeightsHaveScalesAndZerosAndSixteenBitTables) {
  const ModelCard card = model_card("llama-3-70b");
  Decisions d = on(1);
  d.weights = DType::kAwqI4;
  const std::int64_t tables = 2 * card.vocab * card.hidden, norms = (2 * 80 + 1) * card.hidden;
  const std::int64_t matrices = count_parameters(card).total.n - tables - norms;
  EXPECT_EQ(weight_bytes(rank_model(card, d, {}, 0)).n,
            matrices / 2 + matrices / 128 * 5 / 2 + (tables + norms) * 2);
  EXPECT_NEAR(bytes_per_element(DType::kAwqI4), 0.5195, 5e-5);
}

TEST(GoldenTraps, T17_Mxfp4IsSeventeenBytesPerThirtyTwo) {
  EXPECT_EQ(bytes_per_element(DType::kMxfp4Packed), 0.53125);
  const RankModel model = rank_model(model_card("gpt-oss-120b"), on(1), {}, 0);
  const WeightTensor* up = find_part(model.kinds[0], Part::kExpertUp);
  ASSERT_NE(up, nullptr);
  EXPECT_EQ(up->bytes().n, 128LL * 2880 * 2880 / 32 * 17);
  EXPECT_EQ(find_part(model.kinds[0], Part::kQ)->dtype, DType::kBF16);  // attention is not packed
}

TEST(GoldenTraps, T19_FurtherTokenLayersHaveWeightsAndACache) {
  ModelCard card = model_card("deepseek-v3");
  EXPECT_EQ(count_parameters(card).total.n, 671'026'419'200);
  set_field(card, "mtp_loaded=true");
  EXPECT_EQ(kv_bytes_per_token(card, KvFormat::kBF16).n, 62 * 1152);
  // A layer with experts, two norms, a norm before the head, and the matrix that joins both inputs.
  EXPECT_EQ(count_parameters(card).total.n - 671'026'419'200,
            11'507'286'272 + 3 * 7168 + 7168LL * 2 * 7168);
}

TEST(GoldenTraps, T20_AnEncoderIsNoDecoder) {
  try {
    parse_hf_config(R"({"model_type":"bert","hidden_size":1024})", "bge-m3/config.json");
    FAIL();
  } catch (const Error& error) {
    EXPECT_EQ(error.code(), ErrorCode::kUnsupported);
    EXPECT_NE(error.message().find("encoder"), std::string::npos);
  }
}

TEST(GoldenTraps, T24_RanksMustDivideHeadsAndWidthAndPadTheVocabulary) {
  EXPECT_EQ(valid_tensor_parallel(model_card("qwen2.5-7b"), 8), (std::vector<int>{1, 2, 4}));
  EXPECT_EQ(rank_shape(model_card("gpt2"), {2, 1, 1, 1}, 0).vocab_rows, 25'129);
}

}  // namespace
}  // namespace vramplan
