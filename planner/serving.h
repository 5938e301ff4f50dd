#pragma once
// Serving: time to first token and time a token of an engine that keeps `concurrency` requests
// running. Bottom-up: kernels timed alone (planner/serving_terms.h), each kind times a factor of
// the engine, plus the engine's own host work; then requests that disturb each other, solved as a
// closed loop. The engine's numbers (serve_*) are fitted to published end-to-end rows; how far
// they lie from rows held out is bench/accuracy/serving.md.
#include <array>
#include <optional>

#include "planner/engines/twin.h"
#include "planner/serving_terms.h"

namespace vramplan {

/// How requests reach the engine, which decides how often several prompts arrive together.
enum class Arrival {
  kSpread,  // clients start together, lengths drawn from 0.8 to 1 of the nominal: they drift apart
  kEqual,   // clients start together and all lengths are equal: they stay together
  kSteady,  // a long run measured in its steady state
  kStatic,  // one batch in the engine's own process: all prompts, then all steps, nobody streams
};
/// "spread", "equal", "steady", "static". Errors: kUsage with the nearest name.
Arrival parse_arrival(const std::string& text);

struct ServingLoad {
  Tokens input, output;  // mean lengths of a request
  std::int64_t concurrency = 1;
  Arrival arrival = Arrival::kSpread;
  /// Decode steps a prompt is held back in the mean: TensorRT-LLM gathers more prompts
  /// (batch_wait_timeout_iters), SGLang looks for new ones every scheduler-recv-interval steps.
  std::int64_t batch_wait_steps = 0;
  /// Release whose published runs the times are corrected by (planner/served_release.h); empty: the
  /// version that the request names.
  std::string release = {};
  /// One process streams all tokens to clients of its own machine; kEqual always has one.
  bool front_end = false;
  /// Instead of the published ones: for the program that fits them.
  std::optional<ServedRates> rates = {};
};

/// What the kernels of the first stage alone would take, before anything fitted to served engines.
inline constexpr std::array<double, 4> kStepShares = {1, 0.5, 0.25, 0.0625};
struct ServingTerms {
  /// Decode steps with half of the output generated, of asked x kStepShares[i] sequences.
  std::array<PassTerms, kStepShares.size()> steps;
  PassTerms prompt;         // one prompt by itself
  PassTerms full_pass;      // as many prompts as one pass takes
  double full_prompts = 1;  // how many these are; below 1: a prompt needs several passes
  double asked = 1;         // requests at once, within the engine's own limit of sequences
  double layers = 0;
  bool experts = false, latent = false;  // routed experts; latent attention
  double prompt_floor_s = 0;             // flops of one prompt's matrices at the data-sheet peak
};
ServingTerms serving_terms(const ModelSource& source, const DeviceCard& device,
                           const Decisions& decisions, const EngineRequest& request,
                           const ServingLoad& load);

/// `forecast` gives the tokens its cache holds; a running request keeps its input and `growth` of
/// its output there (TensorRT-LLM reserves all of it; requests that start together are long
/// together). With P a prompt's seconds, P' its share of a full
/// pass, B requests running (what the cache holds of `asked`) and s(b) a step of b sequences:
///   tpot = s(b) + interference x rate x P' x tpot x (B - 1) / B,  rate = B / (R + output x tpot)
///   b = B x output x tpot / (R + output x tpot)     R = P + queue x P' (B - 1) R / (R + output
///   tpot)
///   ttft = first + R + (wave x (B - 1) + lock x ln B) x P' + (first_steps + wait x
///          batch_wait_steps) x tpot
///          + (concurrency - B) / B x (R + output x tpot)
/// A front end (kEqual, or front_end) is a second station of the loop. With W = ttft + output x
/// tpot and F = concurrency x (front_request_s + front_s x output), what it streams a request after
/// another: ttft grows by (W^4 + F^4)^(1/4) - W, which is F - W where F is much above W.
/// TensorRT-LLM gives layers with a window pools of their own: a request keeps its window there.
/// kStatic has no queue and nothing before the first token: ttft = max(P, B x P'), tpot = s(B).
/// s holds what a release's host adds to a step, P and s what unpacking costs and the share of its
/// data sheet that a device without timed kernels reaches (planner/published_rates.h).
/// P, P' and first hold the release's factors; lock stands for requests of equal lengths that stay
/// in step, so that a prompt meets those of a few others whatever the load.
/// A pipeline of S stages: s, P and P' are sums over the stages, s of b / S sequences each, with
/// the hidden vectors handed on; a prompt disturbs one stage at a time, so B - 1 becomes (B - 1) /
/// S. No published row has one: that is not checked against measurements.
/// Speculation: a step verifies tokens + 1 tokens a sequence and yields tokens_per_step of them,
/// the draft's passes come on top; tpot is the step's share of one. Attention groups: a step takes
/// b / G sequences in each of G groups, a pass G times the prompts. Neither was fitted to any row.
/// llama.cpp: one request at a time, see planner/llamacpp_serving.h.
/// Errors: kUnsupported for devices without the numbers; kUsage for an empty load.
ServingForecast forecast_serving(const ModelSource& source, const DeviceCard& device,
                                 const Decisions& decisions, const EngineRequest& request,
                                 const EngineForecast& forecast, const ServingLoad& load);

}  // namespace vramplan
