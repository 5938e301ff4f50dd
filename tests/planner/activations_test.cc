#include "planner/activations.h"

#include <gtest/gtest.h>
#include <rapidcheck/gtest.h>

#include "cards.h"
#include "kernels/packed_parts.h"
#include "kernels/workspace.h"
#include "planner/op_work.h"

namespace vramplan {
namespace {

using namespace test;

RankModel tiny_as(DType dtype, int tp = 1) {
  Decisions d = decisions_of(tp, 1);
  d.weights = dtype;
  return rank_model(tiny(), d, {}, 0);
}

ScratchRules rules(DeviceKind kind, DType activations) {
  return {kind, 4, activations, AttentionAlgorithm::kTiled};
}

TEST(Activations, FeedForwardOfAPrefillChunkCountedByHand) {
  // x and n [32, 64], gate and up [32, 128] in f32; 8-bit codes of the input: 32 x 2 x 40 B.
  const std::int64_t x = 32 * 64 * 4, gate = 32 * 128 * 4, scratch = 32 * 2 * 40;
  const Moment moment =
      peak_moment(tiny_as(DType::kQ8_0), rules(DeviceKind::kCpu, DType::kF32), {32, 0, 1, 32});
  EXPECT_EQ(moment.live.n, 2 * x + 2 * gate + scratch);
  EXPECT_EQ(moment.where, "feed-forward");
  Bytes sum;
  for (const LiveTensor& tensor : moment.tensors) sum += tensor.bytes;
  EXPECT_EQ(sum, moment.live);
  EXPECT_EQ(moment.tensors.size(), 5U);
}

TEST(Activations, AttentionHoldsThePeakWhenTheFeedForwardIsNarrow) {
  ModelCard card = tiny();
  for (Layer& layer : card.layers) layer.feed_forward.intermediate = 16;
  const RankModel model = rank_model(card, decisions_of(), {}, 0);
  // x, n, q [32, 64], k, v [32, 32] in bf16; no scratch on a GPU.
  const Moment moment = peak_moment(model, rules(DeviceKind::kGpu, DType::kBF16), {32, 0, 1, 32});
  EXPECT_EQ(moment.live.n, (3 * 32 * 64 + 2 * 32 * 32) * 2);
  EXPECT_EQ(moment.where, "attention");
}

TEST(Activations, TheHeadHoldsThePeakOfALargeVocabulary) {
  ModelCard card = tiny();
  card.vocab = 100'000;
  const RankModel one = rank_model(card, decisions_of(), {}, 0);
  // n [3, 64] f16-sized bf16 -> 384 B, rounded to 512; logits [3, 100000] f32, rounded to 256.
  const Moment moment = peak_moment(one, rules(DeviceKind::kGpu, DType::kBF16), {3, 3, 3, 10});
  EXPECT_EQ(moment.live.n, 512 + 1'200'128);
  EXPECT_EQ(moment.where, "head");
  // Two ranks: half the logits each, gathered into all of them; n is gone by then.
  const RankModel half = rank_model(card, decisions_of(2, 1), {}, 0);
  EXPECT_EQ(peak_bytes(half, rules(DeviceKind::kGpu, DType::kBF16), {3, 3, 3, 10}).n,
            600'064 + 1'200'128);
}

TEST(Activations, NaiveAttentionMaterialisesTheScores) {
  ScratchRules naive = rules(DeviceKind::kGpu, DType::kBF16);
  const RankModel model = tiny_as(DType::kF16);
  const PassShape pass{512, 0, 1, 4096};
  const Bytes tiled = peak_bytes(model, naive, pass);
  naive.attention = AttentionAlgorithm::kNaive;
  const Moment moment = peak_moment(model, naive, pass);
  // x, q, o and the scores [4, 512, 4096] f32
  EXPECT_EQ(moment.live.n, 3 * 512 * 64 * 2 + 4LL * 512 * 4096 * 4);
  EXPECT_GT(moment.live, tiled * 10);
  // The spike is quadratic: twice the chunk over twice the cache takes four times the scores.
  EXPECT_EQ(attention_scratch(naive, {1024, 0, 1, 8192}, model.kinds[0]),
            attention_scratch(naive, pass, model.kinds[0]) * 4);
}

TEST(Activations, ParallelLayersKeepTheirNormedInput) {
  ModelCard card = tiny();
  const auto peak = [&] {
    return peak_bytes(rank_model(card, decisions_of(), {}, 0), rules(DeviceKind::kGpu, DType::kF32),
                      {32, 0, 1, 32});
  };
  for (Layer& layer : card.layers) {
    layer.feed_forward.intermediate = 16;
    layer.mixer.kv_heads = 1;
  }
  const std::int64_t row = 32 * 4;               // one feature of 32 tokens in f32
  EXPECT_EQ(peak().n, (3 * 64 + 2 * 16) * row);  // x n q k v
  for (Layer& layer : card.layers) layer.parallel = true;
  EXPECT_EQ(peak().n, 4 * 64 * row);  // x n q o
  for (Layer& layer : card.layers) layer.parallel_two_norms = true;
  EXPECT_EQ(peak().n, (4 * 64 + 2 * 16) * row);  // x n n q k v
}

TEST(Activations, ChunksThatOccurAreTheFullOneAndTheLast) {
  Decisions d = decisions_of();
  d.context = 1000_tokens;
  d.output = 100_tokens;
  d.prefill_chunk = 256_tokens;
  const auto passes = prefill_passes(d, true);  // 256 256 256 132
  ASSERT_EQ(passes.size(), 2U);
  EXPECT_EQ(passes[0].tokens, 256);
  EXPECT_EQ(passes[0].logit_rows, 0);
  EXPECT_EQ(passes[0].kv_length, 768);
  EXPECT_EQ(passes[1].tokens, 132);
  EXPECT_EQ(passes[1].logit_rows, 1);
  EXPECT_EQ(passes[1].kv_length, 900);
  EXPECT_EQ(prefill_passes(d, false)[1].logit_rows, 0);
  d.prefill_chunk = 900_tokens;
  EXPECT_EQ(prefill_passes(d, true).size(), 1U);
  ASSERT_EQ(decode_passes(d, true).size(), 1U);
  EXPECT_EQ(decode_passes(d, true)[0].kv_length, 999);
  d.output = 1_tokens;
  EXPECT_TRUE(decode_passes(d, true).empty());
}

TEST(Activations, RoutedExpertsTakeARowAToken) {
  ModelCard card = tiny();
  for (Layer& layer : card.layers) {
    layer.feed_forward.kind = FeedForwardKind::kMoe;
    layer.feed_forward.experts = 8;
    layer.feed_forward.experts_per_token = 2;
  }
  const RankModel model = rank_model(card, decisions_of(), {}, 0);
  const Moment moment = peak_moment(model, rules(DeviceKind::kGpu, DType::kF32), {32, 0, 1, 32});
  // x, n, router scores [32, 8], routed rows [64, 64], gate and up [64, 128]
  EXPECT_EQ(moment.live.n, (2 * 32 * 64 + 32 * 8 + 64 * 64 + 2 * 64 * 128) * 4);
}

// Two formulas, written apart: the CPU operations' own, and the planner's.
RC_GTEST_PROP(Activations, ScratchIsWhatTheCpuOperationsAskFor, ()) {
  const int threads = *rc::gen::inRange(1, 64);
  const std::int64_t tokens = *rc::gen::inRange<std::int64_t>(1, 600);
  const std::int64_t features = 32 * *rc::gen::inRange<std::int64_t>(1, 400);
  const DType dtype = *rc::gen::element(DType::kF32, DType::kF16, DType::kBF16, DType::kQ4_1,
                                        DType::kQ8_0, DType::kI8, DType::kQ6_K, DType::kF8E4M3,
                                        DType::kFp8Channel, DType::kFp8Block);
  const DType inputs = *rc::gen::element(DType::kI8, DType::kF32, DType::kF8E4M3);
  ScratchRules r{DeviceKind::kCpu, threads, DType::kF32, AttentionAlgorithm::kTiled, inputs};
  RC_ASSERT(linear_scratch(r, tokens, features, dtype) ==
            cpu::linear_workspace(tokens, features, dtype, inputs, threads));

  const std::int64_t sequences = *rc::gen::inRange<std::int64_t>(1, 9);
  const std::int64_t queries = *rc::gen::element<std::int64_t>(1, 2, 77);
  const std::int64_t kv = queries + *rc::gen::inRange<std::int64_t>(0, 500);
  const std::vector<SequenceSlice> slices(static_cast<std::size_t>(sequences),
                                          {0, queries, kv, nullptr});
  AttentionParams params;
  params.naive = *rc::gen::arbitrary<bool>();
  const RankModel model = tiny_as(DType::kF16);
  params.heads = model.kinds[0].shape.heads;
  r.attention = params.naive ? AttentionAlgorithm::kNaive : AttentionAlgorithm::kTiled;
  RC_ASSERT(
      attention_scratch(r, {queries * sequences, 0, sequences, kv}, model.kinds[0]) ==
      cpu::attention_workspace(slices, model.kinds[0].layer.mixer.value_dim, params, threads));
}

TEST(Activations, Fp8InputsMeetTheWeightsThatKernelsTakeThemFor) {
  for (int i = 0; i <= static_cast<int>(DType::kNvfp4Packed); ++i) {
    const auto dtype = static_cast<DType>(i);
    EXPECT_EQ(takes_fp8_inputs(dtype), has_fp8_rows(dtype)) << info(dtype).name;
  }
}

RC_GTEST_PROP(Activations, MoreTokensNeverTakeLess, ()) {
  const RankModel model = tiny_as(*rc::gen::element(DType::kF16, DType::kQ8_0));
  const ScratchRules r = rules(*rc::gen::element(DeviceKind::kCpu, DeviceKind::kGpu), DType::kF32);
  const std::int64_t tokens = *rc::gen::inRange<std::int64_t>(2, 600);
  RC_ASSERT(peak_bytes(model, r, {tokens, 1, 1, tokens}) <=
            peak_bytes(model, r, {tokens + 1, 1, 1, tokens + 1}));
}

}  // namespace
}  // namespace vramplan
