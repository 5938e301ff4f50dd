// Cards from GGUF headers: what each family's converter writes, and contradictions that are named.
#include <gtest/gtest.h>

#include <cmath>
#include <cstdlib>
#include <functional>

#include "modelcards/gguf.h"
#include "tests/modelcards/gguf_writer.h"

namespace vramplan {
namespace {

using test::GgufWriter;
using test::read_gguf;
using test::tiny_llama;

ModelCard card_of(const GgufWriter& w) {
  ModelCard card = model_card_from_gguf(read_gguf(w.bytes(), "/models/Tiny Model.Q4_1.gguf"));
  validate(card);
  return card;
}

void expect_error(const GgufWriter& w, ErrorCode code, const std::string& field) {
  try {
    card_of(w);
    FAIL() << field;
  } catch (const Error& error) {
    EXPECT_EQ(error.code(), code) << error.what();
    EXPECT_EQ(error.field(), field) << error.what();
  }
}

TEST(GgufCard, LlamaDimsComeFromMetadataAndTensors) {
  const ModelCard card = card_of(tiny_llama());
  EXPECT_EQ(card.name, "tiny-model.q4-1");
  EXPECT_EQ(card.family, "llama");
  EXPECT_EQ(card.hidden, 32);
  EXPECT_EQ(card.vocab, 16);
  EXPECT_EQ(card.context_limit, 128);
  EXPECT_EQ(card.layer_count(), 2);
  EXPECT_TRUE(card.tied_head);
  EXPECT_EQ(card.stored_weights, DType::kQ4_1);
  const Mixer& mixer = card.layers[1].mixer;
  EXPECT_EQ(mixer.heads, 4);
  EXPECT_EQ(mixer.kv_heads, 2);
  EXPECT_EQ(mixer.head_dim, 8);
  EXPECT_EQ(mixer.value_dim, 8);
  EXPECT_EQ(mixer.rope.rotary_dim, 8);
  EXPECT_TRUE(mixer.rope.interleaved);  // the converter permutes q and k of this family
  EXPECT_FALSE(mixer.qkv_bias || mixer.output_bias || mixer.qk_norm);
  EXPECT_EQ(card.layers[1].feed_forward.intermediate, 64);
  EXPECT_TRUE(card.layers[1].feed_forward.gated);
}

TEST(GgufCard, PerLayerHeadsAndAnUntiedHead) {
  GgufWriter w = tiny_llama(1);
  w.tensor("output.weight", {16, 32});
  EXPECT_FALSE(card_of(w).tied_head);
  GgufWriter arrays;
  arrays.text("general.architecture", "llama").u32("llama.context_length", 8);
  arrays.u32("llama.embedding_length", 32).u32("llama.block_count", 2);
  arrays.numbers<std::uint32_t>("llama.feed_forward_length", GgufType::kU32, {64, 32});
  arrays.u32("llama.attention.head_count", 4).f32("llama.attention.layer_norm_rms_epsilon", 1e-6F);
  arrays.numbers<std::int32_t>("llama.attention.head_count_kv", GgufType::kI32, {4, 1});
  arrays.tensor("token_embd.weight", {16, 32});
  arrays.tensor("output_norm.weight", {32});
  for (std::int64_t i = 0; i < 2; ++i) {
    const std::string block = "blk." + std::to_string(i) + ".";
    const std::int64_t kv = i == 0 ? 32 : 8, width = i == 0 ? 64 : 32;
    for (const char* name : {"attn_norm.weight", "ffn_norm.weight"})
      arrays.tensor(block + name, {32});
    for (const char* name : {"attn_q.weight", "attn_output.weight"})
      arrays.tensor(block + name, {32, 32});
    for (const char* name : {"attn_k.weight", "attn_v.weight"})
      arrays.tensor(block + name, {kv, 32});
    for (const char* name : {"ffn_gate.weight", "ffn_up.weight"})
      arrays.tensor(block + name, {width, 32});
    arrays.tensor(block + "ffn_down.weight", {32, width});
  }
  const ModelCard card = card_of(arrays);
  EXPECT_EQ(card.layers[0].mixer.kv_heads, 4);
  EXPECT_EQ(card.layers[1].mixer.kv_heads, 1);
  EXPECT_EQ(card.layers[1].feed_forward.intermediate, 32);
}

TEST(GgufCard, QwenHasNeoxRotaryBiasesAndHeadNorms) {
  GgufWriter w = tiny_llama(1, "qwen3");
  for (const char* name : {"attn_q", "attn_k", "attn_v"}) {
    w.tensor(std::string("blk.0.") + name + ".bias", {name[5] == 'q' ? 32 : 16});
  }
  w.tensor("blk.0.attn_q_norm.weight", {8});
  w.tensor("blk.0.attn_k_norm.weight", {8});
  const ModelCard card = card_of(w);
  EXPECT_FALSE(card.layers[0].mixer.rope.interleaved);
  EXPECT_TRUE(card.layers[0].mixer.qkv_bias);
  EXPECT_FALSE(card.layers[0].mixer.output_bias);
  EXPECT_TRUE(card.layers[0].mixer.qk_norm);
  w.drop("blk.0.attn_k.bias");
  expect_error(w, ErrorCode::kBadGguf, "blk.0.attn_k.bias");
}

TEST(GgufCard, Gemma3SlidesFiveOfSixLayersOnTheirOwnBase) {
  GgufWriter w = tiny_llama(7, "gemma3");
  w.u32("gemma3.attention.sliding_window", 16).f32("gemma3.rope.freq_base", 1e6F);
  w.text("gemma3.rope.scaling.type", "linear").f32("gemma3.rope.scaling.factor", 8);
  for (int i = 0; i < 7; ++i) {
    const std::string block = "blk." + std::to_string(i) + ".";
    for (const char* name : {"post_attention_norm", "post_ffw_norm"})
      w.tensor(block + name + ".weight", {32});
    for (const char* name : {"attn_q_norm", "attn_k_norm"}) w.tensor(block + name + ".weight", {8});
  }
  const ModelCard card = card_of(w);
  for (std::size_t i = 0; i < 7; ++i) {
    const Layer& layer = card.layers[i];
    const bool full = i == 5;
    EXPECT_EQ(layer.mixer.kind, full ? MixerKind::kFullAttention : MixerKind::kSlidingWindow);
    EXPECT_EQ(layer.mixer.window_tokens, full ? 0 : 16);
    EXPECT_EQ(layer.mixer.rope.theta, full ? 1e6 : 1e4);
    EXPECT_EQ(layer.mixer.rope.scaling, full ? "linear" : "none");
    EXPECT_TRUE(layer.post_norms && layer.mixer.qk_norm);
  }
  EXPECT_FALSE(card.norm_one_plus);  // the converter has added the 1
  EXPECT_EQ(card.embedding_scale, std::sqrt(32.0));
}

TEST(GgufCard, Gpt2HasFusedAttentionPositionsAndBiases) {
  GgufWriter w;
  w.text("general.architecture", "gpt2")
      .u32("gpt2.context_length", 20)
      .u32("gpt2.embedding_length", 32);
  w.u32("gpt2.block_count", 1)
      .u32("gpt2.feed_forward_length", 128)
      .u32("gpt2.attention.head_count", 4);
  w.f32("gpt2.attention.layer_norm_epsilon", 1e-5F);
  w.tensor("token_embd.weight", {16, 32});
  w.tensor("position_embd.weight", {20, 32});
  for (const char* stem : {"output_norm", "blk.0.attn_norm", "blk.0.ffn_norm"}) {
    w.tensor(std::string(stem) + ".weight", {32});
    w.tensor(std::string(stem) + ".bias", {32});
  }
  const auto linear = [&](const char* stem, std::int64_t rows, std::int64_t columns) {
    w.tensor(std::string("blk.0.") + stem + ".weight", {rows, columns}, DType::kF16);
    w.tensor(std::string("blk.0.") + stem + ".bias", {rows});
  };
  linear("attn_qkv", 96, 32);
  linear("attn_output", 32, 32);
  linear("ffn_up", 128, 32);
  linear("ffn_down", 32, 128);
  const ModelCard card = card_of(w);
  EXPECT_EQ(card.position, PositionKind::kLearned);
  EXPECT_EQ(card.learned_positions, 20);
  EXPECT_EQ(card.norm, NormKind::kLayer);
  EXPECT_EQ(card.stored_weights, DType::kF16);
  EXPECT_TRUE(card.layers[0].mixer.qkv_bias && card.layers[0].mixer.output_bias);
  EXPECT_TRUE(card.layers[0].feed_forward.bias);
  EXPECT_FALSE(card.layers[0].feed_forward.gated);
}

TEST(GgufCard, AMixtureReadsItsExperts) {
  GgufWriter w = tiny_llama(1);
  for (const char* name : {"ffn_gate", "ffn_up", "ffn_down"})
    w.drop(std::string("blk.0.") + name + ".weight");
  w.u32("llama.expert_count", 4).u32("llama.expert_used_count", 2);
  w.tensor("blk.0.ffn_gate_inp.weight", {4, 32});
  w.tensor("blk.0.ffn_gate_exps.weight", {4, 64, 32});
  w.tensor("blk.0.ffn_up_exps.weight", {4, 64, 32});
  w.tensor("blk.0.ffn_down_exps.weight", {4, 32, 64});
  const FeedForward out = card_of(w).layers[0].feed_forward;
  EXPECT_EQ(out.kind, FeedForwardKind::kMoe);
  EXPECT_EQ(out.experts, 4);
  EXPECT_EQ(out.experts_per_token, 2);
  EXPECT_EQ(out.intermediate, 64);
}

// Factors of rope_freqs.weight as the converter computes them for Llama 3.1 (factor 8).
std::vector<float> llama31_factors(std::size_t count, double theta, double factor) {
  std::vector<float> out;
  for (std::size_t i = 0; i < count; ++i) {
    const double wavelength =
        2 * M_PI * std::pow(theta, static_cast<double>(2 * i) / static_cast<double>(2 * count));
    const double smooth = (8192 / wavelength - 1) / 3;
    const double divisor = wavelength < 2048   ? 1
                           : wavelength > 8192 ? factor
                                               : 1 / ((1 - smooth) / factor + smooth);
    out.push_back(static_cast<float>(divisor));
  }
  return out;
}

TEST(GgufCard, Llama3ScalingIsRecoveredFromItsTable) {
  GgufWriter w = tiny_llama(1);
  w.f32("llama.rope.freq_base", 500000);
  auto& table = w.tensor("rope_freqs.weight", {4});
  const std::vector<float> factors = llama31_factors(4, 500000, 8);
  std::memcpy(table.data.data(), factors.data(), 16);
  const Rope rope = card_of(w).layers[0].mixer.rope;
  EXPECT_EQ(rope.scaling, "llama3");
  EXPECT_EQ(rope.factor, 8);
  EXPECT_EQ(rope.original_context, 8192);
  const float other = 3;
  std::memcpy(w.find("rope_freqs.weight").data.data(), &other, 4);
  expect_error(w, ErrorCode::kUnsupported, "rope_freqs.weight");
  const float nan = std::nanf("");
  std::memcpy(w.find("rope_freqs.weight").data.data() + 12, &nan, 4);
  expect_error(w, ErrorCode::kUnsupported, "rope_freqs.weight");
}

TEST(GgufCard, AMismatchNamesTheTensor) {
  GgufWriter w = tiny_llama();
  w.find("blk.1.attn_k.weight").dims = {32, 32};
  w.find("blk.1.attn_k.weight").data.resize(32 * 20);
  expect_error(w, ErrorCode::kBadGguf, "blk.1.attn_k.weight");
  w = tiny_llama();
  w.drop("blk.0.ffn_down.weight");
  expect_error(w, ErrorCode::kBadGguf, "blk.0.ffn_down.weight");
  w = tiny_llama();
  w.drop("token_embd.weight");
  expect_error(w, ErrorCode::kBadGguf, "token_embd.weight");
  w = tiny_llama();
  w.tensor("blk.1.attn_sinks.weight", {4});
  expect_error(w, ErrorCode::kUnsupported, "blk.1.attn_sinks.weight");
  w = tiny_llama();
  w.tensor("v.patch_embd.weight", {4, 4});
  expect_error(w, ErrorCode::kUnsupported, "v.patch_embd.weight");
}

/// tiny_llama with one key of its own value; later keys cannot repeat, so the header is patched.
GgufWriter with_u32(const std::string& key, std::uint32_t value) {
  GgufWriter w;
  w.text("general.architecture", "llama").f32("llama.attention.layer_norm_rms_epsilon", 1e-5F);
  const std::pair<const char*, std::uint32_t> keys[] = {
      {"llama.context_length", 128},     {"llama.embedding_length", 32},
      {"llama.block_count", 1},          {"llama.feed_forward_length", 64},
      {"llama.attention.head_count", 4}, {"llama.attention.head_count_kv", 2}};
  bool replaced = false;
  for (const auto& [name, usual] : keys) {
    replaced = replaced || name == key;
    w.u32(name, name == key ? value : usual);
  }
  if (!replaced) w.u32(key, value);
  GgufWriter tensors = tiny_llama(1);
  for (const char* name :
       {"token_embd.weight", "output_norm.weight", "blk.0.attn_norm.weight", "blk.0.attn_q.weight",
        "blk.0.attn_k.weight", "blk.0.attn_v.weight", "blk.0.attn_output.weight",
        "blk.0.ffn_norm.weight", "blk.0.ffn_gate.weight", "blk.0.ffn_up.weight",
        "blk.0.ffn_down.weight"}) {
    const GgufWriter::Tensor& from = tensors.find(name);
    w.tensor(name, {1}) = from;
  }
  return w;
}

TEST(GgufCard, NumbersOutOfRangeNameTheirKey) {
  EXPECT_NO_THROW(card_of(with_u32("llama.context_length", 4096)));
  for (const auto& [key, value] : std::vector<std::pair<std::string, std::uint32_t>>{
           {"llama.block_count", 0},
           {"llama.block_count", 0xffffffffU},
           {"llama.block_count", 50},
           {"llama.embedding_length", 0},
           {"llama.embedding_length", 0xffffffffU},
           {"llama.attention.head_count", 0},
           {"llama.attention.head_count", 0xffffffffU},
           {"llama.attention.head_count", 70'000},
           {"llama.attention.head_count", 5},
           {"llama.attention.head_count_kv", 0},
           {"llama.attention.head_count_kv", 3},
           {"llama.feed_forward_length", 0},
           {"llama.context_length", 0},
           {"llama.rope.dimension_count", 9},
           {"llama.attention.key_length", 0}}) {
    SCOPED_TRACE(key + "=" + std::to_string(value));
    const std::string named = value == 5 ? "llama.attention.head_count_kv" : key;
    expect_error(with_u32(key, value), ErrorCode::kBadGguf, named);
  }
  // A believable number that the tensors deny names the tensor.
  expect_error(with_u32("llama.feed_forward_length", 65), ErrorCode::kBadGguf,
               "blk.0.ffn_up.weight");
  expect_error(with_u32("llama.attention.key_length", 16), ErrorCode::kBadGguf,
               "blk.0.attn_q.weight");
  expect_error(with_u32("llama.vocab_size", 17), ErrorCode::kBadGguf, "token_embd.weight");
}

TEST(GgufCard, WhatACardCannotSayIsRefusedByName) {
  expect_error(with_u32("split.count", 3), ErrorCode::kUnsupported, "split.count");
  GgufWriter w = tiny_llama();
  w.text("llama.rope.scaling.type", "longrope");
  expect_error(w, ErrorCode::kUnsupported, "llama.rope.scaling.type");
  w = tiny_llama();
  w.f32("llama.residual_scale", 0.2F);
  expect_error(w, ErrorCode::kUnsupported, "llama.residual_scale");
  w = tiny_llama();
  w.u32("llama.attention.sliding_window", 8);
  expect_error(w, ErrorCode::kUnsupported, "llama.attention.sliding_window");
  expect_error(tiny_llama(1, "qwen3next"), ErrorCode::kUnsupported, "general.architecture");
  expect_error(tiny_llama(1, "mamba"), ErrorCode::kUnsupported, "general.architecture");
  expect_error(tiny_llama(1, "nobodys"), ErrorCode::kUnknownFamily, "general.architecture");
  w = GgufWriter();
  w.text("general.architecture", "nobodys").u32("nobodys.block_count", 2);
  try {
    card_of(w);
    FAIL();
  } catch (const Error& error) {
    EXPECT_NE(error.message().find("nobodys.embedding_length"), std::string::npos) << error.what();
    EXPECT_EQ(error.message().find("nobodys.block_count"), std::string::npos) << error.what();
  }
  expect_error(GgufWriter(), ErrorCode::kBadGguf, "general.architecture");
}

TEST(GgufCard, TheRealModelHasItsPublishedDims) {
  const char* path = std::getenv("VRAMPLAN_TEST_MODEL");
  if (path == nullptr) GTEST_SKIP() << "VRAMPLAN_TEST_MODEL is not set";
  const auto file = open_file(path);
  const Gguf gguf = Gguf::read(*file);
  if (gguf.text_or("general.name", "").find("135M") == std::string::npos &&
      std::string(path).find("135M") == std::string::npos) {
    GTEST_SKIP() << "VRAMPLAN_TEST_MODEL is not SmolLM2-135M";
  }
  const ModelCard card = model_card_from_gguf(gguf);
  validate(card);
  EXPECT_EQ(card.layer_count(), 30);
  EXPECT_EQ(card.hidden, 576);
  EXPECT_EQ(card.vocab, 49152);
  EXPECT_EQ(card.layers[0].mixer.heads, 9);
  EXPECT_EQ(card.layers[0].mixer.kv_heads, 3);
  EXPECT_EQ(card.layers[0].mixer.head_dim, 64);
  EXPECT_EQ(card.layers[0].feed_forward.intermediate, 1536);
  EXPECT_TRUE(card.layers[0].mixer.rope.interleaved);
  EXPECT_TRUE(card.tied_head);
  EXPECT_EQ(gguf.texts("tokenizer.ggml.tokens").size(), 49152U);
  Bytes tensors = 0_B;
  for (const GgufTensor& tensor : gguf.tensors()) tensors += tensor.bytes;
  EXPECT_LE(gguf.header_bytes() + tensors, file->size());
  EXPECT_GE(
      gguf.header_bytes() + tensors + Bytes{32} * static_cast<std::int64_t>(gguf.tensors().size()),
      file->size());
}

}  // namespace
}  // namespace vramplan
