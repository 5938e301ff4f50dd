#include "reports/headline.h"

#include <fmt/format.h>

#include <algorithm>

#include "planner/kv_mix.h"
#include "planner/weight_mix.h"
#include "reports/escape.h"

namespace vramplan {
namespace {

std::string model_on_device(const Decisions& d) {
  return fmt::format("{} on {} x {}", d.model, d.device_count, d.device);
}

}  // namespace

RowCounts count_rows(const Verdict& verdict) {
  RowCounts counts;
  for (const VerdictRow& row : verdict.rows) {
    if (!row.gates) {
      ++counts.informative;
      continue;
    }
    switch (row.outcome) {
      case Outcome::kWithin:
        ++(row.error.n == 0 ? counts.exact : counts.within);
        break;
      case Outcome::kNotMeasured:
        ++counts.not_measured;
        break;
      default:
        ++counts.outside;
    }
  }
  return counts;
}

std::vector<const VerdictRow*> worst_first(const Verdict& verdict) {
  std::vector<const VerdictRow*> rows;
  for (const VerdictRow& row : verdict.rows) rows.push_back(&row);
  rows.push_back(&verdict.process);
  const auto severity = [](const VerdictRow& row) {
    if (row.outcome == Outcome::kWithin) return 0;
    return row.gates ? (row.outcome == Outcome::kNotMeasured ? 2 : 3) : 1;
  };
  const auto size = [](const VerdictRow& row) {
    const Bytes bytes = row.outcome == Outcome::kNotMeasured ? row.predicted : row.error;
    return bytes.n < 0 ? -bytes : bytes;
  };
  std::stable_sort(rows.begin(), rows.end(), [&](const VerdictRow* a, const VerdictRow* b) {
    if (severity(*a) != severity(*b)) return severity(*a) > severity(*b);
    return size(*a) > size(*b);
  });
  return rows;
}

std::string plan_word(const Plan& plan) { return plan.predictions.fits ? "fits" : "does not fit"; }

std::string verify_word(const Verdict& verdict) {
  return verdict.within ? "within tolerance" : "out of tolerance";
}

std::string plan_headline(const Plan& plan) {
  std::string text = model_on_device(plan.decisions);
  const DevicePrediction* fullest = nullptr;
  for (const DevicePrediction& device : plan.predictions.devices) {
    if (fullest == nullptr || device.headroom < fullest->headroom) fullest = &device;
  }
  if (fullest == nullptr) return text;
  const bool short_of = fullest->headroom < Bytes{0};
  text += fmt::format(": rank {} needs {} of {}, {} {}", fullest->rank, to_text(fullest->predicted),
                      to_text(fullest->capacity),
                      to_text(short_of ? -fullest->headroom : fullest->headroom),
                      short_of ? "missing" : "left");
  return text;
}

std::string verify_headline(const RunRecord& run) {
  const RowCounts counts = count_rows(run.verdict);
  return fmt::format(
      "{} ({} backend): {} of {} gating rows exact, {} within, {} out, {} not measured; {} "
      "informative",
      model_on_device(run.plan.decisions), run.measurement.environment.backend, counts.exact,
      counts.gating(), counts.within, counts.outside, counts.not_measured, counts.informative);
}

std::string score_line(const Verdict& verdict) {
  std::string text = fmt::format("{} under-prediction{}", verdict.under_predictions,
                                 verdict.under_predictions == 1 ? "" : "s");
  if (verdict.worst_row.empty()) return text + "; nothing was measured";
  if (verdict.worst_error.n == 0) return text + "; every measured byte as predicted";
  return text +
         fmt::format("; worst error {} ({})", signed_text(verdict.worst_error), verdict.worst_row);
}

std::string configuration(const Plan& plan) {
  const Decisions& d = plan.decisions;
  const std::string layers =
      d.kv_layers.empty() ? "" : fmt::format(", layers {},", text_of(d.kv_layers));
  const std::string matrices =
      d.weight_layers.empty() ? "" : fmt::format(", layers {},", text_of(d.weight_layers));
  std::string text = fmt::format(
      "context {} tokens of which {} output, batch {}, weights {}{} KV {}{} in blocks of {}, "
      "activations {}, {} attention, prefill chunk {}{}",
      grouped(d.context.n), grouped(d.output.n), d.batch,
      d.weights ? info(*d.weights).name : "as stored", matrices.empty() ? "," : matrices,
      name_of(kv_encoding(d)), layers, d.block.n, info(d.activations).name, name_of(d.attention),
      grouped(d.prefill_chunk.n),
      d.linear_inputs == DType::kI8
          ? ""
          : fmt::format(", linear inputs {}", info(d.linear_inputs).name));
  if (d.speculation.any()) {
    text +=
        fmt::format(", {} guesses a step by {}", d.speculation.tokens,
                    d.speculation.guess == Guess::kDraft ? d.speculation.draft : "looking back");
  }
  if (d.replicas > 1) text += fmt::format(", {} replicas", d.replicas);
  if (d.sharding.ranks() > 1) text += fmt::format(", tp {} pp {}", d.sharding.tp, d.sharding.pp);
  if (d.sharding.cp > 1) text += fmt::format(" cp {}", d.sharding.cp);
  if (d.sharding.ep > 1) text += fmt::format(" ep {}", d.sharding.ep);
  if (plan.engine && plan.engine->expert_parallel > 1) {
    text += fmt::format(" ep {}", plan.engine->expert_parallel);
  }
  if (plan.engine && plan.engine->attention_dp > 1) {
    text += fmt::format(" attention dp {}", plan.engine->attention_dp);
  }
  return text;
}

double share(Bytes part, Bytes whole) {
  return whole.n > 0 ? static_cast<double>(part.n) / static_cast<double>(whole.n) : 0;
}

std::string signed_text(Bytes error) {
  std::string text = error.n > 0 ? "+" : "";
  return text.append(to_text(error));
}

std::string error_text(const VerdictRow& row) {
  if (row.outcome == Outcome::kNotMeasured) return "not measured";
  if (row.error.n == 0) return "exact";
  if (row.observed.n == 0) return signed_text(row.error);
  return fmt::format("{:+.2f} %", 100 * share(row.error, row.observed));
}

std::string time_value(const std::string& row_name, double value) {
  if (row_name.find("per_second") != std::string::npos) return fmt::format("{:.1f} tok/s", value);
  return to_text(Seconds{value});
}

std::string time_title(const std::string& row_name) {
  if (row_name == "ttft_seconds") return "TTFT";
  if (row_name == "tpot_seconds") return "TPOT";
  if (row_name == "step_seconds") return "decode step";
  if (row_name == "prefill_tokens_per_second") return "prefill rate";
  if (row_name == "decode_tokens_per_second") return "decode rate";
  return row_name;
}

std::string outcome_text(Outcome outcome, bool gates) {
  static constexpr const char* kWords[] = {"within", "OVER", "UNDER", "not measured"};
  return std::string(kWords[static_cast<int>(outcome)]) + (gates ? "" : " (informative)");
}

}  // namespace vramplan
