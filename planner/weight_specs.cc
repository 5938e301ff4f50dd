#include "planner/weight_specs.h"

namespace vramplan {
namespace {

std::int64_t mul(std::int64_t a, std::int64_t b) { return detail::checked_mul(a, b); }

class LayerSpecs {
 public:
  LayerSpecs(const ModelCard& card, const Layer& layer, int tp, int ep)
      : card_(card),
        layer_(layer),
        whole_(layer_shape(layer, 1)),
        part_(layer_shape(layer, tp, ep)),
        tp_(tp) {}

  std::vector<WeightSpec> build() {
    const bool mixer = layer_.mixer.kind != MixerKind::kNone;
    const bool feed_forward = layer_.feed_forward.kind != FeedForwardKind::kNone;
    const bool one_norm = layer_.parallel && !layer_.parallel_two_norms;
    // Falcon's files call the norm of the attention attn_norm_2 when there are two.
    const bool two_norms = layer_.parallel_two_norms;
    if (mixer && layer_.pre_norms) attention_norm(two_norms);
    if (mixer && layer_.mixer.kind != MixerKind::kLinear) attention();
    if (layer_.mixer.linear.kind != LinearKind::kNone) linear();
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
    for (const ExtraTensor& extra : layer_.extras) specs_.push_back(extra_spec(extra, tp_));
    return std::move(specs_);
  }

 private:
  void vector(const char* name, const char* group, std::int64_t columns, std::int64_t whole) {
    specs_.push_back({name, group, Part::kVector, 1, columns, 1, whole, nullptr, 0, true, false});
  }

