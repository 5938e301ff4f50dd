#include "planner/activations.h"

#include <algorithm>

#include "planner/context_parallel.h"
#include "planner/fused_norms.h"
#include "planner/kv_groups.h"
#include "planner/live_set.h"
#include "planner/op_work.h"
#include "planner/preemption.h"

namespace vramplan {
namespace {

/// Weight rows a thread of a CPU holds in f32 at a time: for more than 8 tokens 16, twice.
constexpr std::int64_t kDequantisedRows = 4, kDequantisedPanels = 32, kFewTokens = 8;

// Names are compared by address, so each is written once.
constexpr const char *kX = "x", *kNormed = "n", *kNormed2 = "n2", *kQ = "q", *kK = "k", *kV = "v",
                     *kO = "o", *kP = "p", *kGate = "gate", *kUp = "up", *kScratch = "scratch",
                     *kRows = "rows", *kLogits = "logits", *kAllLogits = "gathered logits",
                     *kRouter = "router scores", *kRouted = "routed rows",
                     *kExpertGate = "expert gate", *kExpertUp = "expert up",
                     *kExpertOut = "expert output", *kLatent = "latent", *kState = "state inputs",
                     *kSampling = "sampling", *kSinkQ = "q for sinks", *kRing = "ring";

class Pass {
 public:
  Pass(const RankModel& model, const ScratchRules& rules, const PassShape& pass, bool keep_tensors)
      : model_(model), rules_(rules), pass_(pass), live_(keep_tensors) {}

  Moment run() {
    live_.enter("embedding");
    live_.take(kX, rows(pass_.tokens, model_.hidden));
    // Each kind once stands for all its layers, as long as a layer finds its norm where the first
    // one does: right behind x.
    for (int round = 0; round == 0 || (moved_ && round < 3); ++round) {
      for (std::size_t k = 0; k < model_.kinds.size(); ++k) layer(k);
    }
    if (norm_made_) live_.drop(kNormed);  // the last layer of all makes none
    if (pass_.logit_rows > 0) head();
    return live_.peak();
  }
  Bytes extent() const { return live_.extent(); }

 private:
  Bytes rows(std::int64_t count, std::int64_t columns) const {
    return bytes_of(rules_.activations, count, columns);
  }
  Bytes tokens(std::int64_t columns) const { return rows(pass_.tokens, columns); }

  /// Scratch of linears that read the same input one after another: taken once, for the largest.
  void take_scratch(const LayerKind& kind, std::initializer_list<Part> parts, std::int64_t count,
                    std::int64_t in_features) {
    Bytes most;
    for (const Part part : parts) {
      const WeightTensor* tensor = find_part(kind, part);
      if (tensor) most = std::max(most, linear_scratch(rules_, count, in_features, tensor->dtype));
    }
    live_.take(kScratch, most);
  }

  /// The norm of x, unless it was made with the sum before.
  void take_normed() {
    if (!norm_made_) live_.take(kNormed, tokens(model_.hidden));
    norm_made_ = false;
  }

  void layer(std::size_t index) {
    const LayerKind& kind = model_.kinds[index];
    const bool norm_after = norms_after_layers(model_, index) > 0;
    const Layer& layer = kind.layer;
    const bool mixer = layer.mixer.kind != MixerKind::kNone;
    const bool feed_forward = layer.feed_forward.kind != FeedForwardKind::kNone;
    const bool parallel = layer.parallel && mixer && feed_forward;
    live_.enter("attention");
    if (mixer) {
      if (layer.pre_norms) take_normed();
      if (parallel && layer.parallel_two_norms) live_.take(kNormed2, tokens(model_.hidden));
      const bool next = feed_forward ? norm_follows_mixer(model_, kind) : norm_after;
      const bool alone = layer.mixer.kind == MixerKind::kLinear;
      if (layer.mixer.linear.kind != LinearKind::kNone) linear(kind, alone && next);
      if (!alone) attention(kind, parallel, next);
    }
    live_.enter("feed-forward");
    if (!feed_forward) return;
    if (layer.pre_norms && !parallel) take_normed();
    if (layer.feed_forward.kind == FeedForwardKind::kMoe)
      experts(kind, norm_after);
    else
      dense(kind, kind.shape.intermediate, norm_after);
  }

