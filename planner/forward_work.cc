#include "planner/forward_work.h"

#include <algorithm>
#include <cmath>

#include "planner/fused_norms.h"
#include "planner/kv_cache.h"
#include "planner/kv_mix.h"

namespace vramplan {
namespace {

/// Operations of a pass, those of the same kind and format added up.
class WorkSum {
 public:
  void add(OpWork work, std::int64_t times = 1) {
    if (times == 0) return;
    work.calls *= times;
    work.bytes *= static_cast<double>(times);
    work.flops *= static_cast<double>(times);
    for (OpWork& known : works_) {
      if (known.op != work.op || known.dtype != work.dtype || known.ranks != work.ranks) continue;
      known += work;
      return;
    }
    works_.push_back(work);
  }
  std::vector<OpWork> take() { return std::move(works_); }

 private:
  std::vector<OpWork> works_;
};

/// `repeat` passes alike but for the cache, which grows by a pass's tokens from one to the next.
struct Passes {
  PassWork first;
  std::int64_t repeat = 1;
  bool fused = false;
};

class PassWorks {
 public:
  PassWorks(const RankModel& model, const Decisions& decisions, const Passes& passes, WorkSum& sum)
      : model_(model),
        decisions_(decisions),
        passes_(passes),
        sum_(sum),
        t_(passes.first.tokens),
        a_(decisions.activations) {}

  void run() {
    if (model_.shape.embedding) embedding();
    for (std::size_t k = 0; k < model_.kinds.size(); ++k) layer(k);
    if (model_.shape.head && passes_.first.logit_rows > 0) head(passes_.first.logit_rows);
    if (!model_.shape.head) add(send_work(t_, model_.hidden, a_), 1);
  }

 private:
  void add(const OpWork& work, std::int64_t count) { sum_.add(work, count * passes_.repeat); }

  OpWork linear_of(std::int64_t tokens, std::int64_t in, std::int64_t out, DType weight) const {
    if (decisions_.linear_inputs == DType::kF8E4M3 && takes_fp8_inputs(weight)) {
      return linear_fp8_work(tokens, in, out, weight, a_);
    }
    const bool unrounded = is_block_quantised(weight) && decisions_.linear_inputs == DType::kF32;
    return unrounded ? linear_f32_work(tokens, in, out, weight, a_)
                     : linear_work(tokens, in, out, weight, a_);
  }

  void linear(const LayerKind& kind, Part part, std::int64_t in, std::int64_t out) {
    const WeightTensor* weight = find_part(kind, part);
    if (weight) add(linear_of(t_, in, out, weight->dtype), kind.count);
  }

  /// `norms`: how many of the sums a norm follows in the same operation.
  void reduce_and_add(const LayerKind& kind, std::int64_t norms) {
    const int tp = model_.shape.tp;
    if (tp > 1) add(all_reduce_work(t_, model_.hidden, a_, tp), kind.count);
    if (kind.layer.post_norms) add(norm_work(t_, model_.hidden, a_), kind.count);
    add(add_work(t_, model_.hidden, a_), kind.count - norms);
    add(add_norm_work(t_, model_.hidden, a_), norms);
  }

  void embedding() {
    add(embed_work(t_, model_.hidden, model_.embedding_dtype, a_), 1);
    if (model_.positions_dtype) add(embed_work(t_, model_.hidden, *model_.positions_dtype, a_), 1);
    if (model_.shape.tp > 1) add(all_reduce_work(t_, model_.hidden, a_, model_.shape.tp), 1);
  }

  void layer(std::size_t index) {
    const LayerKind& kind = model_.kinds[index];
    const Layer& layer = kind.layer;
    const bool fused = passes_.fused;
    const std::int64_t norms_after = fused ? norms_after_layers(model_, index) : 0;
    const std::int64_t norms_before = fused ? norms_before_layers(model_, index) : 0;
    const std::int64_t norms_inside = fused && norm_follows_mixer(model_, kind) ? kind.count : 0;
    const bool mixer = layer.mixer.kind != MixerKind::kNone;
    const bool feed_forward = layer.feed_forward.kind != FeedForwardKind::kNone;
    const bool one_norm = layer.parallel && !layer.parallel_two_norms && mixer;
    if (mixer) {
      if (layer.pre_norms) add(norm_work(t_, model_.hidden, a_), kind.count - norms_before);
      const bool alone = layer.mixer.kind == MixerKind::kLinear;
      const std::int64_t norms = feed_forward ? norms_inside : norms_after;
      if (layer.mixer.linear.kind != LinearKind::kNone) linear_mixer(kind, norms);
      if (!alone) attention(kind, norms);
    }
    if (!feed_forward) return;
    if (layer.pre_norms && !one_norm) {
      add(norm_work(t_, model_.hidden, a_), kind.count - (mixer ? norms_inside : norms_before));
    }
    if (layer.feed_forward.kind == FeedForwardKind::kMoe)
      experts(kind);
    else
      dense(kind, kind.shape.intermediate);
    reduce_and_add(kind, norms_after);
  }

