#pragma once
// BootLog: what an engine printed while it started: bytes by term, tokens, concurrency. Wording
// changes between versions, so each term knows several phrases; units are read, never assumed.
#include <map>
#include <optional>
#include <string>
#include <vector>

#include "planner/engines/engine_table.h"
#include "planner/engines/forecast.h"

namespace vramplan {

/// Why an engine did not start.
struct LogFailure {
  std::string why;                          // "out of memory", "no room for the longest sequence"
  std::optional<Bytes> needed, available;   // for the cache of one such sequence
  std::optional<Tokens> longest_that_fits;  // as the engine estimates it
};

struct BootLog {
  std::optional<EngineKind> engine;
  std::string version;  // empty when the log does not say
  std::optional<Bytes> weights, activations, non_torch, graphs, kv, compute;
  std::optional<Tokens> kv_tokens;
  std::optional<Blocks> kv_blocks;               // vLLM before it printed tokens
  std::map<std::int64_t, Blocks> window_blocks;  // TensorRT-LLM: pools by window, in tokens
  std::optional<double> max_concurrency;
  std::optional<Tokens> max_model_len;  // of the concurrency line
  std::optional<LogFailure> failure;
  bool empty() const;
};

/// Reads what it knows and passes over the rest. Of several ranks the first one's lines count, of
/// llama.cpp's devices the first one's buffers, all of them (a cache with windows has two, a draft
/// model its own); of several starts in one file the last. Lines may wear colours, a container's
/// time stamps or JSON. A negative size that was printed unsigned (17592186036877 MiB) is read as
/// negative and left out. Lines longer than 64 KiB are skipped.
BootLog parse_boot_log(const std::string& text);

/// "14.99 GiB", "640.00 MiB", "8.23 GB": SGLang and vLLM V0 print GiB as "GB".
std::optional<Bytes> parse_log_bytes(const std::string& text, std::size_t at);

struct LogRow {
  std::string term;
  std::optional<double> predicted;
  double observed = 0;
  std::string unit;     // bytes | tokens | blocks | sequences | starts (1: it does)
  double error = 0;     // (predicted - observed) / observed
  std::string outcome;  // within | over | under | not_predicted
};
/// One row a term the log has. `tolerance`: share of the observation, 0.05 = 5 %; terms below 1 %
/// of the device are judged by `floor_bytes` instead. A row `starts` where the engine failed, or
/// did start although the forecast says it cannot.
std::vector<LogRow> compare_log(const BootLog& log, const EngineForecast& forecast,
                                double tolerance, Bytes floor_bytes);

}  // namespace vramplan
