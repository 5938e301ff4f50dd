#pragma once
// ThroughputCase: one published rate of tokens, as the question the planner is asked and the answer
// that was measured. Reads throughput_cases.csv; knows how the published runs were made, never what
// came out.
#include <map>
#include <string>
#include <vector>

#include "planner/llamacpp_times.h"
#include "planner/serving.h"

namespace vramplan::accuracy {

struct ThroughputCase {
  std::string id, engine, release, model, device, format, what;
  int ranks = 1;
  std::string batch, input, output;    // as the row states them
  std::string question;                // what repeats of one measurement share
  bool fit = false;                    // the half that rates.yaml was fitted to
  double observed = 0, predicted = 0;  // tokens a second, or a first token's rate 1 / s
  std::string group;                   // of throughput_fit.py: "served", "step", "prompt", or empty

  /// Seconds of a request (served, one at a time) with nothing of rates.yaml, and what they grow
  /// by: memory at half its rate, 1 ms of host work a step, one operation a weight, 1 ms a layer of
  /// experts. Exact to the rounding of kernels that memory and computing bound together.
  double request_s = 0, memory_s = 0, step_s = 0, unpack_s = 0, experts_s = 0, tokens = 0;
  LlamacppTerms llamacpp;

  double error() const { return predicted / observed - 1; }
};

struct ThroughputCases {
  std::vector<ThroughputCase> cases;
  std::map<std::string, int> left_out;  // rows by reason
};

/// `truth` holds throughput_cases.csv.
ThroughputCases read_throughput_cases(const std::string& truth);

}  // namespace vramplan::accuracy