  /// Matrices that have no part of their own: latent and linear mixers, indexers.
  void other_matrices(const LayerKind& kind) {
    for (const WeightTensor& tensor : kind.tensors) {
      if (tensor.part != Part::kMatrix) continue;
      add(linear_work(t_, tensor.columns, tensor.rows, tensor.dtype, a_), kind.count);
    }
  }

  /// The scan reads and writes the state of each sequence once a pass and spends about 4 multiply-
  /// adds per state element and token (decay, update, output).
  void linear_mixer(const LayerKind& kind, std::int64_t norms) {
    const bool alone = kind.layer.mixer.kind == MixerKind::kLinear;
    if (alone) other_matrices(kind);
    const LinearMixer& linear = kind.layer.mixer.linear;
    OpWork work = activation_work(t_, kind.shape.linear_inner, false, a_);
    const double state = static_cast<double>(kind.shape.linear_inner * linear.key_dim);
    work.op = t_ == passes_.first.sequences ? OpKind::kAttentionDecode : OpKind::kAttentionPrefill;
    work.bytes += 2 * static_cast<double>(passes_.first.sequences) *
                  static_cast<double>(linear_state_bytes(linear, kind.shape, a_).n);
    work.flops += 8 * state * static_cast<double>(t_);
    add(work, kind.count);
    if (alone) reduce_and_add(kind, norms);
  }

  void attention(const LayerKind& kind, std::int64_t norms) {
    other_matrices(kind);
    const LayerShape& shape = kind.shape;
    const Mixer& mixer = kind.layer.mixer;
    linear(kind, Part::kQ, model_.hidden, mixer.output_gate ? 2 * shape.q : shape.q);
    linear(kind, Part::kK, model_.hidden, shape.k);
    linear(kind, Part::kV, model_.hidden, shape.v);
    if (mixer.qk_norm) {
      add(norm_work(t_, shape.q, a_), kind.count);
      add(norm_work(t_, shape.k, a_), kind.count);
    }
    if (keep_of(decisions_, mixer.window_tokens).sinks.n > 0) {  // a copy of q, rotated for sinks
      add(gather_work(t_, shape.q, a_), kind.count);
      if (mixer.rope.rotary_dim > 0) add(rope_work(t_, shape.q, a_), kind.count);
    }
    rope_and_write(kind);
    scores(kind);
    linear(kind, Part::kAttentionOutput, shape.o, model_.hidden);
    reduce_and_add(kind, norms);
  }

  void rope_and_write(const LayerKind& kind) {
    const LayerShape& shape = kind.shape;
    const bool rotates = kind.layer.mixer.rope.rotary_dim > 0;
    const std::int64_t written = shape.latent > 0 ? shape.latent : shape.k + shape.v;
    const KvEncoding encoding = kind.encoding(decisions_);
    const bool residual = has_window(decisions_, encoding.format);
    const KvFormat format = residual ? KvFormat::kF16 : encoding.format;
    OpWork write = kv_write_work(t_, written, 2 * shape.kv_heads, a_, dtype_of(format));
    if (residual) pack(kind);
    if (rotates && passes_.fused) {
      const OpWork q = rope_work(t_, shape.q, a_), k = rope_work(t_, shape.k, a_);
      // K is rotated where it is read for the cache.
      write.bytes += q.bytes + k.bytes / 2;
      write.flops += q.flops + k.flops;
    } else if (rotates) {
      add(rope_work(t_, shape.q, a_), kind.count);
      add(rope_work(t_, shape.k, a_), kind.count);
    }
    add(write, kind.count);
  }

