#include "executor/timing_rounds.h"

#include <algorithm>
#include <functional>

#include "executor/cost_fit.h"
#include "modelcards/error.h"

namespace vramplan {
namespace {

using Value = std::function<double(const Timings&)>;

double median(const std::vector<Timings>& rounds, const Value& value) {
  std::vector<double> values;
  for (const Timings& round : rounds) values.push_back(value(round));
  return median_of(std::move(values));
}

/// The round whose value is the median; of an even number the faster of the two in the middle.
const Timings& median_round(const std::vector<Timings>& rounds, const Value& value) {
  std::vector<const Timings*> sorted;
  for (const Timings& round : rounds) sorted.push_back(&round);
  std::stable_sort(sorted.begin(), sorted.end(),
                   [&](const Timings* a, const Timings* b) { return value(*a) < value(*b); });
  return *sorted[(sorted.size() - 1) / 2];
}

}  // namespace

Timings median_of_rounds(const std::vector<Timings>& rounds) {
  if (rounds.empty()) return {};
  const Value prefill = [](const Timings& t) { return t.prefill.v; };
  const Value decode = [](const Timings& t) { return t.decode.v; };
  Timings out = rounds.front();
  out.decode_step_seconds.clear();
  for (const Timings& round : rounds) {
    if (round.prefill_tokens != out.prefill_tokens || round.decode_steps != out.decode_steps ||
        round.decode_tokens != out.decode_tokens) {
      throw Error(ErrorCode::kInternal, "rounds of one plan differ in their tokens or steps");
    }
    out.decode_step_seconds.insert(out.decode_step_seconds.end(), round.decode_step_seconds.begin(),
                                   round.decode_step_seconds.end());
  }
  out.rounds = static_cast<std::int64_t>(rounds.size());
  out.load = {median(rounds, [](const Timings& t) { return t.load.v; })};
  out.ttft = {median(rounds, [](const Timings& t) { return t.ttft.v; })};
  out.prefill = {median(rounds, prefill)};
  out.decode = {median(rounds, decode)};
  out.memory_bytes_per_s = median(rounds, [](const Timings& t) { return t.memory_bytes_per_s; });
  out.prefill_tokens_per_second =
      median(rounds, [](const Timings& t) { return t.prefill_tokens_per_second; });
  const double step = out.decode_step_seconds.empty() ? 0 : median_of(out.decode_step_seconds);
  out.tpot = {step / out.tokens_a_step};
  if (step > 0) {
    out.decode_tokens_per_second =
        static_cast<double>(out.decode_tokens) / static_cast<double>(out.decode_steps) / step;
  }
  out.prefill_terms = median_round(rounds, prefill).prefill_terms;
  out.decode_terms = median_round(rounds, decode).decode_terms;
  return out;
}

}  // namespace vramplan
