// llama.cpp: no fraction. Model, KV cache and compute buffers are what they are; the compute buffer
// is the largest moment of the graph, over ubatch tokens, and pipeline copies of its inputs.
#include <algorithm>
#include <cmath>

#include "planner/engines/twin.h"

namespace vramplan {
namespace {

constexpr std::int64_t kF32 = 4, kF16 = 2;

std::int64_t mul(std::int64_t a, std::int64_t b) { return detail::checked_mul(a, b); }

/// Cells of the cache: every slot's context, padded.
std::int64_t cells(const TwinInput& in, std::int64_t tokens) {
  const auto granule = static_cast<std::int64_t>(
      in.table.number(in.settings.flash_attention ? "cell_granule_flash" : "cell_granule"));
  return mul(ceil_div(tokens, granule), granule);
}

/// A windowed layer keeps min(context, window x slots + ubatch) cells.
std::int64_t layer_cells(const TwinInput& in, const KvLayers& layers) {
  const std::int64_t all = cells(in, mul(in.settings.max_model_len.n, in.settings.max_num_seqs));
  if (layers.window == 0 || layers.kind != MixerKind::kSlidingWindow) return all;
  if (in.table.number("windowed_cache") == 0) return all;
  const std::int64_t kept = detail::checked_add(mul(layers.window, in.settings.max_num_seqs),
                                                in.settings.max_num_batched_tokens.n);
  return std::min(all, cells(in, kept));
}

Bytes cache(const TwinInput& in) {
  Bytes bytes;
  for (const KvLayers& layers : in.model.kv) {
    // bytes_per_token holds 2 B elements here; the format's own bits follow.
    const std::int64_t elements =
        mul(mul(layer_cells(in, layers), layers.layers),
            layers.bytes_per_token.n / in.settings.formats.kv_element_bytes);
    bytes +=
        Bytes{std::llround(std::ceil(static_cast<double>(elements) * in.settings.kv_bits / 8))};
  }
  return bytes;
}

/// The larger of the head (logits and the rows they are made of) and one attention layer: without
/// flash attention all scores in f32, the mask, and the activations that stay beside them.
Bytes compute(const TwinInput& in, bool several) {
  const EngineModel& m = in.model;
  const std::int64_t ubatch = in.settings.max_num_batched_tokens.n;
  const std::int64_t row = mul(mul(m.hidden, ubatch), kF32);
  const std::int64_t length = cells(in, mul(in.settings.max_model_len.n, in.settings.max_num_seqs));
  const auto copies = static_cast<std::int64_t>(several ? in.table.number("pipeline_copies") : 1);
  const std::int64_t mask = mul(mul(length, ubatch), in.settings.flash_attention ? kF16 : kF32);
  const std::int64_t head = m.head ? mul(mul(m.vocab, ubatch), kF32) + row : 0;
  const auto rows = static_cast<std::int64_t>(
      in.table.number(several ? "attention_rows_several" : "attention_rows"));
  std::int64_t attention = mul(mask, copies) + mul(rows, row);
  if (!in.settings.flash_attention) attention += mul(mul(length, ubatch), mul(m.heads, kF32));
  const std::int64_t feed_forward =
      mul(mul(mul(m.intermediate, ubatch), kF32), 2) + mul(2, row) + mul(mask, copies);
  // The projector's encoder runs before the text and in its own buffer.
  return Bytes{std::max({head, attention, feed_forward})} +
         (m.embedding ? tower_attention(in.settings.tower_shape, in.settings.flash_attention)
                      : Bytes{});
}

}  // namespace

namespace {

/// The input table stays on the host; a tied one is copied to the device as the head.
Bytes model_buffer(const EngineModel& model) {
  const bool on_host = model.embedding && !(model.head && model.tied);
  return on_host ? model.weights - model.embedding_table : model.weights;
}

}  // namespace

EngineForecast llamacpp_rank(const TwinInput& in) {
  EngineForecast out;
  const bool several = in.decisions.device_count > 1;
  out.weights = model_buffer(in.model);
  out.kv = cache(in);
  out.kv_tokens = {cells(in, mul(in.settings.max_model_len.n, in.settings.max_num_seqs))};
  out.max_concurrency = static_cast<double>(in.settings.max_num_seqs);
  out.compute = compute(in, several);
  if (in.draft != nullptr) {  // a second context, as long as the first
    const TwinInput draft{in.table, in.device, in.decisions, in.settings, *in.draft};
    out.draft = model_buffer(*in.draft);
    out.weights += out.draft;
    out.kv += cache(draft);
    out.compute += compute(draft, several);
  }
  out.non_torch = Bytes{in.device.context_bytes.value} + Bytes{in.device.module_bytes.value} +
                  Bytes{in.device.workspace_bytes.value};
  out.total = out.weights + out.kv + out.compute + out.non_torch;
  out.available =
      in.decisions.capacity - Bytes{std::llround(in.table.number("fit_margin_mib") * 1024 * 1024)};
  out.boots = out.total + in.settings.beside <= in.decisions.capacity;
  return out;
}

}  // namespace vramplan
