#pragma once
// ServingCase: one published measurement of a served model, as the question the planner is asked
// and the answer that was measured. Reads serving_cases.csv; knows how the published runs were
// started (served_settings.csv), never what came out.
#include <map>
#include <string>
#include <vector>

#include "planner/serving.h"

namespace vramplan::accuracy {

using Row = std::map<std::string, std::string>;

struct ServingCase {
  std::string id, engine, version, model, system, device, quantization, arrival;
  std::string question;  // what repeats of one measurement share
  int tp = 1, ep = 1, groups = 1;
  std::string drafts;  // "mtp:3": drafted tokens a step; nothing was fitted to these rows
  std::int64_t concurrency = 0, input = 0, output = 0;  // nominal
  ServingLoad load;                                     // mean lengths
  bool fit = false;  // the half the engines' numbers were fitted to
  std::string
      contradicts;  // why the row cannot be right beside the others; see find_contradictions
  double kv_tokens = 0;
  ServingTerms terms;
  double ttft = 0, tpot = 0, ttft_predicted = 0, tpot_predicted = 0;
  double ttft_published = 0, tpot_published = 0;  // the mean error that goes with the prediction

  double ttft_error() const { return ttft_predicted / ttft - 1; }
  double tpot_error() const { return tpot_predicted / tpot - 1; }
};

struct ServingCases {
  std::vector<ServingCase> cases;
  std::vector<ServingCase> expert_parallel;  // fitted to nothing
  std::vector<ServingCase> attention_dp;     // fitted to nothing
  std::map<std::string, int> left_out;       // rows by reason
};

/// bit 32 of FNV-1a (64 bits) of the text: 0 = fit.
bool in_fit_half(const std::string& question);

/// `truth` holds serving_cases.csv, `folder` served_settings.csv.
ServingCases read_serving_cases(const std::string& truth, const std::string& folder);

/// Marks rows that other published rows, or the device, contradict, whatever the model says:
///   two answers: the same question has answers for TPOT that differ by more than 1.3 times
///   tpot falls: TPOT is below 0.8 of what the same set-up has at fewer requests
///   ttft falls: TTFT is above 3 times what the same set-up has at some larger number of requests
///   another answer: TTFT is above 3 times what another run of the same engine, model, device,
///     format, ranks, lengths and requests has, of whatever release and sharing of experts
///   above the peak: the prompts of the requests are more work than the devices' peak
/// Rows of `others` (whole experts on each rank) are asked about TTFT too.
void find_contradictions(std::vector<ServingCase>& cases, const std::vector<ServingCase>& others);

}  // namespace vramplan::accuracy
