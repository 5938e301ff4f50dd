#include "executor/transformer.h"

#include <algorithm>
#include <array>
#include <cmath>

namespace vramplan {
namespace {

GateKind gate_kind(Activation activation) {
  switch (activation) {
    case Activation::kSilu:
      return GateKind::kSilu;
    case Activation::kGelu:
      return GateKind::kGelu;
    case Activation::kGeluTanh:
      return GateKind::kGeluTanh;
    case Activation::kRelu:
      return GateKind::kRelu;
    case Activation::kRelu2:
    case Activation::kSiluClipped:
      break;  // refused by name before (special_parts)
  }
  VRAMPLAN_CHECK(false);
}

bool same_rope(const Rope& a, const Rope& b) {
  return a.theta == b.theta && a.rotary_dim == b.rotary_dim && a.interleaved == b.interleaved &&
         a.scaling == b.scaling && a.factor == b.factor && a.low_freq_factor == b.low_freq_factor &&
         a.high_freq_factor == b.high_freq_factor && a.original_context == b.original_context;
}

}  // namespace

Transformer::Transformer(const ModelCard& card, const ModelPart& part, DType activations,
                         AttentionAlgorithm attention, const TransformerParts& parts)
    : card_(card),
      part_(part),
      activations_(activations),
      naive_(attention == AttentionAlgorithm::kNaive),
      ops_(parts.ops),
      arena_(parts.arena),
      weights_(parts.weights),
      kv_(parts.kv),
      kv_stride_(parts.kv_stride),
      tensor_group_(parts.tensor_group),
      stages_(parts.stages),
      stream_(parts.stream),
      weight_stream_(parts.weight_stream),
      hidden_states_(parts.hidden_states),
      by_layer_chunk_(parts.by_layer_chunk),
      stage_part_(parts.stage_part) {
  std::vector<const Mixer*> seen;
  for (std::int64_t i = part.layers.begin; i < part.layers.end; ++i) {
    const Layer& layer = card.layers[static_cast<std::size_t>(i)];
    widths_.push_back(layer_part(layer, part.tp));
    if (card.position != PositionKind::kRope) continue;
    const auto same = std::find_if(seen.begin(), seen.end(), [&](const Mixer* m) {
      return m->head_dim == layer.mixer.head_dim && same_rope(m->rope, layer.mixer.rope);
    });
    rope_of_.push_back(static_cast<std::size_t>(same - seen.begin()));
    if (same != seen.end()) continue;
    seen.push_back(&layer.mixer);
    rope_tables_.emplace_back(layer.mixer.rope, layer.mixer.head_dim);
  }
}

TensorView Transformer::forward(const PassInput& pass) {
  const bool prompt = pass.groups.front().slices.size() == 1 && pass.ids.size() > 1;
  if (hidden_states_ != nullptr && prompt) return forward_by_layer(pass);
  if (stream_ != nullptr) stream_->begin_pass(pass.groups.front().slices);
  TensorView x = embed(pass);  // [T, hidden], lives through the pass
  const std::int64_t layers = part_.layers.end - part_.layers.begin;
  TensorView n;
  if (layers > 0) n = normed(x, weights_.layers.front().attention_norm, "attention norm");
  for (std::int64_t i = 0; i < layers; ++i) {
    if (weight_stream_ != nullptr) weight_stream_->before(i);
    n = layer(i, x, n, pass);
    if (weight_stream_ != nullptr) weight_stream_->after(i);
  }
  return finish(x, pass);
}

TensorView Transformer::finish(TensorView x, const PassInput& pass) {
  if (!part_.last()) {
    stages_.send(x, part_.stage + 1);
    arena_.give_back(x);
    return {};
  }
  if (pass.logit_rows.empty()) {
    arena_.give_back(x);
    return {};
  }
  return logits(x, pass);
}

TensorView Transformer::embed(const PassInput& pass) {
  TensorView x = take(static_cast<std::int64_t>(pass.ids.size()), card_.hidden, "x");
  if (!part_.first()) {
    stages_.receive(x, part_.stage - 1);
    return x;
  }
  ops_.embed(x, weights_.embedding, pass.ids, static_cast<float>(card_.embedding_scale));
  if (part_.tp > 1) tensor_group_.all_reduce(x);  // each rank looks its own rows of the table up
  if (weights_.positions.tensor.data != nullptr)
    ops_.add_rows(x, weights_.positions, pass.positions);
  return x;
}

TensorView Transformer::layer(std::int64_t index, TensorView x, TensorView n, const PassInput& pass,
                              bool norms_next) {
  const Layer& layer = card_.layers[static_cast<std::size_t>(part_.layers.begin + index)];
  const auto at = static_cast<std::size_t>(index);
  const LayerWeights& w = weights_.layers[at];
  const NormWeights* const next = norms_next && at + 1 < weights_.layers.size()
                                      ? &weights_.layers[at + 1].attention_norm
                                      : nullptr;
  if (layer.parallel) {
    // Both halves read the x of before the layer: the second half's input is made before x changes.
    const bool two_norms = layer.parallel_two_norms;
    TensorView n2 = two_norms ? normed(x, w.feed_forward_norm, "feed-forward norm") : n;
    TensorView p = attention(index, n, two_norms, pass);
    add_to(x, p, w.post_attention_norm, nullptr);
    p = feed_forward(index, n2);
    return add_to(x, p, w.post_feed_forward_norm, next);
  }
  TensorView p = attention(index, n, layer.pre_norms, pass);
  n = add_to(x, p, w.post_attention_norm, &w.feed_forward_norm);
  p = feed_forward(index, n);
  return add_to(x, p, w.post_feed_forward_norm, next);
}

TensorView Transformer::attention(std::int64_t index, TensorView& n, bool drop_input,
                                  const PassInput& pass) {
  const Mixer& mixer = card_.layers[static_cast<std::size_t>(part_.layers.begin + index)].mixer;
  const LayerWeights& w = weights_.layers[static_cast<std::size_t>(index)];
  const LayerPart& width = widths_[static_cast<std::size_t>(index)];
  const KvLayerView& kv = kv_.layer(index);
  const std::int64_t tokens = n.rows;

  TensorView q = take(tokens, width.q, "q");
  TensorView k = take(tokens, width.k, "k");
  TensorView v = take(tokens, width.v, "v");
  linear(n, std::array<Linear, 3>{{{q, &w.q}, {k, &w.k}, {v, &w.v}}});
  if (drop_input) arena_.give_back(n);
  const auto eps = static_cast<float>(card_.norm_eps);
  if (w.q_norm.data != nullptr) ops_.rmsnorm(q, q, w.q_norm, eps, card_.norm_one_plus);
  if (w.k_norm.data != nullptr) ops_.rmsnorm(k, k, w.k_norm, eps, card_.norm_one_plus);
  const GroupInput& group = pass.groups[kv_.group_of(index)];
  // Behind a residual window `kv` is the history; the window is the last group.
  const bool behind = kv_.recent(index) != nullptr;
  const KvLayerView& newest = behind ? *kv_.recent(index) : kv;
  const GroupInput& written = behind ? pass.groups.back() : group;
  const KvKeep& keep = kv_.groups()[kv_.group_of(index)].keep;
  TensorView sink_q = keep.sinks.n > 0 ? copied(q, "q for sinks") : TensorView{};
  const std::int64_t far = kv_.far_of(index);
  if (far >= 0) stream_->before(far);
  if (!written.packs.empty()) ops_.kv_pack(kv, newest, written.packs, kv_stride_);
  if (card_.position == PositionKind::kRope) {
    const RopeParams rope = rope_tables_[rope_of_[static_cast<std::size_t>(index)]].params();
    if (keep.sinks.n > 0) ops_.rope(sink_q, group.sink_positions, rope);
    ops_.rope_kv_write(q, k, v, pass.positions, rope, newest, written.slots);
  } else {
    ops_.kv_write(newest, k, v, written.slots);
  }
  arena_.give_back(k);
  arena_.give_back(v);
  AttentionParams params;
  params.heads = width.heads;
  params.scale = mixer.softmax_scale != 0 ? static_cast<float>(mixer.softmax_scale)
                                          : 1.0F / std::sqrt(static_cast<float>(mixer.head_dim));
  params.softcap = static_cast<float>(mixer.score_softcap);
  const bool sliding = mixer.kind == MixerKind::kSlidingWindow;
  params.window_tokens = !keep.all() ? keep.window.n : (sliding ? mixer.window_tokens : 0);
  params.sink_tokens = keep.sinks.n;
  params.sink_q = sink_q;
  params.naive = naive_;
  params.many_queries = pass.step_queries > 1;
  if (behind) params.history = &kv;
  if (behind) params.history_slices = group.slices;
  TensorView o = take(tokens, width.o, "attention output");
  TensorView scratch =
      arena_.take(DType::kI8, 1, ops_.attention_workspace(written.slices, newest, params).n,
                  "attention scratch");
  ops_.attention(o, q, newest, written.slices, params, scratch);
  if (far >= 0) stream_->after(far);
  arena_.give_back(scratch);
  if (keep.sinks.n > 0) arena_.give_back(sink_q);
  arena_.give_back(q);

  TensorView p = take(tokens, card_.hidden, "attention projection");
  linear(o, std::array<Linear, 1>{{{p, &w.output, true}}});
  arena_.give_back(o);
  return p;
}

TensorView Transformer::feed_forward(std::int64_t index, TensorView& n) {
  const Layer& layer = card_.layers[static_cast<std::size_t>(part_.layers.begin + index)];
  const LayerWeights& w = weights_.layers[static_cast<std::size_t>(index)];
  const std::int64_t tokens = n.rows;
  const std::int64_t f = widths_[static_cast<std::size_t>(index)].f;
  const bool gated = layer.feed_forward.gated;

  TensorView g = take(tokens, f, "feed-forward gate");
  TensorView u;  // empty when there is no gate: then g itself is the activated product
  if (gated) {
    u = take(tokens, f, "feed-forward up");
    linear(n, std::array<Linear, 2>{{{g, &w.gate}, {u, &w.up}}});
  } else {
    linear(n, std::array<Linear, 1>{{{g, &w.up}}});
  }
  if (layer.pre_norms) arena_.give_back(n);
  ops_.gated_activation(g, u, gate_kind(layer.feed_forward.activation));
  if (gated) arena_.give_back(u);

  TensorView p = take(tokens, card_.hidden, "feed-forward projection");
  linear(g, std::array<Linear, 1>{{{p, &w.down, true}}});
  arena_.give_back(g);
  return p;
}

TensorView Transformer::logits(TensorView& x, const PassInput& pass) {
  const auto rows = static_cast<std::int64_t>(pass.logit_rows.size());
  TensorView r = take(rows, card_.hidden, "logit rows");
  ops_.gather_rows(r, x, pass.logit_rows);
  arena_.give_back(x);
  TensorView n = r;
  if (weights_.final_norm.present()) {
    n = take(rows, card_.hidden, "final norm");
    apply_norm(n, r, weights_.final_norm);
    arena_.give_back(r);
  }
  TensorView l = arena_.take(DType::kF32, rows, part_.vocab_rows, "logits");
  linear(n, std::array<Linear, 1>{{{l, &weights_.head}}});
  arena_.give_back(n);
  if (part_.tp > 1) {
    TensorView all = arena_.take(DType::kF32, rows, part_.vocab_rows * part_.tp, "gathered logits");
    tensor_group_.all_gather(all, l);
    arena_.give_back(l);
    l = all;
  }
  if (card_.logit_softcap > 0) ops_.softcap(l, static_cast<float>(card_.logit_softcap));
  return l;
}

TensorView Transformer::take(std::int64_t rows, std::int64_t columns, const char* name) {
  return arena_.take(activations_, rows, columns, name);
}

TensorView Transformer::copied(const TensorView& x, const char* name) {
  TensorView copy = take(x.rows, x.columns, name);
  ops_.copy(copy, x);
  return copy;
}

/// x itself when the layer has no such norm (layers with norms after each half only).
TensorView Transformer::normed(TensorView x, const NormWeights& norm, const char* name) {
  if (!norm.present()) return x;
  TensorView n = take(x.rows, x.columns, name);
  apply_norm(n, x, norm);
  return n;
}

void Transformer::apply_norm(TensorView out, TensorView x, const NormWeights& norm) {
  const auto eps = static_cast<float>(card_.norm_eps);
  if (card_.norm == NormKind::kLayer)
    ops_.layernorm(out, x, norm.weight, norm.bias, eps);
  else
    ops_.rmsnorm(out, x, norm.weight, eps, card_.norm_one_plus);
}

void Transformer::linear(TensorView in, std::span<const Linear> products) {
  Bytes most;
  for (const Linear& product : products) {
    most = std::max(
        most, ops_.linear_workspace(in.rows, in.columns, product.weights->weight.tensor.dtype));
  }
  TensorView scratch = arena_.take(DType::kI8, 1, most.n, "linear scratch");
  for (const Linear& product : products) {
    const bool adds_bias = !product.split_input || part_.tensor_rank == 0;
    ops_.linear(product.out, in, product.weights->weight,
                adds_bias ? product.weights->bias : TensorView{}, scratch);
  }
  arena_.give_back(scratch);
}

TensorView Transformer::add_to(TensorView x, TensorView& p, const NormWeights& post_norm,
                               const NormWeights* next) {
  if (part_.tp > 1) tensor_group_.all_reduce(p);
  if (post_norm.present()) apply_norm(p, p, post_norm);
  if (next == nullptr || !next->present() || card_.norm != NormKind::kRms) {
    ops_.add(x, p);
    arena_.give_back(p);
    return next == nullptr ? TensorView{} : normed(x, *next, "norm");
  }
  TensorView n = take(x.rows, x.columns, "norm");
  ops_.add_rmsnorm(n, x, p, next->weight, static_cast<float>(card_.norm_eps), card_.norm_one_plus);
  arena_.give_back(p);
  return n;
}

}  // namespace vramplan
