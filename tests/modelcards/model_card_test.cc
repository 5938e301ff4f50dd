#include "modelcards/model_card.h"

#include <gtest/gtest.h>

#include <functional>
#include <random>

#include "modelcards/error.h"
#include "modelcards/library.h"

namespace vramplan {
namespace {

const char* const kHead =
    "name: tiny\ntitle: Tiny\nfamily: llama\nsource: a test\nevidence: assumed\n"
    "hidden: 64\nvocab: 100\ncontext_limit: 256\n";
const char* const kLayers =
    "layers:\n  - count: 2\n    mixer: {heads: 4}\n    feed_forward: {intermediate: 128}\n";

ModelCard tiny() { return parse_model_card(std::string(kHead) + kLayers, "tiny.yaml"); }

Error error_of(const std::function<void()>& action) {
  try {
    action();
  } catch (const Error& error) {
    return error;
  }
  ADD_FAILURE() << "no error";
  return {ErrorCode::kInternal, "none"};
}

Error parse_error(const std::string& more) {
  return error_of([&] { parse_model_card(kHead + more, "tiny.yaml"); });
}

TEST(ModelCard, WhatIsNotWrittenFollowsFromTheRest) {
  const ModelCard card = tiny();
  ASSERT_EQ(card.layer_count(), 2);
  const Mixer& mixer = card.layers[1].mixer;
  EXPECT_EQ(mixer.kv_heads, 4);
  EXPECT_EQ(mixer.head_dim, 16);
  EXPECT_EQ(mixer.value_dim, 16);
  EXPECT_EQ(mixer.rope.rotary_dim, 16);
  EXPECT_TRUE(card.layers[0].feed_forward.gated);
  EXPECT_EQ(card.stored_weights, DType::kBF16);
}

TEST(ModelCard, PatternsUnrollInOrderOverTheCommonPart) {
  const ModelCard card = parse_model_card(std::string(kHead) + R"(
layer:
  post_norms: true
  mixer: {heads: 4, rope: {theta: 500, interleaved: true}}
  feed_forward: {intermediate: 128}
layers:
  - repeat: 2
    pattern:
      - count: 2
        mixer: {kind: sliding_window, window_tokens: 32, rope: {theta: 10}}
      - mixer: {qk_norm: true}
  - feed_forward: {intermediate: 64, gated: false}
)",
                                          "tiny.yaml");
  ASSERT_EQ(card.layer_count(), 7);
  for (const std::size_t i : {0, 1, 3, 4}) {
    EXPECT_EQ(card.layers[i].mixer.window_tokens, 32) << i;
    EXPECT_EQ(card.layers[i].mixer.rope.theta, 10) << i;
    EXPECT_TRUE(card.layers[i].mixer.rope.interleaved) << i;
  }
  EXPECT_EQ(card.layers[2].mixer.kind, MixerKind::kFullAttention);
  EXPECT_TRUE(card.layers[5].mixer.qk_norm);
  EXPECT_EQ(card.layers[5].mixer.rope.theta, 500);
  EXPECT_EQ(card.layers[6].feed_forward.intermediate, 64);
  EXPECT_FALSE(card.layers[6].mixer.qk_norm);
  EXPECT_TRUE(card.layers[6].post_norms);
}

TEST(ModelCard, BadFilesNameTheField) {
  const std::vector<std::pair<std::string, std::string>> cases{
      {"", "(document)"},
      {"layers: []", "layers"},
      {"layers: 4", "layers"},
      {"layers:\n  - count: 0", "layers[0].count"},
      {"layers:\n  - count: 5000", "layers[0].count"},
      {"layers:\n  - {repeat: 4000, pattern: [{count: 4000}]}", "layers[0].pattern[0]"},
      {"layers:\n  - {repeat: 2, pattern: []}", "layers[0].pattern"},
      {"layers:\n  - {count: 2, pattern: [{}]}", "layers[0].count"},
      {"layers:\n  - {pattern: [{pattern: [{}]}]}", "layers[0].pattern[0].pattern"},
      {"layers:\n  - mixer: {haeds: 4}", "layers[0].mixer.haeds"},
      {"layers:\n  - mixer: {heads: 0}", "layers[0].mixer.heads"},
      {"layers:\n  - mixer: {heads: 1000000000000}", "layers[0].mixer.heads"},
      {"layers:\n  - mixer: {kind: convolution}", "layers[0].mixer.kind"},
      {"layers:\n  - mixer: {heads: 4, rope: {rotary: 3}}", "layers[0].mixer.rope.rotary"},
      {"stored_weights: q9_9\nlayers: [{}]", "stored_weights"},
      {"vocab_size: 3\nlayers: [{}]", "vocab_size"},
      {"norm_eps: 0\nlayers: [{}]", "norm_eps"},
      {"tied_head: yes\nlayers: [{}]", "tied_head"},
  };
  for (const auto& [text, field] : cases) {
    SCOPED_TRACE(text);
    const Error error = parse_error(text);
    EXPECT_EQ(error.code(), ErrorCode::kBadYaml);
    EXPECT_EQ(error.field(), field);
  }
}

TEST(ModelCard, ContradictionsNameTheFieldAndTheFile) {
  const std::string ff = "\n    feed_forward: {intermediate: 128}\n";
  const std::vector<std::pair<std::string, std::string>> cases{
      {"layers:\n  - mixer: {}" + ff, "layers[0].mixer.heads"},
      {"layers:\n  - mixer: {heads: 5}" + ff, "layers[0].mixer.head_dim"},
      {"layers:\n  - mixer: {heads: 4, kv_heads: 3}" + ff, "layers[0].mixer.kv_heads"},
      {"layers:\n  - mixer: {heads: 4, kind: sliding_window}" + ff,
       "layers[0].mixer.window_tokens"},
      {"layers:\n  - mixer: {heads: 4, window_tokens: 9}" + ff, "layers[0].mixer.window_tokens"},
      {"layers:\n  - mixer: {heads: 4, rope: {rotary_dim: 17}}" + ff,
       "layers[0].mixer.rope.rotary_dim"},
      {"layers:\n  - mixer: {heads: 4, rope: {rotary_dim: 18}}" + ff,
       "layers[0].mixer.rope.rotary_dim"},
      {"layers:\n  - mixer: {heads: 4, rope: {scaling: ntk}}" + ff, "layers[0].mixer.rope.scaling"},
      {"layers:\n  - mixer: {heads: 4, rope: {scaling: yarn}}" + ff,
       "layers[0].mixer.rope.original_context"},
      {"position: none\nlayers:\n  - mixer: {heads: 4, rope: {rotary_dim: 8}}" + ff,
       "layers[0].mixer.rope.rotary_dim"},
      {"layers:\n  - mixer: {heads: 4}\n    feed_forward: {}",
       "layers[0].feed_forward.intermediate"},
      {"layers:\n  - mixer: {heads: 4}\n    feed_forward: {intermediate: 8, experts: 4}",
       "layers[0].feed_forward.experts"},
      {"layers:\n  - mixer: {heads: 4}\n"
       "    feed_forward: {kind: moe, intermediate: 8, experts: 4, experts_per_token: 5}",
       "layers[0].feed_forward.experts_per_token"},
      {"layers:\n  - parallel_two_norms: true\n    mixer: {heads: 4}" + ff,
       "layers[0].parallel_two_norms"},
      {"layers:\n  - {parallel: true, post_norms: true, mixer: {heads: 4}, feed_forward: "
       "{intermediate: 8}}",
       "layers[0].parallel"},
      {"learned_positions: 9\nlayers:\n  - mixer: {heads: 4}" + ff, "learned_positions"},
      {"position: learned\nlearned_positions: 9\nlayers:\n  - mixer: {heads: 4}" + ff,
       "learned_positions"},
  };
  for (const auto& [text, field] : cases) {
    SCOPED_TRACE(text);
    const Error error = parse_error(text);
    EXPECT_EQ(error.code(), ErrorCode::kBadCard);
    EXPECT_EQ(error.field(), field);
    EXPECT_EQ(error.file(), "tiny.yaml");
    EXPECT_FALSE(error.fix().empty());
  }
}

TEST(ModelCard, MixersWithoutTheirFieldsAreRefusedByName) {
  for (const char* kind : {"mla", "linear"}) {
    const Error error = parse_error(std::string("layers:\n  - mixer: {heads: 4, kind: ") + kind +
                                    "}\n    feed_forward: {intermediate: 128}\n");
    EXPECT_EQ(error.code(), ErrorCode::kBadCard);
    const char* field = kind == std::string("mla") ? "kv_lora_rank" : "linear.heads";
    EXPECT_NE(error.field().find(field), std::string::npos) << error.field();
  }
}

TEST(ModelCard, ACardBuiltByHandIsCheckedToo) {
  ModelCard card = tiny();
  card.hidden = 0;
  EXPECT_EQ(error_of([&] { validate(card); }).field(), "hidden");
  card = tiny();
  card.norm_eps = std::numeric_limits<double>::quiet_NaN();
  EXPECT_EQ(error_of([&] { validate(card); }).field(), "norm_eps");
  card = tiny();
  card.layers[1].mixer.head_dim = std::numeric_limits<std::int64_t>::max();
  EXPECT_EQ(error_of([&] { validate(card); }).field(), "layers[1].mixer.head_dim");
  card = tiny();
  card.layers.clear();
  EXPECT_EQ(error_of([&] { validate(card); }).field(), "layers");
}

TEST(ModelCard, TheHashSeesEveryNumberAndNoText) {
  const std::uint64_t base = card_hash(tiny());
  EXPECT_EQ(card_hash(tiny()), base);
  ModelCard named = tiny();
  named.name = named.title = named.family = named.source = "other";
  EXPECT_EQ(card_hash(named), base);
  const std::vector<const char*> changes{"hidden=128",
                                         "vocab=101",
                                         "context_limit=512",
                                         "norm=layer",
                                         "norm_eps=1e-6",
                                         "norm_one_plus=true",
                                         "final_norm=false",
                                         "tied_head=true",
                                         "head_bias=true",
                                         "embedding_scale=2",
                                         "logit_softcap=30",
                                         "stored_weights=f16",
                                         "layer_count=1",
                                         "layer_count=3",
                                         "layers[1].kv_heads=2",
                                         "layers[0].kv_heads=2",
                                         "layers.head_dim=32",
                                         "layers.value_dim=8",
                                         "layers.window_tokens=8",
                                         "layers.qkv_bias=true",
                                         "layers.output_bias=true",
                                         "layers.qk_norm=true",
                                         "layers.softmax_scale=0.5",
                                         "layers.score_softcap=50",
                                         "layers.rope.theta=5",
                                         "layers.rotary_dim=8",
                                         "layers.interleaved=true",
                                         "layers.rope.factor=2",
                                         "layers.intermediate=64",
                                         "layers.gated=false",
                                         "layers.feed_forward.bias=true",
                                         "layers.activation=gelu",
                                         "layers.post_norms=true",
                                         "layers.parallel=true",
                                         "layers.pre_norms=false"};
  std::vector<std::uint64_t> seen{base};
  for (const char* change : changes) {
    SCOPED_TRACE(change);
    ModelCard card = tiny();
    set_field(card, change);
    const std::uint64_t hash = card_hash(card);
    for (const std::uint64_t other : seen) EXPECT_NE(hash, other);
    seen.push_back(hash);
  }
}

TEST(ModelCard, TheHashIsStableAcrossBuilds) {
  // Plans on disk hold this number. It changes only when a default or a field's meaning changes.
  EXPECT_EQ(card_hash(model_card("smollm2-135m")), 7689720133622450955ULL);
  EXPECT_EQ(card_hash(model_card("gpt2")), 14772304242343846282ULL);
}

TEST(ModelCard, SetReachesAllLayersOrOne) {
  ModelCard card = model_card("llama-3-70b");
  set_field(card, "layers.kv_heads=64");
  for (const Layer& layer : card.layers) EXPECT_EQ(layer.mixer.kv_heads, 64);
  set_field(card, "layers[3].kv_heads=8");
  EXPECT_EQ(card.layers[3].mixer.kv_heads, 8);
  EXPECT_EQ(card.layers[4].mixer.kv_heads, 64);
  set_field(card, "layers.mixer.heads=32");  // kv_heads followed where it was equal
  EXPECT_EQ(card.layers[4].mixer.kv_heads, 32);
  EXPECT_EQ(card.layers[3].mixer.kv_heads, 8);
}

TEST(ModelCard, SetKeepsWhatWasEqualEqual) {
  ModelCard card = tiny();
  set_field(card, "layers.head_dim=32");
  EXPECT_EQ(card.layers[0].mixer.value_dim, 32);
  EXPECT_EQ(card.layers[0].mixer.rope.rotary_dim, 32);
  set_field(card, "layers.value_dim=8");
  set_field(card, "layers.head_dim=64");
  EXPECT_EQ(card.layers[0].mixer.value_dim, 8);
  EXPECT_EQ(card.layers[0].mixer.rope.rotary_dim, 64);
}

TEST(ModelCard, SetWindowsLayersThatHaveOne) {
  ModelCard gemma = model_card("gemma-2-2b");
  set_field(gemma, "layers.window_tokens=1024");
  EXPECT_EQ(gemma.layers[0].mixer.window_tokens, 1024);
  EXPECT_EQ(gemma.layers[1].mixer.window_tokens, 0);
  ModelCard full = tiny();
  set_field(full, "layers.window_tokens=16");
  EXPECT_EQ(full.layers[0].mixer.kind, MixerKind::kSlidingWindow);
  set_field(full, "layers.window_tokens=0");
  EXPECT_EQ(card_hash(full), card_hash(tiny()));
  set_field(gemma, "layers.mixer.kind=full_attention");
  EXPECT_EQ(gemma.layers[0].mixer.window_tokens, 0);
}

TEST(ModelCard, SetLayerCountCutsOrRepeats) {
  ModelCard card = tiny();
  set_field(card, "layer_count=5");
  EXPECT_EQ(card.layer_count(), 5);
  EXPECT_EQ(card.layers[4].mixer.heads, 4);
  set_field(card, "layer_count=1");
  EXPECT_EQ(card.layer_count(), 1);
  ModelCard gemma = model_card("gemma-2-2b");
  set_field(gemma, "layer_count=4");
  EXPECT_EQ(error_of([&] { set_field(gemma, "layer_count=6"); }).code(), ErrorCode::kUsage);
  EXPECT_EQ(gemma.layer_count(), 4);
}

TEST(ModelCard, BadSetsAreUsageErrorsThatChangeNothing) {
  ModelCard card = tiny();
  const std::uint64_t before = card_hash(card);
  for (const char* bad : {"",
                          "=",
                          "hidden",
                          "hidden=",
                          "=5",
                          "hiden=5",
                          "hidden=x",
                          "hidden=010",
                          "hidden=0",
                          "hidden=-1",
                          "hidden=1e3",
                          "hidden=99999999999999999999",
                          "hidden=[1]",
                          "hidden=&a 1",
                          "layers=3",
                          "layers.=3",
                          "layers.kind=none",
                          "layers[2].heads=4",
                          "layers[-1].heads=4",
                          "layers[x].heads=4",
                          "layers[0]heads=4",
                          "layers[0.heads=4",
                          "layers[99999999999999999999].heads=4",
                          "layers.haeds=4",
                          "layer_count=0",
                          "layer_count=5000",
                          "name=x",
                          "tied_head=maybe",
                          "stored_weights=q9",
                          "norm=batch",
                          "hidden=1\nvocab=2",
                          "layers.rope=3"}) {
    SCOPED_TRACE(bad);
    EXPECT_EQ(error_of([&] { set_field(card, bad); }).code(), ErrorCode::kUsage);
    EXPECT_EQ(card_hash(card), before);
  }
  EXPECT_EQ(error_of([&] { set_field(card, "layers.kv_heads=3"); }).code(), ErrorCode::kBadCard);
  EXPECT_EQ(card_hash(card), before);
  EXPECT_NE(error_of([&] { set_field(card, "layers.kv_head=2"); }).fix().find("layers.kv_heads"),
            std::string::npos);
  EXPECT_NE(error_of([&] { set_field(card, "layers[0].kv_head=2"); }).fix().find("layers.kv_heads"),
            std::string::npos);
  EXPECT_NE(error_of([&] { set_field(card, "voacb=2"); }).fix().find("vocab"), std::string::npos);
}

TEST(ModelCard, EveryShippedCardWritesAndReadsBack) {
  for (const std::string& name : model_card_names()) {
    SCOPED_TRACE(name);
    const ModelCard card = model_card(name);
    const ModelCard again = parse_model_card(write_model_card(card), "again.yaml");
    EXPECT_EQ(card_hash(again), card_hash(card));
    EXPECT_EQ(again.layer_count(), card.layer_count());
    EXPECT_EQ(again.title, card.title);
    EXPECT_EQ(again.source, card.source);
    EXPECT_EQ(again.family, card.family);
  }
}

TEST(ModelCard, MutatedFilesParseOrGiveATypedError) {
  std::mt19937 random(3);
  const std::string original = write_model_card(model_card("gemma-2-2b"));
  int parsed = 0;
  for (int i = 0; i < 400; ++i) {
    std::string text = original;
    for (int k = 0; k < 3; ++k) text[random() % text.size()] = static_cast<char>(random() % 128);
    try {
      validate(parse_model_card(text, "fuzz.yaml"));
      ++parsed;
    } catch (const Error& error) {
      EXPECT_EQ(exit_code(error.code()) == 2 || error.code() == ErrorCode::kUnsupported, true)
          << error.what();
    }
  }
  EXPECT_LT(parsed, 400);
}

}  // namespace
}  // namespace vramplan
