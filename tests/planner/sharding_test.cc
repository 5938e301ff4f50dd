#include "planner/sharding.h"

#include <gtest/gtest.h>

#include "cards.h"

namespace vramplan {
namespace {

using namespace test;

TEST(Sharding, AnUnevenSplitIsRefusedAndTheValidOnesAreNamed) {
  std::string text;
  const auto split = [] { choose_sharding(llama_3_70b(), gpu_80gb(), {{}, 3, {}, {}, {}}); };
  EXPECT_EQ(code_of(split, &text), ErrorCode::kUsage);
  EXPECT_NE(text.find("--tp"), std::string::npos) << text;
  EXPECT_NE(text.find("1, 2, 4, 8, 16, 32, 64"), std::string::npos) << text;
}

TEST(Sharding, KvHeadsAreSplitOrReplicatedNeverRounded) {
  EXPECT_EQ(kv_heads_of_rank(8, 2), 4);
  EXPECT_EQ(kv_heads_of_rank(8, 8), 1);
  EXPECT_EQ(kv_heads_of_rank(8, 16), 1);
  EXPECT_EQ(kv_heads_of_rank(0, 4), 0);
  // 12 heads over 6 kv heads: 4 ranks would hold one and a half.
  EXPECT_EQ(valid_tensor_parallel(llama("x", {1, 64, 12, 6, 16, 144, 10}), 12),
            (std::vector<int>{1, 2, 3, 6, 12}));
}

TEST(Sharding, TheDefaultIsTheWidestSplitInsideANode) {
  const ModelCard card = llama_3_70b();
  const Sharding eight = choose_sharding(card, gpu_80gb(), {8, {}, {}, {}, {}});
  EXPECT_EQ(eight.tp, 8);
  EXPECT_EQ(eight.pp, 1);
  const Sharding sixteen = choose_sharding(card, gpu_80gb(), {16, {}, {}, {}, {}});
  EXPECT_EQ(sixteen.tp, 8);
  EXPECT_EQ(sixteen.pp, 2);
  const Sharding six =
      choose_sharding(card, gpu_80gb(), {6, {}, {}, {}, {}});  // 6 and 3 split nothing evenly
  EXPECT_EQ(six.tp, 2);
  EXPECT_EQ(six.pp, 3);
}

TEST(Sharding, ProductsThatAreNotTheCountAreRefused) {
  const ModelCard card = llama_3_70b();
  const DeviceCard device = gpu_80gb();
  EXPECT_EQ(code_of([&] { choose_sharding(card, device, {8, 4, 4, {}, {}}); }), ErrorCode::kUsage);
  EXPECT_EQ(code_of([&] { choose_sharding(card, device, {6, 4, {}, {}, {}}); }), ErrorCode::kUsage);
  EXPECT_EQ(code_of([&] { choose_sharding(card, device, {2, 4, {}, {}, {}}); }), ErrorCode::kUsage);
  EXPECT_EQ(code_of([&] {
              choose_sharding(card, device, {{}, 1, 81, {}, {}});
            }),
            ErrorCode::kUsage);
  EXPECT_EQ(code_of([&] {
              choose_sharding(card, device, {0, {}, {}, {}, {}});
            }),
            ErrorCode::kUsage);
  EXPECT_EQ(choose_sharding(card, device, {{}, 4, 2, {}, {}}).ranks(), 8);
  EXPECT_EQ(choose_sharding(card, device, {8, {}, 4, {}, {}}).tp, 2);
}

TEST(Sharding, RanksCountStageByStage) {
  const ModelCard card = llama_3_70b();
  const RankShape shape = rank_shape(card, {4, 3, 1, 1}, 9);
  EXPECT_EQ(shape.stage, 2);
  EXPECT_EQ(shape.tensor_rank, 1);
  EXPECT_EQ(shape.layers.begin, 54);  // 27 + 27 + 26
  EXPECT_EQ(shape.layers.end, 80);
  EXPECT_FALSE(shape.embedding);
  EXPECT_TRUE(shape.head);
  EXPECT_EQ(shape.vocab_rows, 32064);
  EXPECT_EQ(rank_shape(llama("x", {2, 64, 4, 2, 16, 128, 101}), {2, 1, 1, 1}, 1).vocab_rows, 51);
}

TEST(Sharding, ALatentIsOnEveryRankAndItsHeadsAreSplit) {
  ModelCard card = tiny();
  for (Layer& layer : card.layers) {
    layer.mixer.kind = MixerKind::kMla;
    layer.mixer.kv_heads = 4;
    layer.mixer.kv_lora_rank = 32;
    layer.mixer.qk_rope_dim = layer.mixer.rope.rotary_dim = 8;
  }
  EXPECT_NO_THROW(validate(card));
  EXPECT_EQ(layer_shape(card.layers[0], 4).latent, 40);
  EXPECT_EQ(layer_shape(card.layers[0], 4).heads, 1);
  EXPECT_EQ(valid_tensor_parallel(card, 4), (std::vector<int>{1, 2, 4}));
}

TEST(Sharding, HeadsOfALinearMixerAreSplitAndItsKeysReplicated) {
  ModelCard card = tiny();
  card.layers[0].mixer.kind = MixerKind::kLinear;
  card.layers[0].mixer.linear = {LinearKind::kMamba2, 8, 1, 16, 8, 4};
  card.layers[0].mixer.linear.norm = true;
  EXPECT_NO_THROW(validate(card));
  const LayerShape shape = layer_shape(card.layers[0], 4);
  EXPECT_EQ(shape.linear_heads, 2);
  EXPECT_EQ(shape.linear_inner, 16);
  EXPECT_EQ(shape.linear_keys, 16);
  card.layers[0].mixer.linear.heads = 6;
  EXPECT_EQ(valid_tensor_parallel(card, 4), (std::vector<int>{1, 2}));
}

// Mixtral: 8 experts of 14,336. Four ranks that all share them have two whole ones each, two of
// four have four halves.
TEST(Sharding, ExpertRanksHoldWholeExperts) {
  const Layer layer = mixtral_8x7b().layers.front();
  EXPECT_EQ(layer_shape(layer, 4, 4).experts, 2);
  EXPECT_EQ(layer_shape(layer, 4, 4).intermediate, 14336);
  EXPECT_EQ(layer_shape(layer, 4, 2).experts, 4);
  EXPECT_EQ(layer_shape(layer, 4, 2).intermediate, 7168);
  EXPECT_EQ(layer_shape(layer, 4).intermediate, 3584);
  const auto split = [](ShardingRequest request) {
    return [request] { choose_sharding(mixtral_8x7b(), gpu_80gb(), request); };
  };
  EXPECT_EQ(code_of(split({{}, 4, 1, {}, 3})), ErrorCode::kUsage);
  EXPECT_EQ(code_of(split({{}, 16, 1, {}, 16})), ErrorCode::kUsage) << "8 experts for 16 ranks";
  EXPECT_EQ(code_of([&] {
              choose_sharding(tiny(), gpu_80gb(), {{}, 2, 1, {}, 2});
            }),
            ErrorCode::kUsage);
}

TEST(Sharding, ContextRanksAreCountedAndAlike) {
  const ModelCard card = llama_3_70b();
  const Sharding s = choose_sharding(card, gpu_80gb(), {8, 2, {}, 2, {}});
  EXPECT_EQ(s.pp, 2);
  EXPECT_EQ(s.ranks(), 8);
  EXPECT_EQ(s.share(1001), 501);
  EXPECT_EQ(rank_shape(card, s, 3).stage, 0);
  EXPECT_EQ(rank_shape(card, s, 4).stage, 1);
  EXPECT_EQ(rank_shape(card, s, 5).tensor_rank, 1);
  EXPECT_EQ(code_of([&] {
              choose_sharding(card, gpu_80gb(), {8, 2, {}, 3, {}});
            }),
            ErrorCode::kUsage);
}

// The mean and sqrt(2 ln n) deviations.
TEST(Sharding, TheBusiestRankHasWhatChanceGivesIt) {
  EXPECT_DOUBLE_EQ(busiest(10, 4, 1), 10);
  EXPECT_NEAR(busiest(10, 4, 8), 10 + 2 * 2.0393, 1e-3);
}

}  // namespace
}  // namespace vramplan
