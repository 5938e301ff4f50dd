#include "planner/weight_specs.h"

namespace vramplan {
namespace {

std::int64_t mul(std::int64_t a, std::int64_t b) { return detail::checked_mul(a, b); }

class LayerSpecs {
 public:
  LayerSpecs(const ModelCard& card, const Layer& layer, int tp)
      : card_(card), layer_(layer), whole_(layer_shape(layer, 1)), part_(layer_shape(layer, tp)) {}

  std::vector<WeightSpec> build() {
    const bool mixer = layer_.mixer.kind != MixerKind::kNone;
    const bool feed_forward = layer_.feed_forward.kind != FeedForwardKind::kNone;
    const bool one_norm = layer_.parallel && !layer_.parallel_two_norms;
    // Falcon's files call the norm of the attention attn_norm_2 when there are two.
    const bool two_norms = layer_.parallel_two_norms;
    if (mixer && layer_.pre_norms) attention_norm(two_norms);
    if (mixer) attention();
    if (mixer && layer_.post_norms) norm("post_attention_norm.weight", "post_attention_norm.bias");
    if (feed_forward && layer_.pre_norms && !(one_norm && mixer)) {
      if (two_norms)
        attention_norm(false);
      else
        norm("ffn_norm.weight", "ffn_norm.bias");
    }
    if (layer_.feed_forward.kind == FeedForwardKind::kDense) dense();
    if (layer_.feed_forward.kind == FeedForwardKind::kMoe) experts();
    if (feed_forward && layer_.post_norms) norm("post_ffw_norm.weight", "post_ffw_norm.bias");
    return std::move(specs_);
  }

 private:
  void vector(const char* name, const char* group, std::int64_t columns, std::int64_t whole) {
    specs_.push_back({name, group, Part::kVector, 1, columns, 1, whole, nullptr, 0, true, false});
  }

  void norm(const char* weight, const char* bias) {
    vector(weight, "norms", card_.hidden, card_.hidden);
    if (card_.norm != NormKind::kLayer) return;
    vector(bias, "norms", card_.hidden, card_.hidden);
    specs_.back().optional = true;
  }

  void attention_norm(bool second_name) {
    if (second_name)
      norm("attn_norm_2.weight", "attn_norm_2.bias");
    else
      norm("attn_norm.weight", "attn_norm.bias");
  }

  /// A matrix split by its rows (outputs): [rows / tp, columns].
  void by_rows(const char* name, const char* group, Part part, std::int64_t rows,
               std::int64_t whole) {
    specs_.push_back({name, group, part, rows, card_.hidden, whole, card_.hidden});
  }

  /// A matrix split by its columns (inputs): [rows, columns / tp].
  void by_columns(const char* name, const char* group, Part part, std::int64_t columns,
                  std::int64_t whole) {
    specs_.push_back({name, group, part, card_.hidden, columns, card_.hidden, whole});
  }

  void fused(const char* name, std::int64_t rows) {
    specs_.back().fused_name = name;
    specs_.back().fused_rows = rows;
  }

  void attention() {
    const std::int64_t qkv = whole_.q + whole_.k + whole_.v;
    by_rows("attn_q.weight", "attention", Part::kQ, part_.q, whole_.q);
    fused("attn_qkv.weight", qkv);
    by_rows("attn_k.weight", "attention", Part::kK, part_.k, whole_.k);
    fused("attn_qkv.weight", qkv);
    by_rows("attn_v.weight", "attention", Part::kV, part_.v, whole_.v);
    fused("attn_qkv.weight", qkv);
    if (layer_.mixer.qkv_bias) {
      vector("attn_q.bias", "attention", part_.q, whole_.q);
      fused("attn_qkv.bias", qkv);
      vector("attn_k.bias", "attention", part_.k, whole_.k);
      fused("attn_qkv.bias", qkv);
      vector("attn_v.bias", "attention", part_.v, whole_.v);
      fused("attn_qkv.bias", qkv);
    }
    if (layer_.mixer.qk_norm) {
      vector("attn_q_norm.weight", "norms", layer_.mixer.head_dim, layer_.mixer.head_dim);
      vector("attn_k_norm.weight", "norms", layer_.mixer.head_dim, layer_.mixer.head_dim);
    }
    by_columns("attn_output.weight", "attention", Part::kAttentionOutput, part_.o, whole_.o);
    if (layer_.mixer.output_bias)
      vector("attn_output.bias", "attention", card_.hidden, card_.hidden);
  }

