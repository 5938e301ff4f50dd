#pragma once
// Headline: the sentences that every renderer shows first. Names in them are as given: the renderer
// escapes.
#include <string>
#include <vector>

#include "reports/run_record.h"

namespace vramplan {

/// How the gating ledger rows ended. `exact`: within, and not one byte of difference.
struct RowCounts {
  int exact = 0, within = 0, outside = 0, not_measured = 0;  // of the rows that gate
  int informative = 0;                                       // the other rows, however they ended
  int gating() const { return exact + within + outside + not_measured; }
};
RowCounts count_rows(const Verdict& verdict);

/// Rows and the process: gating failures, then the rest, each by magnitude of error.
std::vector<const VerdictRow*> worst_first(const Verdict& verdict);

/// "fits" | "does not fit" and "within tolerance" | "out of tolerance".
std::string plan_word(const Plan& plan);
std::string verify_word(const Verdict& verdict);

/// "smollm2-135m on 1 x this-machine: 126.03 MiB of 512.00 MiB on the fullest rank, 385.97 MiB
/// left"
std::string plan_headline(const Plan& plan);
/// "smollm2-135m on 1 x this-machine (cpu backend): 8 of 8 gating rows exact, 0 within, 0 out, ..."
std::string verify_headline(const RunRecord& run);
/// "worst error -1.16 MiB (runtime process peak ...); 2 under-predictions; process ..."
std::string score_line(const Verdict& verdict);
/// "context 512 tokens of which 64 output, batch 1, KV f16 in blocks of 16, ..."
std::string configuration(const Plan& plan);

/// Predicted live bytes of a rank's device over its capacity; 0 without a capacity.
double share(Bytes part, Bytes whole);
/// "+1.16 MiB", "-3 B", "0 B".
std::string signed_text(Bytes error);
/// "-0.9 %" of the observed; "exact"; "not measured".
std::string error_text(const VerdictRow& row);
/// A number of a time row in its unit: "21.30 ms", "46.9 tok/s".
std::string time_value(const std::string& row_name, double value);
/// "TTFT", "TPOT", "prefill tokens/s", "decode tokens/s"
std::string time_title(const std::string& row_name);
/// "within", "over", "UNDER", "not measured", with ", informative" when the row does not gate.
std::string outcome_text(Outcome outcome, bool gates);

}  // namespace vramplan