  /// Projections of a linear mixer, what its scan gives, and the projection out.
  void linear(const LayerKind& kind, bool next_norm) {
    std::int64_t in = 0;
    for (const WeightTensor& tensor : kind.tensors) {
      if (tensor.part == Part::kMatrix && tensor.columns == model_.hidden) in += tensor.rows;
    }
    live_.take(kState, tokens(in));
    take_scratch(kind, {Part::kMatrix}, pass_.tokens, model_.hidden);
    live_.drop(kScratch);
    if (kind.layer.mixer.kind == MixerKind::kLinear) live_.drop(kNormed);
    live_.take(kO, tokens(kind.shape.linear_inner));
    live_.drop(kState);
    project(kind, Part::kMatrix, kind.shape.linear_inner, kO, next_norm);
  }

  void attention(const LayerKind& kind, bool keep_normed, bool next_norm) {
    // MLA: q, the latent and what it is expanded to for the tokens of the pass.
    live_.take(kLatent, tokens(kind.shape.latent));
    const bool gated = kind.layer.mixer.output_gate;
    live_.take(kQ, tokens(gated ? 2 * kind.shape.q : kind.shape.q));
    live_.take(kK, tokens(kind.shape.k));
    live_.take(kV, tokens(kind.shape.v));
    take_scratch(kind, {Part::kQ, Part::kK, Part::kV}, pass_.tokens, model_.hidden);
    live_.drop(kScratch);
    const bool two_norms = kind.layer.parallel_two_norms;
    if (!keep_normed || two_norms) live_.drop(kNormed);
    const KvKeep keep = keep_of(rules_.kv_policy, rules_.kv_keep, kind.layer.mixer.window_tokens);
    if (keep.sinks.n > 0) live_.take(kSinkQ, tokens(kind.shape.q));
    live_.drop(kK);
    live_.drop(kV);
    live_.drop(kLatent);
    live_.take(kO, tokens(kind.shape.o));
    live_.take(kRing, exchange_bytes(rules_, pass_, kind));
    live_.take(kScratch, attention_scratch(rules_, pass_, kind));
    live_.drop(kScratch);
    live_.drop(kRing);
    live_.drop(kSinkQ);
    live_.drop(kQ);
    project(kind, Part::kAttentionOutput, kind.shape.o, kO, next_norm);
  }

  /// p = input x weight; input and p dropped, p after the next norm when that is made with the sum.
  void project(const LayerKind& kind, Part part, std::int64_t in_features, const char* input,
               bool next_norm) {
    live_.take(kP, tokens(model_.hidden));
    take_scratch(kind, {part}, pass_.tokens, in_features);
    live_.drop(kScratch);
    live_.drop(input);
    add_projected(next_norm);
  }

  void add_projected(bool next_norm) {
    if (next_norm) {
      const Bytes size = tokens(model_.hidden);
      live_.take(kNormed, size);
      norm_made_ = true;
      moved_ =
          moved_ || live_.end_of(kNormed) != live_.end_of(kX) + round_up(size, kTensorAlignment);
    }
    live_.drop(kP);
  }

  void drop_normed() {
    live_.drop(kNormed);
    live_.drop(kNormed2);
  }

  void dense(const LayerKind& kind, std::int64_t intermediate, bool next_norm) {
    live_.take(kGate, tokens(intermediate));
    if (kind.layer.feed_forward.gated) live_.take(kUp, tokens(intermediate));
    take_scratch(kind, {Part::kGate, Part::kUp}, pass_.tokens, model_.hidden);
    live_.drop(kScratch);
    drop_normed();
    live_.drop(kUp);
    project(kind, Part::kDown, intermediate, kGate, next_norm);
  }

