#pragma once
// Measurement: what a run showed: the observed ledger, memory samples from the operating system or
// driver, timings, and the machine it happened on. Nothing here comes from a prediction.
#include <cstdint>
#include <map>
#include <optional>
#include <string>
#include <vector>

#include "planner/decisions.h"
#include "planner/ledger.h"

namespace vramplan {

/// One look at memory: what the tiers' tensors hold and what the outside says.
struct MemorySample {
  Seconds at;  // since the run began
  Phase phase = Phase::kLoad;
  std::string moment;  // "weights loaded", "prefill chunk 3", "decode step 10"
  Bytes taken;         // weights + KV blocks + activations live at this moment, rank 0
  Bytes resident;      // process, from /proc/self/smaps_rollup or the driver; 0 = not measured
};

struct RankCapacity {  // capacity = free + sum(rows) + unaccounted
  int rank = 0;
  Bytes capacity, free, rows, unaccounted;  // unaccounted is signed
};

/// What one operation took in a phase. Beside those of Ops: "sample", and "between", what a pass
/// took outside of both.
struct ObservedTerm {
  std::string op;
  double calls = 0;
  Seconds seconds;
};

struct Timings {
  Seconds load, ttft, prefill, decode;  // ttft: first token of the first sequence
  std::int64_t rounds = 1;              // of the same run; times are medians over them
  std::int64_t prefill_tokens = 0, decode_steps = 0, decode_tokens = 0;
  double prefill_tokens_per_second = 0;  // of the median prompt
  double decode_tokens_per_second = 0;
  Seconds tpot;  // median decode step, of all rounds, over tokens_a_step
  // decode_tokens_per_second: tokens of a mean step over the median step
  double tokens_a_step = 1;  // that a sequence takes from a step; more than one when it guesses
  std::vector<double> decode_step_seconds;
  // Rate at which the weights were read right before prefill and right after decode, mean, and the
  // card's rate that the plan counted on; 0 = not measured (weights of a cache's size, no CPU).
  double memory_bytes_per_s = 0, card_memory_bytes_per_s = 0;
  // By operation: prefill of one sequence, and one decode step, both means; empty = not measured.
  std::vector<ObservedTerm> prefill_terms, decode_terms;
};

/// One of several processes over one copy of the weights, all looked at while every one of them
/// held what it ran with.
struct ReplicaMeasurement {
  Bytes resident, proportional, own;  // Rss; Pss; pages that it shares with nobody
  Seconds ttft, tpot;
  bool same_output = true;  // as the first replica
};

/// Of speculative decoding: guesses that the model was asked about, and how many it agreed with.
struct SpeculationCounts {
  std::int64_t steps = 0;  // of a sequence: passes that it had a part in
  std::int64_t asked = 0, accepted = 0;
  std::int64_t tokens = 0;  // made in those steps
  /// Guesses that were looked at: those kept, and in a step the first that was not. The others
  /// behind it say nothing about how often a guess is kept.
  std::int64_t tested = 0;
  /// Nothing was computed, and guesses were kept as often as the decisions say: no observation.
  bool by_chance = false;
  /// Share of the guesses looked at that was kept; 0 without any.
  double acceptance() const {
    return tested > 0 ? static_cast<double>(accepted) / static_cast<double>(tested) : 0;
  }
  friend bool operator==(const SpeculationCounts&, const SpeculationCounts&) = default;
};

/// Of a run that may be answered from results kept before.
struct ResultCacheUse {
  bool hit = false;
  std::int64_t entries = 0;
  Bytes bytes, most;  // kept, and the bound
};

struct Environment {
  std::string machine, cpu, kernel, commit, backend, time_utc;
  int threads = 0;
};

struct Measurement {
  Ledger observed;
  std::vector<RankCapacity> capacity;
  std::vector<MemorySample> samples;
  Bytes process_peak;  // highest resident seen, 0 = not measured
  Timings timings;
  Environment environment;
  /// Generated ids per sequence; of beams the answers to each prompt, best first.
  std::vector<std::vector<std::int32_t>> output;
  std::optional<PreemptionCounts> preemption;  // of a plan with preemption, rank 0
  std::optional<SpeculationCounts> speculation;
  std::optional<ResultCacheUse> result_cache;  // of a run that asked for it
  /// Of a plan with several: then `process_peak` is the sum of their proportional bytes and of
  /// `parent_proportional`, times are means over them, and rates and tokens are sums.
  std::vector<ReplicaMeasurement> replicas;
  Bytes parent_proportional;
  std::vector<double> scores;  // of beams: what each answer is worth
  std::string text;            // of sequence 0, when there is a tokenizer
  bool complete = false;
};

}  // namespace vramplan
