#pragma once
// EngineForecast: what one device of an engine would reserve and print at start-up. Numbers only;
// which engine rules made them is in the .cc of that engine.
#include <cstdint>
#include <string>
#include <vector>

#include "modelcards/units.h"

namespace vramplan {

/// A pool of an engine that keeps layers with different windows apart.
struct KvPoolForecast {
  Tokens window;  // a layer of it keeps at most these of a sequence
  Bytes bytes;
  Tokens tokens;
  Blocks blocks;
};

/// vLLM, SGLang and TensorRT-LLM fill the first part; llama.cpp fills weights (its model buffer),
/// kv, kv_tokens and compute.
struct EngineForecast {
  std::string name, version;  // engine, and the version asked for
  std::string table;          // version of the data table that was used
  Bytes weights, activations, non_torch, graphs, kv;
  Bytes draft;                 // of the weights, what a draft model or its heads take
  Bytes compute;               // llama.cpp: the compute buffer of this device
  Bytes available;             // what the engine's fraction leaves it: capacity x fraction, exact
  Tokens kv_tokens;            // of all sequences of an attention group, as the engine prints it
  double max_concurrency = 0;  // sequences of max_model_len tokens
  std::vector<KvPoolForecast> kv_pools;  // when there are several; kv_tokens: of whole sequences
  /// Everything on the device once it serves: the sum of all parts.
  Bytes total;
  /// 99 % bounds from the residuals of the rows the table was fitted to; see planner/intervals.h.
  /// Zero when the version has no residuals.
  Bytes kv_low, kv_high, total_high;
  /// Taken and given back while serving: the cache of a layer unpacked to 16 bits when it has fewer
  /// than 8, and what the request adds (graph pools).
  Bytes transient;
  bool starved = false;  // boots, but total + transient is more than the device: serves slowly
  bool boots = true;     // false: no room for one sequence of max_model_len tokens
};

/// Times of an engine that serves `concurrency` requests all the time; see planner/serving.h.
struct ServingForecast {
  std::int64_t input_tokens = 0, output_tokens = 0, concurrency = 0;
  double running = 0;  // requests that the cache holds at once
  Seconds ttft, tpot;
  double tokens_per_step = 1;    // of a sequence; above 1 when drafts are verified
  double tokens_per_second = 0;  // generated, all requests together
  double requests_per_second = 0;
  double ttft_error = 0, tpot_error = 0;  // mean absolute share on rows held out of the fit
};

}  // namespace vramplan