  void dense() {
    const FeedForward& ff = layer_.feed_forward;
    const std::int64_t f = part_.intermediate, whole = whole_.intermediate;
    if (ff.gated) {
      by_rows("ffn_gate.weight", "feed_forward", Part::kGate, f, whole);
      fused("ffn_up.weight", mul(2, whole));
      if (ff.bias) vector("ffn_gate.bias", "feed_forward", f, whole);
    }
    by_rows("ffn_up.weight", "feed_forward", Part::kUp, f, whole);
    if (ff.gated) fused("ffn_up.weight", mul(2, whole));
    if (ff.bias) vector("ffn_up.bias", "feed_forward", f, whole);
    by_columns("ffn_down.weight", "feed_forward", Part::kDown, f, whole);
    if (ff.bias) vector("ffn_down.bias", "feed_forward", card_.hidden, card_.hidden);
  }

  /// Experts are split inside (tensor parallel), all of them resident, one stacked tensor a matrix.
  void experts() {
    const FeedForward& ff = layer_.feed_forward;
    const std::int64_t f = part_.intermediate, whole = whole_.intermediate, e = ff.experts;
    by_rows("ffn_gate_inp.weight", "feed_forward", Part::kRouter, e, e);
    specs_.back().is_vector = true;
    if (ff.gated) {
      by_rows("ffn_gate_exps.weight", "feed_forward", Part::kExpertGate, mul(e, f), mul(e, whole));
    }
    by_rows("ffn_up_exps.weight", "feed_forward", Part::kExpertUp, mul(e, f), mul(e, whole));
    specs_.push_back({"ffn_down_exps.weight", "feed_forward", Part::kExpertDown,
                      mul(e, card_.hidden), f, mul(e, card_.hidden), whole});
    if (ff.shared_intermediate == 0) return;
    const std::int64_t s = part_.shared_intermediate, whole_s = whole_.shared_intermediate;
    if (ff.gated) by_rows("ffn_gate_shexp.weight", "feed_forward", Part::kGate, s, whole_s);
    by_rows("ffn_up_shexp.weight", "feed_forward", Part::kUp, s, whole_s);
    by_columns("ffn_down_shexp.weight", "feed_forward", Part::kDown, s, whole_s);
  }

  const ModelCard& card_;
  const Layer& layer_;
  LayerShape whole_, part_;
  std::vector<WeightSpec> specs_;
};

}  // namespace

std::vector<WeightSpec> layer_specs(const ModelCard& card, const Layer& layer, int tp) {
  return LayerSpecs(card, layer, tp).build();
}

std::vector<WeightSpec> outside_specs(const ModelCard& card, const RankShape& shape) {
  std::vector<WeightSpec> specs;
  const std::int64_t h = card.hidden;
  const auto vector = [&](const char* name, const char* group, std::int64_t columns,
                          std::int64_t whole) {
    specs.push_back({name, group, Part::kVector, 1, columns, 1, whole, nullptr, 0, true, false});
  };
  if (shape.embedding) {
    specs.push_back(
        {"token_embd.weight", "embedding", Part::kEmbedding, shape.vocab_rows, h, card.vocab, h});
    if (card.learned_positions > 0) {
      specs.push_back({"position_embd.weight", "positions", Part::kPositions,
                       card.learned_positions, h, card.learned_positions, h});
    }
  }
  if (!shape.head) return specs;
  if (card.final_norm) {
    vector("output_norm.weight", "norms", h, h);
    if (card.norm == NormKind::kLayer) {
      vector("output_norm.bias", "norms", h, h);
      specs.back().optional = true;
    }
  }
  // A tied head is the embedding table; a last stage that is not the first holds a copy of it.
  if (!card.tied_head || !shape.embedding) {
    const char* name = card.tied_head ? "token_embd.weight" : "output.weight";
    specs.push_back({name, "head", Part::kHead, shape.vocab_rows, h, card.vocab, h});
  }
  if (card.head_bias) vector("output.bias", "head", shape.vocab_rows, card.vocab);
  return specs;
}

}  // namespace vramplan