  /// Blocks that leave the residual window: in prefill one call a pass that has any; of decode
  /// steps one in 32 has one a sequence, and a step takes its share of the bytes.
  void pack(const LayerKind& kind) {
    const KvResidual& residual = decisions_.kv_residual;
    const PassWork& pass = passes_.first;
    const std::int64_t queries = pass.tokens / pass.sequences;
    const std::int64_t last = pass.kv_length + (passes_.repeat - 1) * queries;
    const auto packed = [&](std::int64_t cached) {
      return packed_tokens(Tokens{cached}, residual.tokens).n;
    };
    double blocks = static_cast<double>(packed(last) - packed(pass.kv_length - queries)) / 32;
    std::int64_t calls = 0;
    const bool step = !pass.prefill && pass.tokens == pass.sequences;
    if (step && last > residual.tokens.n) {
      blocks = static_cast<double>(pass.sequences) / 32;
    } else {
      for (std::int64_t end = pass.kv_length; end <= last; end += queries)
        if (packed(end) > packed(end - queries)) ++calls;
    }
    // The steps of a GPU are alike: each has the call, for no block in most.
    const bool in_graph = step && passes_.fused;
    if (blocks <= 0 && !in_graph) return;
    const KvEncoding encoding = kind.encoding(decisions_);
    const std::int64_t heads = std::max<std::int64_t>(1, kind.shape.kv_heads);
    const std::int64_t full = encoding.full_heads.count();
    const auto part = [&](std::int64_t of, KvFormat format) {
      const std::int64_t columns = (kind.shape.k + kind.shape.v) / heads * of;
      return kv_pack_work(blocks, columns, 2 * of, dtype_of(format), residual.stride);
    };
    OpWork work = part(heads - full, encoding.format);
    if (full > 0) work.bytes += part(full, KvFormat::kF16).bytes;
    work.calls = in_graph ? passes_.repeat : calls;
    sum_.add(work, kind.count);
  }

  /// What a layer attends over, all of its heads in one format. MLA reads one latent for all heads;
  /// decode works on it directly, prefill on what it is expanded to.
  AttentionShape attended(const LayerKind& kind) const {
    const Mixer& mixer = kind.layer.mixer;
    const bool latent = kind.shape.latent > 0;
    const KvKeep keep = keep_of(decisions_, mixer.window_tokens);
    const KvEncoding encoding = kind.encoding(decisions_);
    const bool behind = has_window(decisions_, encoding.format);
    return AttentionShape{
        kind.shape.heads,
        latent ? 1 : std::max<std::int64_t>(1, kind.shape.kv_heads),
        latent ? kind.shape.latent : mixer.head_dim,
        latent ? 0 : mixer.value_dim,
        keep.all() ? mixer.window_tokens : (keep.sinks + keep.window + keep.budget).n,
        dtype_of(encoding.format),
        a_,
        decisions_.attention == AttentionAlgorithm::kNaive,
        behind ? decisions_.kv_residual.tokens.n : 0,
        behind ? decisions_.kv_residual.stride : 1,
        keep.budget.n > 0};
  }

  void scores(const LayerKind& kind) {
    AttentionShape shape = attended(kind);
    const std::int64_t full = kind.encoding(decisions_).full_heads.count();
    if (full > 0) {  // of one call: its heads in f16, and then the packed ones
      const std::int64_t group = shape.heads / shape.kv_heads;
      AttentionShape of_full = shape;
      of_full.kv = DType::kF16;
      of_full.kv_heads = full;
      of_full.heads = full * group;
      add_scores(kind, of_full, 0);
      shape.kv_heads -= full;
      shape.heads -= full * group;
    }
    add_scores(kind, shape, 1);
  }

  void add_scores(const LayerKind& kind, const AttentionShape& shape, std::int64_t calls) {
    const Mixer& mixer = kind.layer.mixer;
    const PassWork& pass = passes_.first;
    const std::int64_t queries = pass.tokens / pass.sequences;
    OpWork work = attention_work(shape, queries, pass.kv_length, passes_.repeat);
    work.calls *= calls;
    if (kind.shape.latent > 0) {
      const auto latent = static_cast<double>(kind.shape.latent);
      const double width = queries == 1 ? latent + static_cast<double>(mixer.kv_lora_rank)
                                        : static_cast<double>(mixer.head_dim + mixer.value_dim);
      work.flops *= width / latent;
    }
    work.bytes *= static_cast<double>(pass.sequences);  // one call for all slices
    work.flops *= static_cast<double>(pass.sequences);
    sum_.add(work, kind.count);
  }

