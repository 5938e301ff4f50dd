#include "planner/requests_held.h"

#include <algorithm>
#include <limits>

namespace vramplan {

double requests_held(const EngineForecast& forecast, double tokens) {
  const auto real = [](Tokens t) { return static_cast<double>(t.n); };
  if (forecast.kv_pools.empty()) return real(forecast.kv_tokens) / tokens;
  double least = std::numeric_limits<double>::infinity();
  for (const KvPoolForecast& pool : forecast.kv_pools) {
    least = std::min(least, real(pool.tokens) / std::min(tokens, real(pool.window)));
  }
  return least;
}

}  // namespace vramplan
