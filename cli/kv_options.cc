#include "cli/kv_options.h"

#include "planner/kv_mix.h"

namespace vramplan::cli {

void add_kv_flags(CLI::App& command, PlanOptions& o) {
  command.add_option("--kv-cache-dtype", o.kv_format, "f16, fp8, int8, kivi2 ...")->group(kFormats);
  command.add_option("--kv-layers", o.kv_layers, "layers with another: 0-1:f16,20-29:kivi2")
      ->group(kFormats);
  command
      .add_option("--kv-full-heads", o.kv_full_heads,
                  "kivi2, kivi4: KV heads that stay in f16, e.g. 0,2")
      ->group(kFormats);
  command
      .add_option("--kv-policy", o.kv_policy,
                  "keep_all; window (windowed layers); sink_window (all layers); strided; mass")
      ->group(kFormats);
  command.add_option("--kv-budget", o.kv_budget, "mass: most tokens that stay (a fifth)")
      ->group(kFormats);
  command.add_option("--kv-score", o.kv_score, "mass: sum, or decayed")->group(kFormats);
  command
      .add_option("--preempt", o.preempt,
                  "sequences beyond the blocks there are: none, swap, recompute, auto")
      ->group(kWork);
  command
      .add_option("--kv-pool", o.kv_pool, "--preempt: tokens of all sequences together, at most")
      ->group(kWork);
  command.add_option("--kv-layout", o.kv_layout, "paged, or contiguous (the baseline)")
      ->group(kFormats);
  command
      .add_option("--kv-residual", o.kv_residual,
                  "kivi2, kivi4, strided: newest tokens kept in f16 (128; strided 512)")
      ->group(kFormats);
  command.add_option("--kv-stride", o.kv_stride, "strided: one in how many older tokens stays (4)")
      ->group(kFormats);
  command.add_option("--kv-sinks", o.kv_sinks, "sink_window: first tokens that stay (4)")
      ->group(kFormats);
  command.add_option("--kv-window", o.kv_window, "sink_window: newest tokens that stay (1024)")
      ->group(kFormats);
  command
      .add_option("--kv-placement", o.kv_placement,
                  "device, host or disk: where KV blocks live between their layer's turns")
      ->group(kFormats);
  command
      .add_option("--kv-offload", o.kv_offload,
                  "share of the KV cache that leaves the device, e.g. 0.8; default: all it can")
      ->group(kFormats);
  command.add_option("--block-size", o.block_tokens, "tokens of a KV block")->group(kFormats);
}

/// Heads that stay in f16 are those of every packed layer that names none of its own.
void read_kv_mix(const PlanOptions& o, PlanRequest& request) {
  if (!o.kv_layers.empty()) request.kv_layers = parse_kv_layers(o.kv_layers, "--kv-layers");
  if (o.kv_full_heads.empty()) return;
  request.kv_full_heads = parse_kv_heads(o.kv_full_heads, "--kv-full-heads");
  for (KvLayerRange& piece : request.kv_layers) {
    if (!needs_residual(piece.encoding.format) || piece.encoding.full_heads.any()) continue;
    piece.encoding.full_heads = request.kv_full_heads;
  }
}

}  // namespace vramplan::cli
