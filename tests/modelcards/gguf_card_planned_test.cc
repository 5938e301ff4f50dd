// Parts of architectures that are planned and not run.
#include <gtest/gtest.h>

#include "modelcards/gguf.h"
#include "tests/modelcards/gguf_writer.h"

namespace vramplan {
namespace {

using test::GgufWriter;
using test::read_gguf;

/// Two layers of latent attention: the first dense, the second with experts; K and V of the latent
/// expanded by a tensor each.
GgufWriter tiny_latent() {
  GgufWriter w;
  w.text("general.architecture", "deepseek2");
  w.f32("deepseek2.attention.layer_norm_rms_epsilon", 1e-6F);
  const std::pair<const char*, std::uint32_t> keys[] = {{"context_length", 128},
                                                        {"embedding_length", 32},
                                                        {"block_count", 2},
                                                        {"feed_forward_length", 64},
                                                        {"attention.head_count", 4},
                                                        {"attention.head_count_kv", 1},
                                                        {"attention.key_length", 40},
                                                        {"attention.value_length", 32},
                                                        {"attention.kv_lora_rank", 32},
                                                        {"rope.dimension_count", 8},
                                                        {"attention.key_length_mla", 24},
                                                        {"expert_count", 4},
                                                        {"expert_used_count", 2},
                                                        {"attention.value_length_mla", 16},
                                                        {"expert_shared_count", 1},
                                                        {"expert_feed_forward_length", 32}};
  for (const auto& [key, value] : keys) w.u32("deepseek2." + std::string(key), value);
  w.tensor("token_embd.weight", {16, 32});
  w.tensor("output_norm.weight", {32});
  for (const std::string block : {"blk.0.", "blk.1."}) {
    w.tensor(block + "attn_norm.weight", {32});
    w.tensor(block + "ffn_norm.weight", {32});
    w.tensor(block + "attn_q.weight", {96, 32});
    w.tensor(block + "attn_kv_a_mqa.weight", {40, 32});
    w.tensor(block + "attn_kv_a_norm.weight", {32});
    w.tensor(block + "attn_k_b.weight", {4, 32, 16});
    w.tensor(block + "attn_v_b.weight", {4, 16, 32});
    w.tensor(block + "attn_output.weight", {32, 64});
  }
  w.tensor("blk.0.ffn_gate.weight", {64, 32});
  w.tensor("blk.0.ffn_up.weight", {64, 32});
  w.tensor("blk.0.ffn_down.weight", {32, 64});
  w.tensor("blk.1.ffn_gate_inp.weight", {4, 32});
  w.tensor("blk.1.exp_probs_b.bias", {4});
  for (const std::string end : {"_exps.weight", "_shexp.weight"}) {
    const bool stacked = end == "_exps.weight";
    for (const std::string part : {"ffn_gate", "ffn_up", "ffn_down"}) {
      if (stacked)
        w.tensor("blk.1." + part + end, {4, 32, 32});
      else
        w.tensor("blk.1." + part + end, {32, 32});
    }
  }
  w.tensor("blk.1.of_its_own.weight", {5, 32});
  return w;
}

TEST(GgufCardPlanned, LatentAttentionAndPartsOfItsOwnArePlanned) {
  const ModelCard card = model_card_from_gguf(read_gguf(tiny_latent().bytes()));
  const Mixer& mixer = card.layers[0].mixer;
  EXPECT_EQ(mixer.kind, MixerKind::kMla);
  EXPECT_EQ(mixer.head_dim, 24);
  EXPECT_EQ(mixer.value_dim, 16);
  EXPECT_EQ(mixer.kv_lora_rank, 32);
  EXPECT_EQ(mixer.qk_rope_dim, 8);
  EXPECT_EQ(card.layers[0].feed_forward.kind, FeedForwardKind::kDense);
  const FeedForward& ff = card.layers[1].feed_forward;
  EXPECT_EQ(ff.shared_intermediate, 32);
  EXPECT_TRUE(ff.router_bias && ff.router == RouterKind::kSigmoid);
  ASSERT_EQ(card.layers[1].extras.size(), 1U);
  EXPECT_EQ(card.layers[1].extras[0].rows, 5);
  EXPECT_FALSE(special_parts(card).empty());
}

}  // namespace
}  // namespace vramplan
