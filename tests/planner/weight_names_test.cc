#include "planner/weight_names.h"

#include <gtest/gtest.h>

#include "cards.h"
#include "planner/weights.h"

namespace vramplan {
namespace {

using namespace test;

StoredTensor stored(const std::string& name, std::int64_t rows, std::int64_t columns) {
  return {name, DType::kBF16, rows, columns, bytes_of(DType::kBF16, rows, columns)};
}

/// The tiny model as a checkpoint of Hugging Face stores it.
ModelSource folder() {
  ModelSource source = source_of(tiny());
  source.kind = SourceKind::kFolder;
  auto& s = source.stored;
  s.push_back(stored("model.embed_tokens.weight", 100, 64));
  for (const std::string layer : {"model.layers.0.", "model.layers.1."}) {
    s.push_back(stored(layer + "input_layernorm.weight", 1, 64));
    s.push_back(stored(layer + "self_attn.q_proj.weight", 64, 64));
    s.push_back(stored(layer + "self_attn.k_proj.weight", 32, 64));
    s.push_back(stored(layer + "self_attn.v_proj.weight", 32, 64));
    s.push_back(stored(layer + "self_attn.o_proj.weight", 64, 64));
    s.push_back(stored(layer + "self_attn.rotary_emb.inv_freq", 1, 8));
    s.push_back(stored(layer + "post_attention_layernorm.weight", 1, 64));
    s.push_back(stored(layer + "mlp.gate_proj.weight", 128, 64));
    s.push_back(stored(layer + "mlp.up_proj.weight", 128, 64));
    s.push_back(stored(layer + "mlp.down_proj.weight", 64, 128));
  }
  s.push_back(stored("model.norm.weight", 1, 64));
  s.push_back(stored("lm_head.weight", 100, 64));
  return source;
}

Bytes bytes_in(const ModelSource& source) {
  return weight_bytes(rank_model(source.card, decisions_of(), stored_by_gguf_name(source), 0));
}

TEST(WeightNames, ACheckpointFolderIsReadByItsTensors) {
  ModelSource source = folder();
  const Bytes all = bytes_in(source);
  EXPECT_EQ(all.n, count_parameters(source.card).total.n * 2);
  source.stored[1].dtype = DType::kF32;  // a norm kept in full
  EXPECT_EQ(bytes_in(source).n, all.n + 64 * 2);
}

TEST(WeightNames, ATiedHeadStoredTwiceCountsOnce) {
  ModelSource source = folder();
  source.card.tied_head = true;
  EXPECT_EQ(bytes_in(source).n, count_parameters(source.card).total.n * 2);
}

TEST(WeightNames, ExpertsAreStacked) {
  ModelSource source = folder();
  for (std::size_t i = 0; i < 2; ++i) {
    FeedForward& ff = source.card.layers[i].feed_forward;
    ff.kind = FeedForwardKind::kMoe;
    ff.experts = 2;
    ff.experts_per_token = 1;
    const std::string layer = "model.layers." + std::to_string(i) + ".block_sparse_moe.";
    std::erase_if(source.stored,
                  [](const StoredTensor& t) { return t.name.find("mlp.") != std::string::npos; });
    source.stored.push_back(stored(layer + "gate.weight", 2, 64));
    for (const std::string expert : {"experts.0.", "experts.1."}) {
      source.stored.push_back(stored(layer + expert + "w1.weight", 128, 64));
      source.stored.push_back(stored(layer + expert + "w2.weight", 64, 128));
      source.stored.push_back(stored(layer + expert + "w3.weight", 128, 64));
    }
  }
  EXPECT_EQ(bytes_in(source).n, count_parameters(source.card).total.n * 2);
}

// A checkpoint that sees: the decoder under another name, a tower, and a layer that predicts
// further tokens, which is not loaded.
TEST(WeightNames, WhatLiesBesideTheDecoderHasItsRow) {
  ModelSource source = folder();
  const Bytes decoder = bytes_in(source);
  for (StoredTensor& tensor : source.stored) tensor.name = "language_model." + tensor.name;
  source.card.extras.push_back({"side_tensors.bf16", "encoder", 1, 1000, Split::kNone, false});
  source.stored.push_back(stored("side_tensors.bf16", 1, 1000));
  source.card.mtp_layers = 1;
  source.stored.push_back(stored("language_model.model.layers.2.eh_proj.weight", 64, 128));
  ASSERT_FALSE(stored_by_gguf_name(source).empty());
  EXPECT_EQ(bytes_in(source).n, decoder.n + 2000);
}

TEST(WeightNames, AnUnknownNameLeavesItToTheCard) {
  ModelSource source = folder();
  source.stored.push_back(stored("transformer.h.0.mystery.weight", 3, 3));
  EXPECT_TRUE(stored_by_gguf_name(source).empty());
}

TEST(WeightNames, NamesOfAGgufPassThrough) {
  ModelSource source = folder();
  source.kind = SourceKind::kGguf;
  EXPECT_EQ(stored_by_gguf_name(source).size(), source.stored.size());
  EXPECT_EQ(stored_by_gguf_name(source)[0].name, "model.embed_tokens.weight");
}

}  // namespace
}  // namespace vramplan
