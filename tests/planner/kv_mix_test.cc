#include "planner/kv_mix.h"

#include <gtest/gtest.h>
#include <rapidcheck/gtest.h>

#include "planner/kv_cache.h"
#include "planner/plan.h"
#include "tests/planner/cards.h"

namespace vramplan {
namespace {

using Heads = std::uint64_t;

ModelCard card_of(int layers) {
  ModelCard card = test::llama_3_70b();
  card.layers.resize(static_cast<std::size_t>(layers));
  return card;
}

template <class Run>
Error error_of(Run run) {
  try {
    run();
  } catch (const Error& error) {
    return error;
  }
  ADD_FAILURE() << "no error";
  return {ErrorCode::kInternal, ""};
}

TEST(KvMix, WordsNameLayersFormatsAndHeads) {
  const auto layers = parse_kv_layers("0-1:f16,20-29:kivi2,5:kivi4/0/2", "--kv-layers");
  ASSERT_EQ(layers.size(), 3U);
  EXPECT_EQ(layers[0], (KvLayerRange{0, 2, {KvFormat::kF16}}));
  EXPECT_EQ(layers[1], (KvLayerRange{20, 30, {KvFormat::kKivi2}}));
  EXPECT_EQ(layers[2], (KvLayerRange{5, 6, {KvFormat::kKivi4, KvHeads{5}}}));
  EXPECT_EQ(text_of(layers), "0-1:f16,20-29:kivi2,5:kivi4/0/2");
  EXPECT_EQ(parse_kv_heads("2,0", "--kv-full-heads").bits, Heads{5});
  EXPECT_EQ(text_of(KvHeads{5}), "0,2");
}

TEST(KvMix, EveryWordThatIsNoneNamesTheFlagAndTheForm) {
  for (const char* text : {"", ",", "0", "0:", ":f16", "0-:f16", "-1:f16", "3-2:f16", "0-1-2:f16",
                           "0:f17", "0:f16:f16", "x:f16", "0:f16,", "0:kivi2/", "0:kivi2/64",
                           "0:kivi2/x", "1000001:f16", "99999999999999999999:f16"}) {
    const Error error = error_of([&] { parse_kv_layers(text, "--kv-layers"); });
    EXPECT_EQ(error.code(), ErrorCode::kUsage) << text;
    EXPECT_EQ(error.field(), "--kv-layers") << text;
    EXPECT_FALSE(error.fix().empty()) << text;
  }
}

RC_GTEST_PROP(KvMix, WhatIsWrittenReadsBackAlike, ()) {
  std::vector<KvLayerRange> layers;
  std::int64_t at = 0;
  const int pieces = *rc::gen::inRange(1, 6);
  for (int i = 0; i < pieces; ++i) {
    const std::int64_t begin = at + *rc::gen::inRange(0, 4);
    at = begin + *rc::gen::inRange(1, 5);
    const auto format = static_cast<KvFormat>(*rc::gen::inRange(0, kKvFormats));
    layers.push_back({begin, at, {format, KvHeads{*rc::gen::inRange<Heads>(0, 256)}}});
  }
  RC_ASSERT(parse_kv_layers(text_of(layers), "") == layers);
}

TEST(KvMix, OneWayToWriteAMix) {
  const ModelCard card = card_of(6);
  Decisions d;
  d.kv_format = KvFormat::kF16;
  d.kv_layers = parse_kv_layers("3:int8,0-1:f16,2:int8,5:kivi2", "");
  settle_kv_layers(card, d);
  EXPECT_EQ(text_of(d.kv_layers), "2-3:int8,5:kivi2");
  // All named: the format of most layers is what the others do without a name.
  d.kv_layers = parse_kv_layers("0-3:int8,4-5:kivi2", "");
  settle_kv_layers(card, d);
  EXPECT_EQ(d.kv_format, KvFormat::kInt8);
  EXPECT_EQ(text_of(d.kv_layers), "4-5:kivi2");
  d.kv_layers = parse_kv_layers("0-5:kivi4/1", "");
  settle_kv_layers(card, d);
  EXPECT_EQ(d.kv_format, KvFormat::kKivi4);
  EXPECT_EQ(d.kv_full_heads.bits, Heads{2});
  EXPECT_TRUE(d.kv_layers.empty());
}

TEST(KvMix, WhatAModelDoesNotHaveIsRefused) {
  ModelCard card = card_of(6);
  card.layers[2].mixer.kind = MixerKind::kLinear;
  card.layers[4].mixer.kv_shared = true;
  const auto code = [&](const char* layers, Heads full = 0, KvFormat rest = KvFormat::kF16,
                        int tp = 1) {
    Decisions d;
    d.kv_format = rest;
    d.kv_full_heads.bits = full;
    d.sharding.tp = tp;
    if (*layers != 0) d.kv_layers = parse_kv_layers(layers, "");
    return error_of([&] { settle_kv_layers(card, d); }).code();
  };
  EXPECT_EQ(code("6:int8"), ErrorCode::kUsage);
  EXPECT_EQ(code("3-9:int8"), ErrorCode::kUsage);
  EXPECT_EQ(code("0-1:int8,1:fp8"), ErrorCode::kUsage);
  EXPECT_EQ(code("2:int8"), ErrorCode::kUnsupported);
  EXPECT_EQ(code("1-4:int8"), ErrorCode::kUnsupported);
  EXPECT_EQ(code("4:int8"), ErrorCode::kUnsupported);
  EXPECT_EQ(code("0:int8/1"), ErrorCode::kUsage);
  EXPECT_EQ(code("0:kivi2/8"), ErrorCode::kUsage);  // heads are 0 to 7
  EXPECT_EQ(code("0:kivi2/0/1/2/3/4/5/6/7"), ErrorCode::kUsage);
  EXPECT_EQ(code("", 1), ErrorCode::kUsage);
  EXPECT_EQ(code("", 1 << 8, KvFormat::kKivi2), ErrorCode::kUsage);
  EXPECT_EQ(code("", 1, KvFormat::kKivi2, 2), ErrorCode::kUnsupported);
}

TEST(KvMix, PoolsAreTwoWhereSomeLayersHaveAWindow) {
  Decisions d;
  d.kv_layers = parse_kv_layers("1:kivi2", "");
  EXPECT_FALSE(mixes_windows(d));  // no window was decided
  d.kv_residual.tokens = Tokens{128};
  EXPECT_TRUE(mixes_windows(d));
  EXPECT_TRUE(has_window(d, KvFormat::kKivi4));
  EXPECT_FALSE(has_window(d, KvFormat::kF16));
  d.kv_policy = KvPolicy::kStrided;  // every layer has one
  d.kv_layers = parse_kv_layers("1:int8", "");
  EXPECT_FALSE(mixes_windows(d));
}

/// 70B: 8 heads of 128. A packed head has 3 / 8 B an element, one in f16 2 B.
TEST(KvMix, BytesOfATokenAreThoseOfEachLayersHeads) {
  const ModelCard card = card_of(4);
  Decisions d;
  d.kv_format = KvFormat::kInt8;
  d.kv_layers = parse_kv_layers("0:f16,3:kivi2/1/6", "");
  const std::int64_t int8 = 2 * 8 * (128 + 4), f16 = 2 * 8 * 128 * 2;
  const std::int64_t kivi2 = 2 * 6 * 128 * 3 / 8 + 2 * 2 * 128 * 2;
  EXPECT_EQ(kv_bytes_per_token(card, d).n, f16 + 2 * int8 + kivi2);
  const RankModel model = rank_model(card, d, {}, 0);
  EXPECT_EQ(model.kinds.size(), 3U);
  EXPECT_EQ(kv_growing_per_token(model, d).n, f16 + 2 * int8 + kivi2);
}

TEST(KvMix, AnEngineHasNoFlagForIt) {
  Decisions d;
  EXPECT_NO_THROW(refuse_kv_mix(d, "vllm"));
  d.kv_layers = parse_kv_layers("1:int8", "");
  EXPECT_EQ(error_of([&] { refuse_kv_mix(d, "vllm"); }).code(), ErrorCode::kUnsupported);
}

}  // namespace
}  // namespace vramplan
