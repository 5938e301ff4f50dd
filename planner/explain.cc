#include "planner/explain.h"

#include <fmt/format.h>

#include <algorithm>
#include <iterator>

#include "planner/runtime_overhead.h"
#include "planner/text.h"

namespace vramplan {
namespace {

class Explainer {
 public:
  Explainer(const Plan& plan, const ModelSource& source, const DeviceCard& device)
      : plan_(plan), source_(source), device_(device) {}

  std::string run() {
    inputs();
    totals();
    ledger();
    capacity();
    performance();
    assumptions();
    return std::move(out_);
  }

 private:
  template <class... Args>
  void line(fmt::format_string<Args...> format, Args&&... args) {
    fmt::format_to(std::back_inserter(out_), format, std::forward<Args>(args)...);
    out_ += '\n';
  }

  template <class T>
  void value(const char* field, const Sourced<T>& sourced) {
    if (sourced.value == 0) return;
    line("  {} = {} [{}] {}", field, sourced.value, name_of(sourced.evidence),
         printable(sourced.source));
  }

  void inputs() {
    const ModelCard& card = source_.card;
    line("Model {}: {} layers, hidden {}, vocabulary {}, context limit {}", card.name,
         card.layer_count(), card.hidden, grouped(card.vocab), grouped(card.context_limit));
    if (!source_.path.empty()) line("  read from {}", printable(source_.path));
    line("  [{}] {}", printable(card.evidence), printable(card.source));
    line("Device {}", device_.name);
    value("capacity_bytes", device_.capacity_bytes);
    value("memory_bytes_per_s", device_.memory_bytes_per_s);
    value("memory_efficiency", device_.memory_efficiency);
    value("compute_efficiency", device_.compute_efficiency);
    value("launch_s", device_.launch_s);
    for (const auto& [dtype, flops] : device_.flops_per_s) {
      value(("flops_per_s." + dtype).c_str(), flops);
    }
    line("  {} measured cost lines of operations{}", device_.op_costs.size(),
         device_.op_costs.empty() ? ": times are analytic" : "");
  }

  void totals() {
    const Totals& t = plan_.predictions.totals;
    line("Whole model");
    line("  parameters {} ({} active a token)", grouped(t.parameters.n),
         grouped(t.active_parameters.n));
    line("  weights {} = {}", exact(t.weight_bytes), to_text(t.weight_bytes));
    const Decisions& d = plan_.decisions;
    line("  KV cache {} B/token x {} tokens in {} blocks of {} = {} = {}",
         grouped(t.kv_bytes_per_token.n), grouped((d.block * d.kv_blocks).n),
         grouped(d.kv_blocks.n), d.block.n, exact(t.kv_bytes), to_text(t.kv_bytes));
  }

  bool alike(int rank) const {
    if (rank == 0) return false;
    const auto rows_of = [&](int r) {
      std::vector<const LedgerRow*> rows;
      for (const LedgerRow& row : plan_.predictions.ledger.rows()) {
        if (row.rank == r) rows.push_back(&row);
      }
      return rows;
    };
    const auto a = rows_of(rank - 1), b = rows_of(rank);
    return std::equal(
        a.begin(), a.end(), b.begin(), b.end(), [](const LedgerRow* x, const LedgerRow* y) {
          return x->name == y->name && x->bytes == y->bytes && x->formula == y->formula;
        });
  }

  void ledger() {
    for (const DevicePrediction& device : plan_.predictions.devices) {
      if (alike(device.rank)) {
        line("Rank {}: as rank {}", device.rank, device.rank - 1);
        continue;
      }
      line("Rank {}", device.rank);
      for (const LedgerRow& row : plan_.predictions.ledger.rows()) {
        if (row.rank != device.rank) continue;
        line("  {} {} / {} ({}) = {}", name_of(row.tier), name_of(row.category), row.name,
             name_of(row.phase), exact(row.bytes));
        line("      {}", row.formula);
      }
      line("  peak = rows of load + the larger of prefill and decode = {}",
           exact(device.predicted));
      line("  headroom = {} - {} = {}", exact(device.capacity), exact(device.predicted),
           exact(device.headroom));
    }
    line("{}", plan_.predictions.binding_constraint);
    for (const std::string& advice : plan_.predictions.advice) line("  {}", advice);
  }

  void capacity() {
    const Capacity& c = plan_.predictions.capacity;
    line("Limits of the memory");
    line("  longest context at {} sequences: {} tokens", plan_.decisions.batch,
         grouped(c.max_context.n));
    line("  most sequences at {} tokens: {}", grouped(plan_.decisions.context.n),
         grouped(c.max_sequences));
    line("  tokens the cache can grow to: {}", grouped(c.kv_tokens.n));
    line("  tokens whose KV weighs as much as the weights: {}", grouped(c.kv_equals_weights.n));
  }

  void terms(const char* phase, Seconds total, const std::vector<TimeTerm>& terms) {
    line("  {} {} =", phase, to_text(total));
    for (const TimeTerm& term : terms) {
      line("    {} {} ({:.1f} %, {})", to_text(term.seconds), term.op,
           total.v > 0 ? 100 * term.seconds.v / total.v : 0.0, term.limited_by);
    }
  }

  void performance() {
    const Performance& p = plan_.predictions.performance;
    line("Time, a sum over operations: calls x launch + bytes / bandwidth + flops / peak");
    terms("TTFT, one prompt in chunks:", p.ttft, p.prefill_terms);
    terms("TPOT, one step of all sequences at the mean context:", p.tpot, p.decode_terms);
    line("  decode floor {}: bytes a step must read over the bandwidth, nothing else",
         to_text(p.decode_floor));
  }

  void assumptions() {
    line("Assumed");
    for (const Assumption& a : plan_.assumptions)
      line("  {}: {} (change with {})", a.what, a.value, a.flag);
  }

  const Plan& plan_;
  const ModelSource& source_;
  const DeviceCard& device_;
  std::string out_;
};

}  // namespace

std::string explain(const ModelSource& source, const DeviceCard& device, const Plan& plan) {
  return Explainer(plan, source, device).run();
}

}  // namespace vramplan
