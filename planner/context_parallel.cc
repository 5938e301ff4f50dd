#include "planner/context_parallel.h"

#include <algorithm>

#include "planner/kv_cache.h"

namespace vramplan {
namespace {

/// Elements of a head's result: MLA merges what is still in the latent.
std::int64_t result_width(const LayerKind& kind) {
  const Mixer& mixer = kind.layer.mixer;
  return (kind.shape.latent > 0 ? mixer.kv_lora_rank : mixer.value_dim) + 2;
}

[[noreturn]] void refuse(const char* what, const char* help) {
  throw Error(ErrorCode::kUnsupported, std::string("context parallel ranks with ") + what)
      .at("", "--cp")
      .help(help);
}

}  // namespace

Bytes exchange_bytes(const ScratchRules& rules, const PassShape& pass, const LayerKind& kind) {
  if (rules.cp == 1 || kind.shape.heads == 0) return {};
  if (pass.tokens == pass.sequences) {
    const std::int64_t rows = detail::checked_mul(pass.tokens, kind.shape.heads);
    return bytes_of(DType::kF32, detail::checked_mul(rows, std::int64_t{rules.cp}),
                    result_width(kind));
  }
  return kv_bytes_per_token(kind.shape, rules.kv_format) * Tokens{pass.kv_length} * 2;
}

OpWork ContextRanks::attention(const AttentionShape& shape, const PassWork& pass,
                               std::int64_t repeat) const {
  const std::int64_t queries = pass.tokens / pass.sequences;
  if (cp == 1) return attention_work(shape, queries, pass.kv_length, repeat);
  if (!pass.prefill) {
    return attention_work(shape, queries, ceil_div(pass.kv_length, std::int64_t{cp}), repeat);
  }
  const std::int64_t all = std::min(detail::checked_mul(queries, cp), pass.kv_length);
  OpWork work = attention_work(shape, all, pass.kv_length, repeat);
  // Queries and results are those of one rank; K and V are read of all.
  const double read = static_cast<double>(repeat * all) *
                      static_cast<double>(shape.heads * (shape.head_dim + shape.value_dim)) *
                      bytes_per_element(shape.activation);
  work.bytes -= read * (cp - 1) / cp;
  work.flops /= cp;
  return work;
}

OpWork ContextRanks::exchange(const LayerKind& kind, KvFormat format, const PassWork& pass,
                              std::int64_t repeat) const {
  OpWork work;
  if (!pass.prefill) {
    work = all_gather_work(pass.tokens * kind.shape.heads, result_width(kind), DType::kF32, cp);
    work.calls = repeat;
    work.bytes *= static_cast<double>(repeat);
  } else {
    const auto part = static_cast<double>(kv_bytes_per_token(kind.shape, format).n) / cp;
    const double first = static_cast<double>(pass.kv_length);
    const double step = static_cast<double>(std::min(pass.tokens * cp, pass.kv_length));
    const double passes = static_cast<double>(repeat);
    const double tokens = passes * first + step * passes * (passes - 1) / 2;
    work.op = OpKind::kSend;
    work.dtype = work.compute = DType::kBF16;
    work.calls = repeat * (cp - 1);
    work.bytes = (cp - 1) * part * tokens;
  }
  work.ranks = tp * cp;  // neighbours of the ring are as far apart as that
  return work;
}

void check_context_parallel(const ModelCard& card, const Decisions& d, const PlanRequest& request) {
  if (d.sharding.cp == 1) return;
  for (const Layer& layer : card.layers) {
    const Mixer& mixer = layer.mixer;
    if (mixer.linear.kind != LinearKind::kNone) refuse("recurrent states", "leave --cp out");
    if (mixer.window_tokens > 0) refuse("layers that have windows", "leave --cp out");
  }
  if (!d.kv_layers.empty()) refuse("layers of different KV formats", "leave one of them out");
  if (!keep_of(d, 0).all() || d.kv_residual.any()) {
    refuse("a cache that gives tokens back", "--kv-policy keep_all, a format without a window");
  }
  if (d.samples > 1 || d.shared_prefix.n > 0 || d.kv_layout != KvLayout::kPaged) {
    refuse("blocks that sequences share, or a contiguous cache", "leave one of them out");
  }
  if (request.preempt && *request.preempt != PreemptRequest::kNone) {
    refuse("preemption", "leave --preempt out");
  }
  if (d.kv_placement != KvPlacement::kDevice || d.weight_offload.layers > 0 ||
      d.activation_offload) {
    refuse("anything beyond the device", "leave one of them out");
  }
  if (d.attention == AttentionAlgorithm::kNaive) refuse("naive attention", "--attention tiled");
}

}  // namespace vramplan
