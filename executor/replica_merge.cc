#include "executor/replica_merge.h"

#include <algorithm>
#include <functional>

#include "modelcards/error.h"

namespace vramplan {
namespace {

[[noreturn]] void differ(const std::string& what) {
  throw Error(ErrorCode::kInternal, "replicas of one plan differ in " + what);
}

bool is_one_copy(const LedgerRow& row) {
  return row.category == Category::kWeights || row.name == "arena padding" ||
         row.name == "f32 vectors";
}

bool adds_up(const LedgerRow& row, ReplicasOn on) {
  if (row.category == Category::kKvCache || row.category == Category::kActivations) return true;
  const bool before = row.name == "process base" || row.name == "tokenizer";
  return on == ReplicasOn::kGpu && !is_one_copy(row) && !before;
}

bool is_same_row(const LedgerRow& a, const LedgerRow& b) {
  return a.tier == b.tier && a.category == b.category && a.name == b.name && a.phase == b.phase;
}

using Value = std::function<double(const Timings&)>;

double mean(const std::vector<Timings>& replicas, const Value& value) {
  double sum = 0;
  for (const Timings& t : replicas) sum += value(t);
  return sum / static_cast<double>(replicas.size());
}

/// Terms of the same operations, in the first one's order.
std::vector<ObservedTerm> mean_terms(const std::vector<Timings>& replicas,
                                     std::vector<ObservedTerm> Timings::*terms) {
  std::vector<ObservedTerm> out = replicas.front().*terms;
  const auto parts = static_cast<double>(replicas.size());
  for (ObservedTerm& term : out) {
    double seconds = 0;
    for (const Timings& t : replicas) {
      for (const ObservedTerm& other : t.*terms) {
        if (other.op == term.op) seconds += other.seconds.v;
      }
    }
    term.seconds = {seconds / parts};
  }
  return out;
}

}  // namespace

Ledger added_up(const std::vector<Ledger>& replicas, ReplicasOn on) {
  VRAMPLAN_CHECK(!replicas.empty());
  const std::string count = std::to_string(replicas.size());
  Ledger all;
  for (std::size_t i = 0; i < replicas.front().rows().size(); ++i) {
    LedgerRow row = replicas.front().rows()[i];
    const bool each = adds_up(row, on);
    for (std::size_t r = 1; r < replicas.size(); ++r) {
      const std::vector<LedgerRow>& rows = replicas[r].rows();
      if (i >= rows.size() || !is_same_row(rows[i], row)) differ("their rows");
      if (is_one_copy(row) && rows[i].bytes != row.bytes) differ("the bytes of " + row.name);
      if (each) row.bytes += rows[i].bytes;
    }
    if (is_one_copy(row)) row.formula = "one copy for " + count + " replicas: " + row.formula;
    if (each) row.formula = count + " replicas added up: " + row.formula;
    all.add(std::move(row));
  }
  return all;
}

Timings together(const std::vector<Timings>& replicas) {
  VRAMPLAN_CHECK(!replicas.empty());
  Timings out = replicas.front();
  for (std::size_t r = 1; r < replicas.size(); ++r) {
    const Timings& t = replicas[r];
    if (t.decode_steps != out.decode_steps) differ("their numbers of steps");
    out.prefill_tokens += t.prefill_tokens;
    out.decode_tokens += t.decode_tokens;
    out.prefill_tokens_per_second += t.prefill_tokens_per_second;
    out.decode_tokens_per_second += t.decode_tokens_per_second;
    out.memory_bytes_per_s += t.memory_bytes_per_s;
    for (std::size_t i = 0; i < out.decode_step_seconds.size(); ++i) {
      out.decode_step_seconds[i] += t.decode_step_seconds[i];
    }
  }
  for (double& step : out.decode_step_seconds) step /= static_cast<double>(replicas.size());
  out.load = {mean(replicas, [](const Timings& t) { return t.load.v; })};
  out.ttft = {mean(replicas, [](const Timings& t) { return t.ttft.v; })};
  out.tpot = {mean(replicas, [](const Timings& t) { return t.tpot.v; })};
  out.prefill = {mean(replicas, [](const Timings& t) { return t.prefill.v; })};
  out.decode = {mean(replicas, [](const Timings& t) { return t.decode.v; })};
  out.prefill_terms = mean_terms(replicas, &Timings::prefill_terms);
  out.decode_terms = mean_terms(replicas, &Timings::decode_terms);
  return out;
}

std::vector<MemorySample> together(const std::vector<std::vector<MemorySample>>& replicas,
                                   Bytes weights, Bytes parent) {
  VRAMPLAN_CHECK(!replicas.empty());
  std::vector<MemorySample> out = replicas.front();
  for (std::size_t r = 1; r < replicas.size(); ++r) {
    if (replicas[r].size() != out.size()) differ("their numbers of samples");
    for (std::size_t i = 0; i < out.size(); ++i) {
      out[i].taken += replicas[r][i].taken - weights;
      out[i].resident += replicas[r][i].resident;
    }
  }
  for (MemorySample& sample : out) {
    if (sample.resident.n > 0) sample.resident += parent;
  }
  return out;
}

}  // namespace vramplan