  void dense(const LayerKind& kind, std::int64_t intermediate) {
    const bool gated = kind.layer.feed_forward.gated;
    if (gated) linear(kind, Part::kGate, model_.hidden, intermediate);
    linear(kind, Part::kUp, model_.hidden, intermediate);
    add(activation_work(t_, intermediate, gated, a_), kind.count);
    linear(kind, Part::kDown, intermediate, model_.hidden);
  }

  /// Experts at least one of T tokens is sent to, expected over an even routing: E (1 - (1 - k /
  /// E)^T).
  double experts_reached(const FeedForward& ff) const {
    const double e = static_cast<double>(ff.experts), k = static_cast<double>(ff.experts_per_token);
    return e * (1 - std::pow(1 - k / e, static_cast<double>(t_)));
  }

  std::int64_t routed_rows(const FeedForward& ff) const {
    return detail::checked_mul(t_, ff.experts_per_token);
  }

  void expert_linear(const LayerKind& kind, Part part, std::int64_t in, std::int64_t out) {
    const WeightTensor* weight = find_part(kind, part);
    if (!weight) return;
    const FeedForward& ff = kind.layer.feed_forward;
    const std::int64_t routed = routed_rows(ff);
    OpWork work = linear_of(routed, in, out, weight->dtype);
    const double one = static_cast<double>(weight->bytes().n) / static_cast<double>(ff.experts);
    work.bytes += one * (experts_reached(ff) - 1);  // linear_work counted one matrix
    add(work, kind.count);
  }

  void experts(const LayerKind& kind) {
    const FeedForward& ff = kind.layer.feed_forward;
    const std::int64_t f = kind.shape.intermediate;
    linear(kind, Part::kRouter, model_.hidden, ff.experts);
    add(gather_work(routed_rows(ff), model_.hidden, a_), 2 * kind.count);  // out and back
    if (ff.gated) expert_linear(kind, Part::kExpertGate, model_.hidden, f);
    expert_linear(kind, Part::kExpertUp, model_.hidden, f);
    add(activation_work(routed_rows(ff), f, ff.gated, a_), kind.count);
    expert_linear(kind, Part::kExpertDown, f, model_.hidden);
    if (kind.shape.shared_intermediate > 0) dense(kind, kind.shape.shared_intermediate);
  }

  void head(std::int64_t rows) {
    add(gather_work(rows, model_.hidden, a_), 1);
    if (model_.final_norm) add(norm_work(rows, model_.hidden, a_), 1);
    add(linear_of(rows, model_.hidden, model_.shape.vocab_rows, model_.head_dtype), 1);
    const int tp = model_.shape.tp;
    if (tp > 1) add(all_gather_work(rows, model_.shape.vocab_rows, DType::kF32, tp), 1);
    if (model_.logit_softcap > 0) add(activation_work(rows, model_.vocab, false, DType::kF32), 1);
    add(decisions_.beam_search ? sample_beams_work(rows, model_.vocab)
                               : sample_work(rows, model_.vocab),
        1);
  }

  const RankModel& model_;
  const Decisions& decisions_;
  const Passes& passes_;
  WorkSum& sum_;
  std::int64_t t_;
  DType a_;
};

}  // namespace

std::vector<OpWork> forward_work(const RankModel& model, const Decisions& decisions,
                                 const PassWork& pass, DeviceKind device) {
  WorkSum sum;
  PassWorks(model, decisions, {pass, 1, fuses_operations(device)}, sum).run();
  return sum.take();
}

std::vector<OpWork> prefill_work(const RankModel& model, const Decisions& decisions,
                                 DeviceKind device) {
  const std::int64_t prompt = (decisions.context - decisions.output).n;
  const std::int64_t chunk = std::min(decisions.prefill_chunk.n, prompt);
  WorkSum sum;
  if (chunk <= 0) return sum.take();
  const std::int64_t full = ceil_div(prompt, chunk) - 1;
  const bool fused = fuses_operations(device);
  if (full > 0) PassWorks(model, decisions, {{chunk, 0, 1, chunk, true}, full, fused}, sum).run();
  const PassWork last{prompt - full * chunk, decisions.samples, 1, prompt, true};
  PassWorks(model, decisions, {last, 1, fused}, sum).run();
  return sum.take();
}

}  // namespace vramplan
