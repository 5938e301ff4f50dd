// The YAML form of a plan, schema vramplan.plan/1: see write_plan in plan.h. Integers
// are exact, reals shortest; numbers of more than 63 bits are quoted. Ranks that are alike share
// their rows.
#include <fmt/format.h>

#include <iterator>

#include "modelcards/yaml.h"
#include "planner/kv_mix.h"
#include "planner/plan.h"
#include "planner/weight_mix.h"

namespace vramplan {
namespace {

constexpr const char* kSchema = "vramplan.plan/1";

class Writer {
 public:
  std::string run(const Plan& plan) {
    line("# Written by vramplan plan; read by vramplan run, verify and report.");
    line("schema: {}", kSchema);
    line("verdict: {}", plan.predictions.fits ? "fits" : "does_not_fit");
    decisions(plan.decisions);
    if (plan.engine) out_ += "  engine:\n" + write_engine_decision(*plan.engine, "    ");
    assumptions(plan.assumptions);
    predictions(plan.predictions);
    return std::move(out_);
  }

 private:
  template <class... Args>
  void line(fmt::format_string<Args...> format, Args&&... args) {
    fmt::format_to(std::back_inserter(out_), format, std::forward<Args>(args)...);
    out_ += '\n';
  }

  void texts(const char* indent, const char* key, const std::vector<std::string>& values) {
    line("{}{}:{}", indent, key, values.empty() ? " []" : "");
    for (const std::string& value : values) line("{}  - {}", indent, yaml_quoted(value));
  }

  void decisions(const Decisions& d) {
    line("decisions:");
    line("  model: {}", yaml_quoted(d.model));
    texts("  ", "set", d.set);
    if (!d.assume_like.empty()) line("  assume_like: {}", yaml_quoted(d.assume_like));
    line("  card_hash: \"0x{:016x}\"", d.card_hash);
    line("  device: {}", yaml_quoted(d.device));
    line("  device_count: {}", d.device_count);
    line("  sharding: {{tp: {}, pp: {}, cp: {}, ep: {}}}", d.sharding.tp, d.sharding.pp,
         d.sharding.cp, d.sharding.ep);
    line("  weights: {}", weight_word(d.weights));
    if (!d.weight_layers.empty())
      line("  weight_layers: {}", yaml_quoted(text_of(d.weight_layers)));
    if (d.weight_offload.layers > 0) {
      line("  weight_offload: {{streamed_layers: {}, staging_layers: {}}}", d.weight_offload.layers,
           d.weight_offload.staging);
    }
    line("  activations: {}", info(d.activations).name);
    line("  kv_format: {}", name_of(d.kv_format));
    if (d.kv_full_heads.any()) line("  kv_full_heads: \"{}\"", text_of(d.kv_full_heads));
    if (!d.kv_layers.empty()) line("  kv_layers: {}", yaml_quoted(text_of(d.kv_layers)));
    line("  kv_policy: {}", name_of(d.kv_policy));
    if (d.kv_policy == KvPolicy::kSinkWindow) {
      line("  kv_keep: {{sink_tokens: {}, window_tokens: {}}}", d.kv_keep.sinks.n,
           d.kv_keep.window.n);
    } else if (d.kv_policy == KvPolicy::kMass) {
      line("  kv_keep: {{budget_tokens: {}, score: {}}}", d.kv_keep.budget.n, name_of(d.kv_score));
    }
    if (d.kv_residual.any()) {
      const Blocks history = d.kv_residual.history;
      line("  kv_residual: {{tokens: {}, stride: {}, blocks: {}{}}}", d.kv_residual.tokens.n,
           d.kv_residual.stride, d.kv_residual.blocks.n,
           history.n > 0 ? fmt::format(", history_blocks: {}", history.n) : "");
    }
    line("  kv_placement: {}", name_of(d.kv_placement));
    if (d.kv_placement != KvPlacement::kDevice) {
      line("  kv_offload: {{resident_layers: {}, staging_layers: {}}}", d.kv_offload.resident,
           d.kv_offload.staging);
    }
    line("  kv_layout: {}", name_of(d.kv_layout));
    line("  block_tokens: {}", d.block.n);
    line("  kv_blocks: {}", d.kv_blocks.n);
    if (d.preempt != Preempt::kNone) {
      line("  preempt: {}", name_of(d.preempt));
      line("  swap_blocks: {}", d.swap_blocks.n);
    }
    line("  window_pools:{}", d.window_pools.empty() ? " []" : "");
    for (const WindowPool& pool : d.window_pools) {
      line("    - {{window_tokens: {}, blocks: {}}}", pool.window.n, pool.blocks.n);
    }
    line("  context_tokens: {}", d.context.n);
    line("  output_tokens: {}", d.output.n);
    line("  batch: {}", d.batch);
    line("  samples: {}", d.samples);
    if (d.beam_search) line("  beam_search: true");
    if (const GuessDecision& s = d.speculation; s.any()) {
      line(
          "  speculation: {{method: {}, tokens: {}, acceptance: {}, draft: {}, draft_hash: "
          "\"0x{:016x}\"}}",
          name_of(s.guess), s.tokens, s.acceptance, yaml_quoted(s.draft), s.draft_hash);
    }
    line("  shared_prefix_tokens: {}", d.shared_prefix.n);
    line("  prefill_chunk_tokens: {}", d.prefill_chunk.n);
    if (d.activation_offload) line("  activation_offload: true");
    line("  attention: {}", name_of(d.attention));
    line("  linear_inputs: {}", info(d.linear_inputs).name);
    line("  threads: {}", d.threads);
    if (d.replicas > 1) line("  replicas: {}", d.replicas);
    line("  seed: \"{}\"", d.seed);
    line("  capacity_bytes: {}", d.capacity.n);
  }

