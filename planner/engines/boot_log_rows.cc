// The comparing half of boot_log.h.
#include <fmt/format.h>

#include <cmath>

#include "planner/engines/boot_log.h"

namespace vramplan {

std::vector<LogRow> compare_log(const BootLog& log, const EngineForecast& forecast,
                                double tolerance, Bytes floor_bytes) {
  std::vector<LogRow> rows;
  const auto row = [&](const std::string& term, double predicted, double observed, const char* unit,
                       double least) {
    LogRow out{term, predicted, observed, unit, 0, ""};
    out.error = observed != 0 ? (predicted - observed) / observed : 0;
    const double allowed = std::max(tolerance * std::abs(observed), least);
    const double difference = predicted - observed;
    out.outcome = std::abs(difference) <= allowed ? "within" : difference > 0 ? "over" : "under";
    rows.push_back(std::move(out));
  };
  const auto bytes = [&](const char* term, const std::optional<Bytes>& observed, Bytes predicted) {
    if (!observed) return;
    row(term, static_cast<double>(predicted.n), static_cast<double>(observed->n), "bytes",
        static_cast<double>(floor_bytes.n));
  };
  bytes("weights", log.weights, forecast.weights);
  bytes("activations", log.activations, forecast.activations);
  bytes("non_torch", log.non_torch, forecast.non_torch);
  bytes("graphs", log.graphs, forecast.graphs);
  bytes("kv_cache", log.kv, forecast.kv);
  bytes("compute", log.compute, forecast.compute);
  if (log.kv_tokens) {
    row("kv_tokens", static_cast<double>(forecast.kv_tokens.n),
        static_cast<double>(log.kv_tokens->n), "tokens", 0);
  }
  for (const KvPoolForecast& pool : forecast.kv_pools) {
    const auto found = log.window_blocks.find(pool.window.n);
    if (found == log.window_blocks.end()) continue;
    row(fmt::format("blocks of window {}", pool.window.n), static_cast<double>(pool.blocks.n),
        static_cast<double>(found->second.n), "blocks", 0);
  }
  if (log.max_concurrency) {
    row("max_concurrency", forecast.max_concurrency, *log.max_concurrency, "sequences", 0);
  }
  if (log.failure || !forecast.boots) {
    row("starts", forecast.boots ? 1 : 0, log.failure ? 0 : 1, "starts", 0);
  }
  return rows;
}

}  // namespace vramplan
