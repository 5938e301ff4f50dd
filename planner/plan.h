#pragma once
// Plan: Decisions (what was chosen) and Predictions (what that will cost). Immutable once made.
#include <string>
#include <vector>

#include "modelcards/device_card.h"
#include "modelcards/model_source.h"
#include "planner/decisions.h"
#include "planner/engine_decision.h"
#include "planner/engines/forecast.h"
#include "planner/ledger.h"

namespace vramplan {

enum class PreemptRequest : std::uint8_t { kNone, kSwap, kRecompute, kAuto };
inline constexpr int kPreemptRequests = 4;
const char* name_of(PreemptRequest request);  // none swap recompute auto

/// What the user asked for; unset fields are chosen by make_plan and listed as assumptions.
struct PlanRequest {
  std::string model;  // as given
  std::vector<std::string> set;
  std::string device;
  std::optional<int> count, tp, pp;
  std::optional<int> cp, ep;  // planned, not run
  std::optional<Tokens> context, output, prefill_chunk;
  bool activation_offload = false;  // prefill layer by layer
  std::optional<std::int64_t> batch;
  std::optional<DType> weights;
  std::vector<WeightLayerRange> weight_layers;  // whose matrices have another
  std::optional<KvFormat> kv_format;
  std::vector<KvLayerRange> kv_layers;        // that have another
  KvHeads kv_full_heads;                      // of the other layers, in kivi2 or kivi4
  std::optional<KvPolicy> kv_policy;          // unset = window, for models with windows
  std::optional<Tokens> kv_sinks, kv_window;  // of policy sink_window
  std::optional<Tokens> kv_budget;            // of policy mass
  std::optional<KvScore> kv_score;
  std::optional<Tokens> kv_residual;      // of kivi2, kivi4 and policy strided
  std::optional<std::int64_t> kv_stride;  // of policy strided
  std::optional<KvLayout> kv_layout;
  std::optional<std::int64_t> samples;  // sequences from each prompt
  std::optional<std::int64_t> beams;    // the same, as beams of one search
  std::optional<PreemptRequest> preempt;
  std::optional<Tokens> kv_pool;        // of all sequences together, at most; with preempt
  std::optional<Tokens> shared_prefix;  // tokens all prompts begin with
  std::optional<Guess> guess;
  std::optional<std::int64_t> guess_tokens;  // a step, at most
  std::optional<double> acceptance;          // see GuessDecision
  std::string draft;                         // the name of the source's draft
  std::optional<KvPlacement> kv_placement;
  std::optional<double> kv_offload;            // share of the cache that leaves the device
  std::optional<KvOffload> kv_offload_layers;  // the same, decided before
  std::optional<double> weight_offload;        // share of the layers' matrices in host memory
  std::optional<WeightOffload> weight_offload_layers;  // the same, decided before
  std::optional<std::int64_t> block_tokens;
  std::optional<AttentionAlgorithm> attention;
  std::optional<DType> linear_inputs;  // i8 or f32, on a CPU; fp8 with fp8 weights
  std::optional<int> threads;
  std::optional<std::int64_t> replicas;  // processes over one copy of the weights
  std::optional<Bytes> capacity;         // artificial: below the card's
  std::optional<std::uint64_t> seed;
};

struct Assumption {
  std::string what, value, flag;
};

struct DevicePrediction {
  int rank = 0;
  Bytes capacity, predicted, headroom;     // headroom = capacity - predicted, signed
  std::optional<EngineForecast> engine{};  // with --engine: what that engine would reserve
};

struct Totals {  // whole model, before sharding
  Elements parameters, active_parameters;
  Bytes weight_bytes;
  BytesPerToken kv_bytes_per_token;
  Bytes kv_bytes;
};

struct Capacity {
  Tokens max_context;              // at this batch
  std::int64_t max_sequences = 0;  // at this context
  Tokens kv_tokens;                // of all sequences together, that fit beside the rest
  Tokens kv_equals_weights;        // of all sequences together, whose KV weighs what the weights do
};

/// One additive term of a phase: the operation, its seconds in a step and what limits it.
struct TimeTerm {
  std::string op;
  Seconds seconds;
  std::string limited_by;  // memory bandwidth | compute | launch | link
};

struct Performance {
  Seconds ttft, tpot;
  double tokens_per_second = 0;  // decode, all sequences together
  double prefill_tokens_per_second = 0;
  std::string limited_by;  // of decode
  std::vector<TimeTerm> prefill_terms, decode_terms;
  Seconds decode_floor;  // weights and KV a step must read, over the bandwidth
};

/// A point of the memory curve: at this moment this much is live on rank 0's device.
struct CurvePoint {
  Seconds at;
  Phase phase = Phase::kLoad;
  Bytes bytes;
};

/// Of the whole run, with Decisions::preempt.
struct PreemptionPrediction {
  PreemptionCounts counts;
  Seconds seconds;          // what they cost
  Seconds other_seconds;    // what the other way would have cost
  double mean_running = 0;  // sequences of a decode step
};

/// Of a decode step that asks about guesses.
struct SpeculationPrediction {
  double tokens_a_step = 1;  // that a sequence takes from it, expected
  Seconds step;              // guesses, the pass over them, drawing
  Seconds plain_tpot;        // of the same plan without guesses
  double speedup = 1;        // plain_tpot / tpot
};

/// Of a plan that keeps cache or matrices beyond the device.
struct OffloadPrediction {
  Seconds device_tpot;  // of the same plan with all of it on the device
  double slowdown = 1;  // tpot / device_tpot
  // With a cache beyond the device: of one sequence's prompt.
  Bytes cache;
  Seconds reload, recompute;  // bringing it back; computing it again
  BytesPerSecond break_even;  // the link at which both take as long
};

struct Predictions {
  Ledger ledger;
  std::vector<DevicePrediction> devices;
  Totals totals;
  Capacity capacity;
  Performance performance;
  std::optional<ServingForecast> serving{};  // with --engine and --concurrency
  std::optional<PreemptionPrediction> preemption{};
  std::optional<SpeculationPrediction> speculation{};
  std::optional<OffloadPrediction> offload{};
  std::vector<CurvePoint> curve;
  bool fits = false;
  Bytes missing;                    // largest shortfall of a rank, 0 when it fits
  std::string binding_constraint;   // one sentence with numbers
  std::vector<std::string> advice;  // the cheapest changes that would help, with bytes
};

struct Plan {
  Decisions decisions;
  std::optional<EngineDecision> engine{};  // with --engine: whose settings the plan is for
  Predictions predictions;
  std::vector<Assumption> assumptions;
};

/// Pure arithmetic: a model, a device card, a request -> a plan. "Does not fit" is a value. The
/// card of `source` has the request's --set overrides applied already. Errors: kUsage for
/// contradictory requests, kUnsupported by name, kOverflow.
Plan make_plan(const ModelSource& source, const DeviceCard& device, const PlanRequest& request);

/// Plan file (YAML). Decisions read back exactly; predictions are read only by reports.
std::string write_plan(const Plan& plan);
/// Errors: kBadYaml naming file, line and field.
Plan read_plan(const std::string& yaml_text, const std::string& file_name);

}  // namespace vramplan