  void norm(const char* weight, const char* bias) {
    if (card_.norm == NormKind::kLayerPlain) return;
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

  /// A small table that no weight format applies to.
  void table(const char* name, const char* group, std::int64_t rows, std::int64_t whole,
             std::int64_t columns) {
    specs_.push_back({name, group, Part::kVector, rows, columns, whole, columns, nullptr, 0, true});
  }

  /// Between any two widths; split by rows when `rows` is below `whole`.
  void matrix(const char* name, std::int64_t rows, std::int64_t whole, std::int64_t columns) {
    specs_.push_back({name, "attention", Part::kMatrix, rows, columns, whole, columns});
  }

  void fused(const char* name, std::int64_t rows) {
    specs_.back().fused_name = name;
    specs_.back().fused_rows = rows;
  }

  void attention() {
    const Mixer& mixer = layer_.mixer;
    if (mixer.kind == MixerKind::kMla)
      latent();
    else
      query_key_value();
    if (mixer.qk_norm && mixer.qk_norm_shape != QkNormShape::kPlain) qk_norms();
    if (mixer.sinks) vector("attn_sinks.weight", "attention", part_.heads, whole_.heads);
    if (mixer.index_heads > 0) indexer();
    by_columns("attn_output.weight", "attention", Part::kAttentionOutput, part_.o, whole_.o);
    if (mixer.output_bias) vector("attn_output.bias", "attention", card_.hidden, card_.hidden);
  }

  void query_key_value() {
    const Mixer& mixer = layer_.mixer;
    const std::int64_t q = mixer.output_gate ? mul(2, part_.q) : part_.q;
    const std::int64_t whole_q = mixer.output_gate ? mul(2, whole_.q) : whole_.q;
    const std::int64_t qkv = whole_q + whole_.k + whole_.v;
    by_rows("attn_q.weight", "attention", Part::kQ, q, whole_q);
    fused("attn_qkv.weight", qkv);
    if (!mixer.kv_shared) {
      by_rows("attn_k.weight", "attention", Part::kK, part_.k, whole_.k);
      fused("attn_qkv.weight", qkv);
      by_rows("attn_v.weight", "attention", Part::kV, part_.v, whole_.v);
      fused("attn_qkv.weight", qkv);
    }
    if (!mixer.qkv_bias) return;
    vector("attn_q.bias", "attention", q, whole_q);
    fused("attn_qkv.bias", qkv);
    if (mixer.kv_shared) return;
    vector("attn_k.bias", "attention", part_.k, whole_.k);
    fused("attn_qkv.bias", qkv);
    vector("attn_v.bias", "attention", part_.v, whole_.v);
    fused("attn_qkv.bias", qkv);
  }

  void qk_norms() {
    const Mixer& mixer = layer_.mixer;
    const bool full = mixer.qk_norm_shape == QkNormShape::kFull;
    const auto add = [&](const char* weight, const char* bias, std::int64_t part,
                         std::int64_t whole) {
      vector(weight, "norms", full ? part : mixer.head_dim, full ? whole : mixer.head_dim);
      if (!mixer.qk_norm_bias) return;
      vector(bias, "norms", full ? part : mixer.head_dim, full ? whole : mixer.head_dim);
    };
    add("attn_q_norm.weight", "attn_q_norm.bias", part_.q, whole_.q);
    if (!mixer.kv_shared) add("attn_k_norm.weight", "attn_k_norm.bias", part_.k, whole_.k);
  }

  /// Down-projections are on every rank, what they are expanded with is split by heads.
  void latent() {
    const Mixer& mixer = layer_.mixer;
    const std::int64_t ql = mixer.q_lora_rank, kvl = mixer.kv_lora_rank;
    if (ql > 0) {
      matrix("attn_q_a.weight", ql, ql, card_.hidden);
      if (mixer.qkv_bias) vector("attn_q_a.bias", "attention", ql, ql);
      vector("attn_q_a_norm.weight", "norms", ql, ql);
      matrix("attn_q_b.weight", part_.q, whole_.q, ql);
    } else {
      by_rows("attn_q.weight", "attention", Part::kQ, part_.q, whole_.q);
    }
    matrix("attn_kv_a_mqa.weight", part_.latent, part_.latent, card_.hidden);
    if (mixer.qkv_bias) vector("attn_kv_a_mqa.bias", "attention", part_.latent, part_.latent);
    vector("attn_kv_a_norm.weight", "norms", kvl, kvl);
    const std::int64_t expanded = mixer.head_dim - mixer.qk_rope_dim + mixer.value_dim;
    matrix("attn_kv_b.weight", mul(part_.heads, expanded), mul(whole_.heads, expanded), kvl);
  }

  void indexer() {
    const Mixer& mixer = layer_.mixer;
    const std::int64_t from = mixer.q_lora_rank > 0 ? mixer.q_lora_rank : card_.hidden;
    const std::int64_t width = mul(mixer.index_heads, mixer.index_head_dim);
    matrix("indexer.attn_q_b.weight", width, width, from);
    matrix("indexer.attn_k.weight", mixer.index_head_dim, mixer.index_head_dim, card_.hidden);
    vector("indexer.k_norm.weight", "norms", mixer.index_head_dim, mixer.index_head_dim);
    vector("indexer.k_norm.bias", "norms", mixer.index_head_dim, mixer.index_head_dim);
    matrix("indexer.proj.weight", mixer.index_heads, mixer.index_heads, card_.hidden);
  }

  /// Tensors of the mixers with a state. Sources: the layers of transformers 5.23 by these names.
  void linear() {
    switch (layer_.mixer.linear.kind) {
      case LinearKind::kNone:
        return;
      case LinearKind::kMamba:
        return mamba();
      case LinearKind::kMamba2:
        return mamba2();
      case LinearKind::kGatedDelta:
        return gated_delta();
      case LinearKind::kKda:
        return kda();
      case LinearKind::kShortConv:
        return short_conv();
      case LinearKind::kLightning:
        return lightning();
    }
  }

  void linear_in(const char* weight, const char* bias, std::int64_t part, std::int64_t whole) {
    matrix(weight, part, whole, card_.hidden);
    if (layer_.mixer.linear.bias) vector(bias, "attention", part, whole);
  }

  void linear_out(const char* weight, const char* bias) {
    specs_.push_back({weight, "attention", Part::kMatrix, card_.hidden, part_.linear_inner,
                      card_.hidden, whole_.linear_inner});
    if (layer_.mixer.linear.bias) vector(bias, "attention", card_.hidden, card_.hidden);
  }

  void convolution(const char* weight, const char* bias, std::int64_t part, std::int64_t whole) {
    const LinearMixer& linear = layer_.mixer.linear;
    table(weight, "attention", part, whole, linear.conv_kernel);
    if (linear.conv_bias) vector(bias, "attention", part, whole);
  }

  void per_head(const char* name) {
    vector(name, "attention", part_.linear_heads, whole_.linear_heads);
  }

  void mamba() {
    const LinearMixer& linear = layer_.mixer.linear;
    const std::int64_t n = part_.linear_inner, whole = whole_.linear_inner, state = linear.key_dim;
    linear_in("ssm_in.weight", "ssm_in.bias", mul(2, n), mul(2, whole));
    convolution("ssm_conv1d.weight", "ssm_conv1d.bias", n, whole);
    const std::int64_t x = linear.rank + mul(2, state);
    specs_.push_back({"ssm_x.weight", "attention", Part::kMatrix, x, n, x, whole});
    matrix("ssm_dt.weight", n, whole, linear.rank);
    vector("ssm_dt.bias", "attention", n, whole);
    table("ssm_a", "attention", n, whole, state);
    vector("ssm_d", "attention", n, whole);
    if (linear.norm) {
      vector("ssm_dt_norm.weight", "norms", linear.rank, linear.rank);
      vector("ssm_b_norm.weight", "norms", state, state);
      vector("ssm_c_norm.weight", "norms", state, state);
    }
    linear_out("ssm_out.weight", "ssm_out.bias");
  }

  void mamba2() {
    const std::int64_t n = part_.linear_inner, whole = whole_.linear_inner;
    const std::int64_t conv = n + mul(2, part_.linear_keys);
    const std::int64_t whole_conv = whole + mul(2, whole_.linear_keys);
    linear_in("ssm_in.weight", "ssm_in.bias", n + conv + part_.linear_heads,
              whole + whole_conv + whole_.linear_heads);
    convolution("ssm_conv1d.weight", "ssm_conv1d.bias", conv, whole_conv);
    per_head("ssm_dt.bias");
    per_head("ssm_a");
    per_head("ssm_d");
    if (layer_.mixer.linear.norm) vector("ssm_norm.weight", "norms", n, whole);
    linear_out("ssm_out.weight", "ssm_out.bias");
  }

  void gated_delta() {
    const LinearMixer& linear = layer_.mixer.linear;
    const std::int64_t n = part_.linear_inner, whole = whole_.linear_inner;
    const std::int64_t keys = mul(2, part_.linear_keys), whole_keys = mul(2, whole_.linear_keys);
    linear_in("ssm_in.weight", "ssm_in.bias", keys + mul(2, n), whole_keys + mul(2, whole));
    linear_in("ssm_ba.weight", "ssm_ba.bias", mul(2, part_.linear_heads),
              mul(2, whole_.linear_heads));
    convolution("ssm_conv1d.weight", "ssm_conv1d.bias", keys + n, whole_keys + whole);
    per_head("ssm_dt.bias");
    per_head("ssm_a");
    vector("ssm_norm.weight", "norms", linear.value_dim, linear.value_dim);
    linear_out("ssm_out.weight", "ssm_out.bias");
  }

  void kda() {
    const LinearMixer& linear = layer_.mixer.linear;
    const std::int64_t n = part_.linear_inner, whole = whole_.linear_inner;
    matrix("attn_q.weight", part_.linear_keys, whole_.linear_keys, card_.hidden);
    matrix("attn_k.weight", part_.linear_keys, whole_.linear_keys, card_.hidden);
    matrix("attn_v.weight", n, whole, card_.hidden);
    convolution("ssm_conv1d_q.weight", "ssm_conv1d_q.bias", part_.linear_keys, whole_.linear_keys);
    convolution("ssm_conv1d_k.weight", "ssm_conv1d_k.bias", part_.linear_keys, whole_.linear_keys);
    convolution("ssm_conv1d_v.weight", "ssm_conv1d_v.bias", n, whole);
    const std::int64_t narrow = linear.key_dim;
    matrix("ssm_f_a.weight", narrow, narrow, card_.hidden);
    matrix("ssm_f_b.weight", part_.linear_keys, whole_.linear_keys, narrow);
    vector("ssm_dt.bias", "attention", part_.linear_keys, whole_.linear_keys);
    per_head("ssm_a");
    matrix("ssm_beta.weight", part_.linear_heads, whole_.linear_heads, card_.hidden);
    matrix("ssm_g_a.weight", narrow, narrow, card_.hidden);
    matrix("ssm_g_b.weight", n, whole, narrow);
    vector("ssm_norm.weight", "norms", linear.value_dim, linear.value_dim);
    linear_out("attn_output.weight", "attn_output.bias");
  }

  void short_conv() {
    const std::int64_t n = part_.linear_inner, whole = whole_.linear_inner;
    linear_in("shortconv.in_proj.weight", "shortconv.in_proj.bias", mul(3, n), mul(3, whole));
    convolution("shortconv.conv.weight", "shortconv.conv.bias", n, whole);
    linear_out("shortconv.out_proj.weight", "shortconv.out_proj.bias");
  }

  void lightning() {
    const std::int64_t n = part_.linear_inner, whole = whole_.linear_inner;
    linear_in("attn_qkv.weight", "attn_qkv.bias", mul(2, part_.linear_keys) + n,
              mul(2, whole_.linear_keys) + whole);
    matrix("attn_gate.weight", n, whole, card_.hidden);
    vector("ssm_norm.weight", "norms", n, whole);
    linear_out("attn_output.weight", "attn_output.bias");
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

  /// Experts are split inside (tensor parallel) or shared whole (expert parallel), all of them
  /// resident, one stacked tensor a matrix. Every rank routes, so the router is whole.
  void experts() {
    const FeedForward& ff = layer_.feed_forward;
    const std::int64_t f = part_.intermediate, whole = whole_.intermediate, e = ff.experts;
    const std::int64_t here = part_.experts;
    by_rows("ffn_gate_inp.weight", "feed_forward", Part::kRouter, e, e);
    specs_.back().is_vector = true;
    if (ff.router_bias) {
      const bool sigmoid = ff.router == RouterKind::kSigmoid;
      vector(sigmoid ? "exp_probs_b.bias" : "ffn_gate_inp.bias", "feed_forward", e, e);
    }
    if (ff.gated) {
      by_rows("ffn_gate_exps.weight", "feed_forward", Part::kExpertGate, mul(here, f),
              mul(e, whole));
      specs_.back().matrices = here;
      if (ff.bias) table("ffn_gate_exps.bias", "feed_forward", here, e, f);
      if (ff.bias) specs_.back().whole_columns = whole;
    }
    by_rows("ffn_up_exps.weight", "feed_forward", Part::kExpertUp, mul(here, f), mul(e, whole));
    specs_.back().matrices = here;
    if (ff.bias) table("ffn_up_exps.bias", "feed_forward", here, e, f);
    if (ff.bias) specs_.back().whole_columns = whole;
    specs_.push_back({"ffn_down_exps.weight", "feed_forward", Part::kExpertDown,
                      mul(here, card_.hidden), f, mul(e, card_.hidden), whole});
    specs_.back().matrices = here;
    if (ff.bias) table("ffn_down_exps.bias", "feed_forward", here, e, card_.hidden);
    if (ff.shared_intermediate > 0) shared_expert();
  }

  void shared_expert() {
    const FeedForward& ff = layer_.feed_forward;
    const std::int64_t s = part_.shared_intermediate, whole_s = whole_.shared_intermediate;
    if (ff.shared_gate) {
      vector("ffn_gate_inp_shexp.weight", "feed_forward", card_.hidden, card_.hidden);
    }
    if (ff.gated) by_rows("ffn_gate_shexp.weight", "feed_forward", Part::kGate, s, whole_s);
    by_rows("ffn_up_shexp.weight", "feed_forward", Part::kUp, s, whole_s);
    by_columns("ffn_down_shexp.weight", "feed_forward", Part::kDown, s, whole_s);
  }

  const ModelCard& card_;
  const Layer& layer_;
  LayerShape whole_, part_;
  int tp_;
  std::vector<WeightSpec> specs_;
};

}  // namespace

std::vector<WeightSpec> layer_specs(const ModelCard& card, const Layer& layer, int tp, int ep) {
  return LayerSpecs(card, layer, tp, ep).build();
}

}  // namespace vramplan