  void experts(const LayerKind& kind, bool next_norm) {
    const FeedForward& ff = kind.layer.feed_forward;
    // A token is sent to no more experts than are here; that all are here is the most there can be.
    const std::int64_t routed =
        detail::checked_mul(pass_.tokens, std::min(ff.experts_per_token, kind.shape.experts));
    live_.take(kRouter, bytes_of(DType::kF32, pass_.tokens, ff.experts));
    live_.take(kRouted, rows(routed, model_.hidden));
    live_.take(kExpertGate, rows(routed, kind.shape.intermediate));
    if (ff.gated) live_.take(kExpertUp, rows(routed, kind.shape.intermediate));
    take_scratch(kind, {Part::kExpertGate, Part::kExpertUp}, routed, model_.hidden);
    live_.drop(kScratch);
    live_.drop(kExpertUp);
    live_.drop(kRouted);
    live_.take(kExpertOut, rows(routed, model_.hidden));
    take_scratch(kind, {Part::kExpertDown}, routed, kind.shape.intermediate);
    live_.drop(kScratch);
    live_.drop(kExpertGate);
    live_.take(kP, tokens(model_.hidden));
    live_.drop(kExpertOut);
    live_.drop(kRouter);
    if (kind.shape.shared_intermediate > 0) {
      live_.drop(kP);
      return dense(kind, kind.shape.shared_intermediate, next_norm);
    }
    drop_normed();
    add_projected(next_norm);
  }

  void head() {
    const std::int64_t r = pass_.logit_rows;
    live_.enter("head");
    live_.take(kRows, rows(r, model_.hidden));
    live_.drop(kX);
    if (model_.final_norm) {
      live_.take(kNormed, rows(r, model_.hidden));
      live_.drop(kRows);
    }
    live_.take(kLogits, bytes_of(DType::kF32, r, model_.shape.vocab_rows));
    live_.take(kScratch, linear_scratch(rules_, r, model_.hidden, model_.head_dtype));
    live_.drop(kScratch);
    live_.drop(kNormed);
    live_.drop(kRows);
    const std::int64_t gathered = detail::checked_mul(model_.shape.vocab_rows, model_.shape.tp);
    if (model_.shape.tp > 1) {
      live_.take(kAllLogits, bytes_of(DType::kF32, r, gathered));
      live_.drop(kLogits);
    }
    live_.take(kSampling, sample_scratch(rules_, r, gathered));
  }