  void assumptions(const std::vector<Assumption>& assumptions) {
    line("assumptions:{}", assumptions.empty() ? " []" : "");
    for (const Assumption& a : assumptions) {
      line("  - what: {}", yaml_quoted(a.what));
      line("    value: {}", yaml_quoted(a.value));
      line("    flag: {}", yaml_quoted(a.flag));
    }
  }

  void predictions(const Predictions& p) {
    line("predictions:");
    line("  missing_bytes: {}", p.missing.n);
    if (p.preemption) {
      const PreemptionPrediction& q = *p.preemption;
      line(
          "  preemption: {{preempted: {}, moved_blocks: {}, recomputed_tokens: {}, seconds: {}, "
          "other_seconds: {}, mean_running: {}}}",
          q.counts.preempted, q.counts.moved.n, q.counts.recomputed.n, q.seconds.v,
          q.other_seconds.v, q.mean_running);
    }
    if (const auto& s = p.speculation) {
      line(
          "  speculation_forecast: {{tokens_a_step: {}, step_seconds: {}, plain_tpot_seconds: {}, "
          "speedup: {}}}",
          s->tokens_a_step, s->step.v, s->plain_tpot.v, s->speedup);
    }
    if (const auto& f = p.offload) {
      line(
          "  offload: {{device_tpot_seconds: {}, slowdown: {}, cache_bytes: {}, reload_seconds: "
          "{}, "
          "recompute_seconds: {}, break_even_bytes_per_second: {}}}",
          f->device_tpot.v, f->slowdown, f->cache.n, f->reload.v, f->recompute.v, f->break_even.v);
    }
    line("  binding_constraint: {}", yaml_quoted(p.binding_constraint));
    texts("  ", "advice", p.advice);
    line("  totals:");
    line("    parameters: {}", p.totals.parameters.n);
    line("    active_parameters: {}", p.totals.active_parameters.n);
    line("    weight_bytes: {}", p.totals.weight_bytes.n);
    line("    kv_bytes_per_token: {}", p.totals.kv_bytes_per_token.n);
    line("    kv_bytes: {}", p.totals.kv_bytes.n);
    line("  capacity:");
    line("    max_context_tokens: {}", p.capacity.max_context.n);
    line("    max_sequences: {}", p.capacity.max_sequences);
    line("    kv_tokens: {}", p.capacity.kv_tokens.n);
    line("    kv_equals_weights_tokens: {}", p.capacity.kv_equals_weights.n);
    performance(p.performance);
    line("  curve:{}", p.curve.empty() ? " []" : "");
    for (const CurvePoint& point : p.curve) {
      line("    - {{at_seconds: {}, phase: {}, bytes: {}}}", point.at.v, name_of(point.phase),
           point.bytes.n);
    }
    line("  devices:{}", p.devices.empty() ? " []" : "");
    for (const DevicePrediction& d : p.devices) {
      line("    - {{rank: {}, capacity_bytes: {}, predicted_bytes: {}, headroom_bytes: {}}}",
           d.rank, d.capacity.n, d.predicted.n, d.headroom.n);
    }
    ledger(p.ledger);
  }

  void performance(const Performance& p) {
    line("  performance:");
    line("    ttft_seconds: {}", p.ttft.v);
    line("    tpot_seconds: {}", p.tpot.v);
    line("    tokens_per_second: {}", p.tokens_per_second);
    line("    prefill_tokens_per_second: {}", p.prefill_tokens_per_second);
    line("    limited_by: {}", yaml_quoted(p.limited_by));
    line("    decode_floor_seconds: {}", p.decode_floor.v);
    terms("prefill_terms", p.prefill_terms);
    terms("decode_terms", p.decode_terms);
  }

  void terms(const char* key, const std::vector<TimeTerm>& list) {
    line("    {}:{}", key, list.empty() ? " []" : "");
    for (const TimeTerm& term : list) {
      line("      - {{op: {}, seconds: {}, limited_by: {}}}", yaml_quoted(term.op), term.seconds.v,
           yaml_quoted(term.limited_by));
    }
  }

  static std::string row_text(const LedgerRow& row) {
    return fmt::format(
        "        - {{tier: {}, category: {}, name: {}, phase: {}, bytes: {},\n           formula: "
        "{}}}",
        name_of(row.tier), name_of(row.category), yaml_quoted(row.name), name_of(row.phase),
        row.bytes.n, yaml_quoted(row.formula));
  }

  void ledger(const Ledger& ledger) {
    const std::vector<LedgerRow>& rows = ledger.rows();
    line("  ledger:{}", rows.empty() ? " []" : "");
    int first = 0, last = -1;
    std::string shared;
    const auto flush = [&] {
      if (last < first) return;
      line("    - ranks: {{first: {}, last: {}}}", first, last);
      line("      rows:");
      out_ += shared;
    };
    for (std::size_t i = 0; i < rows.size();) {
      const int rank = rows[i].rank;
      std::string text;
      for (; i < rows.size() && rows[i].rank == rank; ++i) text += row_text(rows[i]) + "\n";
      if (last >= first && rank == last + 1 && text == shared) {
        last = rank;
        continue;
      }
      flush();
      first = last = rank;
      shared = std::move(text);
    }
    flush();
  }

  std::string out_;
};

}  // namespace

std::string write_plan(const Plan& plan) { return Writer().run(plan); }

}  // namespace vramplan
