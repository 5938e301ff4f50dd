#include "executor/rank_weights.h"

#include <utility>

namespace vramplan {
namespace {

using Visit = std::function<void(const TensorSpec&, TensorView&)>;

class Walk {
 public:
  Walk(const ModelCard& card, const ModelPart& part, const Visit& visit)
      : card_(card), part_(part), visit_(visit) {}

  void run(RankWeights& weights) {
    const std::int64_t hidden = card_.hidden;
    if (part_.first()) {
      tensor({"token_embd.weight", "embedding", TensorRole::kTable, part_.vocab_rows, hidden},
             weights.embedding.tensor);
      if (card_.learned_positions > 0) {
        tensor({"position_embd.weight", "positions", TensorRole::kTable, card_.learned_positions,
                hidden},
               weights.positions.tensor);
      }
    }
    weights.layers.resize(static_cast<std::size_t>(part_.layers.end - part_.layers.begin));
    for (std::size_t i = 0; i < weights.layers.size(); ++i) {
      const std::int64_t index = part_.layers.begin + static_cast<std::int64_t>(i);
      prefix_ = "blk." + std::to_string(index) + ".";
      layer_ = static_cast<std::int64_t>(i);
      layer(card_.layers[static_cast<std::size_t>(index)], weights.layers[i]);
    }
    layer_ = -1;
    prefix_.clear();
    if (part_.last()) head(weights);
  }

 private:
  void tensor(TensorSpec spec, TensorView& into) {
    spec.name = prefix_ + spec.name;
    if (!spec.fused_name.empty()) spec.fused_name = prefix_ + spec.fused_name;
    spec.layer = layer_;
    visit_(spec, into);
  }

  void norm(const std::string& name, NormWeights& into) {
    tensor({name + ".weight", "norms", TensorRole::kNorm, 1, card_.hidden}, into.weight);
    if (card_.norm != NormKind::kLayer) return;
    TensorSpec bias(name + ".bias", "norms", TensorRole::kBias, 1, card_.hidden);
    bias.optional = true;
    tensor(std::move(bias), into.bias);
  }

  struct Fused {
    const char* name = nullptr;  // without .weight
    std::int64_t begin = 0, size = 0;
  };

  /// Weight [rows, columns] and, when `bias`, a bias of `rows` elements.
  void linear(const char* name, const char* group, std::int64_t rows, std::int64_t columns,
              bool bias, Fused fused, LinearWeights& into) {
    TensorSpec weight(std::string(name) + ".weight", group, TensorRole::kMatrix, rows, columns);
    TensorSpec offset(std::string(name) + ".bias", group, TensorRole::kBias, 1, rows);
    if (fused.name != nullptr) {
      weight.fused_name = std::string(fused.name) + ".weight";
      offset.fused_name = std::string(fused.name) + ".bias";
      weight.fused_begin = offset.fused_begin = fused.begin;
      weight.fused_size = offset.fused_size = fused.size;
    }
    tensor(std::move(weight), into.weight.tensor);
    if (bias) tensor(std::move(offset), into.bias);
  }

  void layer(const Layer& l, LayerWeights& w) {
    const LayerPart here = layer_part(l, part_.tp);
    const LayerPart whole = layer_part(l, 1);
    const Mixer& mixer = l.mixer;
    // Falcon's files name the norm of the attention attn_norm_2 when there are two.
    if (l.pre_norms) norm(l.parallel_two_norms ? "attn_norm_2" : "attn_norm", w.attention_norm);
    const std::int64_t qkv = whole.q + whole.k + whole.v;
    linear("attn_q", "attention", here.q, card_.hidden, mixer.qkv_bias, {"attn_qkv", 0, qkv}, w.q);
    linear("attn_k", "attention", here.k, card_.hidden, mixer.qkv_bias, {"attn_qkv", whole.q, qkv},
           w.k);
    linear("attn_v", "attention", here.v, card_.hidden, mixer.qkv_bias,
           {"attn_qkv", whole.q + whole.k, qkv}, w.v);
    if (mixer.qk_norm) {
      tensor({"attn_q_norm.weight", "norms", TensorRole::kNorm, 1, mixer.head_dim}, w.q_norm);
      tensor({"attn_k_norm.weight", "norms", TensorRole::kNorm, 1, mixer.head_dim}, w.k_norm);
    }
    linear("attn_output", "attention", card_.hidden, here.o, mixer.output_bias, {}, w.output);
    if (l.post_norms) norm("post_attention_norm", w.post_attention_norm);

    if (l.pre_norms && l.parallel_two_norms)
      norm("attn_norm", w.feed_forward_norm);
    else if (l.pre_norms && !l.parallel)
      norm("ffn_norm", w.feed_forward_norm);
    const bool bias = l.feed_forward.bias;
    const bool gated = l.feed_forward.gated;
    if (gated) {
      linear("ffn_gate", "feed_forward", here.f, card_.hidden, bias, {"ffn_up", 0, 2 * whole.f},
             w.gate);
    }
    linear("ffn_up", "feed_forward", here.f, card_.hidden, bias,
           gated ? Fused{"ffn_up", whole.f, 2 * whole.f} : Fused{}, w.up);
    linear("ffn_down", "feed_forward", card_.hidden, here.f, bias, {}, w.down);
    if (l.post_norms) norm("post_ffw_norm", w.post_feed_forward_norm);
  }

  void head(RankWeights& weights) {
    if (card_.final_norm) norm("output_norm", weights.final_norm);
    if (!card_.tied_head || !part_.first()) {
      // A tied head on another rank than the embedding is a copy of the table.
      const char* name = card_.tied_head ? "token_embd.weight" : "output.weight";
      tensor({name, "head", TensorRole::kMatrix, part_.vocab_rows, card_.hidden},
             weights.head.weight.tensor);
    }
    if (card_.head_bias) {
      tensor({"output.bias", "head", TensorRole::kBias, 1, part_.vocab_rows}, weights.head.bias);
    }
  }

  const ModelCard& card_;
  const ModelPart& part_;
  const Visit& visit_;
  std::string prefix_;
  std::int64_t layer_ = -1;
};

}  // namespace

void for_each_tensor(const ModelCard& card, const ModelPart& part, RankWeights& weights,
                     const Visit& visit) {
  Walk(card, part, visit).run(weights);
}

}  // namespace vramplan