  const RankModel& model_;
  const ScratchRules& rules_;
  const PassShape& pass_;
  LiveSet live_;
  bool norm_made_ = false, moved_ = false;
};

Bytes most(const RankModel& model, const ScratchRules& rules,
           const std::vector<PassShape>& passes) {
  Bytes peak;
  for (const PassShape& pass : passes) peak = std::max(peak, peak_bytes(model, rules, pass));
  return peak;
}

}  // namespace

Bytes linear_scratch(const ScratchRules& rules, std::int64_t tokens, std::int64_t in_features,
                     DType weight) {
  const bool packed = packed_rule(weight) != nullptr;
  const bool fp8 = rules.linear_inputs == DType::kF8E4M3 && takes_fp8_inputs(weight);
  if (rules.multiprocessors > 0) {
    // The input's codes and their scales.
    if (fp8)
      return round_up(Bytes{detail::checked_mul(tokens, in_features)}, Bytes{256}) +
             Bytes{4} * tokens;
    // Above 32 tokens, rows of a quantised weight are made plain in a tile: at most 8192 of them
    // and at most 64 MiB. Packed ones are read by our kernel as they are.
    const bool tiled =
        is_block_quantised(weight) && tokens > 32 && rules.activations != DType::kF32;
    const std::int64_t fitting = (std::int64_t{64} << 20) / (2 * in_features);
    return tiled ? bytes_of(DType::kBF16, std::clamp<std::int64_t>(fitting, 1, 8192), in_features)
                 : Bytes{};
  }
  if (rules.kind != DeviceKind::kCpu) return {};
  const Bytes rounded = fp8 ? bytes_of(DType::kF32, tokens, in_features) : Bytes{};
  if (!packed && !is_block_quantised(weight)) return rounded;
  if (packed || rules.linear_inputs == DType::kF32)
    return rounded + bytes_of(DType::kF32,
                              tokens > kFewTokens ? kDequantisedPanels : kDequantisedRows,
                              in_features) *
                         rules.threads;
  // 32 codes of 8 bits, their scale and their sum (f32 each) per 32 inputs of a token.
  return Bytes{32 + 4 + 4} * ceil_div(in_features, 32) * tokens;
}

bool ScratchRules::has_window(const LayerKind& layer) const {
  const KvFormat format = layer.cache ? layer.cache->format : kv_format;
  return residual && (kv_policy == KvPolicy::kStrided || needs_residual(format));
}

Bytes attention_scratch(const ScratchRules& rules, const PassShape& pass, const LayerKind& kind) {
  if (kind.shape.heads == 0) return {};
  const std::int64_t queries = pass.tokens / pass.sequences;
  if (rules.attention == AttentionAlgorithm::kNaive) {
    const KvKeep keep = keep_of(rules.kv_policy, rules.kv_keep, kind.layer.mixer.window_tokens);
    const std::int64_t first = pass.first_kv_length > 0 ? pass.first_kv_length : pass.kv_length;
    const std::int64_t length =
        most_kept_length(keep, rules.block, {queries, first, pass.kv_length});
    return bytes_of(DType::kF32, detail::checked_mul(kind.shape.heads, queries), length);
  }
  if (queries != 1) return {};
  if (rules.multiprocessors > 0) {
    if (rules.kv_policy == KvPolicy::kMass) return {};  // tiles, as for many queries
    // Splits of a sequence and kv head: two blocks a multiprocessor, of 256 tokens or more each, at
    // most 64; per split and head a partial output, its maximum and its sum.
    const std::int64_t groups = detail::checked_mul(pass.sequences, kind.shape.kv_heads);
    const std::int64_t wanted = ceil_div(2 * std::int64_t{rules.multiprocessors}, groups);
    std::int64_t splits = std::min(
        {wanted, std::max<std::int64_t>(1, ceil_div(rules.most_context, 256)), std::int64_t{64}});
    // Two read the residual window or the sinks, and at least two what else there is.
    const KvKeep keep = keep_of(rules.kv_policy, rules.kv_keep, kind.layer.mixer.window_tokens);
    if (rules.has_window(kind) || keep.sinks.n > 0)
      splits = std::clamp<std::int64_t>(splits + 2, 4, 64);
    const std::int64_t rows =
        detail::checked_mul(detail::checked_mul(kind.shape.heads, pass.sequences), splits);
    return bytes_of(DType::kF32, rows, kind.layer.mixer.value_dim + 2);
  }
  if (rules.kind != DeviceKind::kCpu) return {};
  // A partial output, its maximum and its sum per thread, head and sequence.
  const std::int64_t parts = rules.threads + (rules.has_window(kind) ? 1 : 0);
  const std::int64_t partials =
      detail::checked_mul(detail::checked_mul(kind.shape.heads, parts), pass.sequences);
  return bytes_of(DType::kF32, partials, kind.layer.mixer.value_dim + 2);
}

Moment peak_moment(const RankModel& model, const ScratchRules& rules, const PassShape& pass) {
  return Pass(model, rules, pass, true).run();
}

Bytes peak_bytes(const RankModel& model, const ScratchRules& rules, const PassShape& pass) {
  return Pass(model, rules, pass, false).run().live;
}

Bytes pass_extent(const RankModel& model, const ScratchRules& rules, const PassShape& pass) {
  Pass walk(model, rules, pass, false);
  walk.run();
  return walk.extent();
}

Bytes sample_scratch(const ScratchRules&, std::int64_t, std::int64_t) { return {}; }

std::vector<PassShape> prefill_passes(const Decisions& decisions, bool head) {
  const std::int64_t prompt = (decisions.context - decisions.output).n;
  const std::int64_t chunk = std::min(decisions.prefill_chunk.n, prompt);
  if (chunk <= 0) return {};
  const std::int64_t full_before_last = ceil_div(prompt, chunk) - 1;
  const auto part = [&](std::int64_t tokens) { return decisions.sharding.share(tokens); };
  std::vector<PassShape> passes;
  if (full_before_last > 0) {
    passes.push_back({part(chunk), 0, 1, part(full_before_last * chunk), part(chunk)});
  }
  const std::int64_t rows = head ? decisions.samples : 0;  // the last logits once a sample
  passes.push_back({part(prompt - full_before_last * chunk), rows, 1, part(prompt)});
  return passes;
}

std::vector<PassShape> decode_passes(const Decisions& decisions, bool head, DeviceKind kind) {
  if (decisions.output.n <= 1) return {};
  const auto step = [&](std::int64_t rows) {
    const Sharding& s = decisions.sharding;
    return PassShape{rows, head ? rows : 0, rows, s.share(decisions.context.n - 1),
                     s.share((decisions.context - decisions.output).n + 1)};
  };
  if (const GuessDecision& guesses = decisions.speculation; guesses.any()) {
    // The first step asks about the most; the last one may have nothing to ask.
    const std::int64_t asked = std::clamp<std::int64_t>(decisions.output.n - 2, 0, guesses.tokens);
    PassShape most = step(decisions.batch);
    most.tokens = decisions.batch * (asked + 1);
    most.logit_rows = head ? most.tokens : 0;
    if (kind == DeviceKind::kGpu) return {most};  // each is brought to it
    return {step(decisions.batch), most};
  }
  if (decisions.preempt == Preempt::kNone) return {step(decisions.batch)};
  const PreemptionForecast forecast = replay_preemption(decisions);
  if (kind != DeviceKind::kGpu || !captures_steps(decisions)) return {step(forecast.most_running)};
  std::vector<PassShape> passes;
  for (const auto& [rows, count] : forecast.captured_steps(decisions.batch)) {
    passes.push_back(step(rows));
  }
  return passes;
}

ScratchRules scratch_rules(const Decisions& decisions, DeviceKind kind, int multiprocessors) {
  return {kind,
          decisions.threads,
          decisions.activations,
          decisions.attention,
          decisions.linear_inputs,
          kind == DeviceKind::kGpu ? multiprocessors : 0,
          decisions.sharding.share(decisions.context.n),
          decisions.kv_policy,
          decisions.kv_keep,
          decisions.block,
          decisions.kv_residual.any(),
          decisions.sharding.cp,
          decisions.kv_format};
}

Bytes prefill_peak(const RankModel& model, const Decisions& decisions, const ScratchRules& rules) {
  return most(model, rules, prefill_passes(decisions, model.shape.head));
}

Bytes decode_peak(const RankModel& model, const Decisions& decisions, const ScratchRules& rules) {
  return most(model, rules, decode_passes(decisions, model.shape.head, rules.kind));
}

Bytes activation_extent(const RankModel& model, const Decisions& decisions,
                        const ScratchRules& rules) {
  Bytes extent;
  for (const bool decode : {false, true}) {
    const bool head = model.shape.head;
    for (const PassShape& pass :
         decode ? decode_passes(decisions, head, rules.kind) : prefill_passes(decisions, head)) {
      extent = std::max(extent, pass_extent(model, rules, pass));
    }
  }
  return extent;
}

}  // namespace vramplan
