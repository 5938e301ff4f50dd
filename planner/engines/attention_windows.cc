#include "planner/engines/attention_windows.h"

#include <fmt/format.h>

#include <algorithm>
#include <limits>
#include <map>
#include <sstream>

#include "modelcards/error.h"

namespace vramplan {
namespace {

constexpr std::size_t kMostWindows = 4096;
constexpr std::int64_t kMostTokens = std::int64_t{1} << 40;

[[noreturn]] void refuse(const std::string& message, const char* flag) {
  throw Error(ErrorCode::kUsage, message)
      .at("", flag)
      .help("give tokens layer by layer, such as 1024,1024,1024,1024,1024,131072; it repeats");
}

std::int64_t window_of(const std::string& word, const char* flag) {
  const bool digits = !word.empty() && word.size() <= 13 &&
                      word.find_first_not_of("0123456789") == std::string::npos;
  const std::int64_t n = digits ? std::stoll(word) : 0;
  if (n < 1 || n > kMostTokens) {
    refuse(fmt::format("'{}' is no number of tokens", printable(word)), flag);
  }
  return n;
}

bool repeats(const std::vector<std::int64_t>& list, std::size_t period) {
  for (std::size_t i = period; i < list.size(); ++i) {
    if (list[i] != list[i - period]) return false;
  }
  return true;
}

/// Of each window, the bytes a token takes in the layers that keep so many.
std::map<std::int64_t, BytesPerToken> bytes_by_window(const EngineModel& model,
                                                      const std::vector<std::int64_t>& windows,
                                                      std::int64_t max_len) {
  std::map<std::int64_t, BytesPerToken> out;
  BytesPerToken rest = model.kv_bytes_per_token();
  for (std::size_t i = 0; i < model.layer_kv.size(); ++i) {
    const BytesPerToken layer = model.layer_kv[i];
    if (layer.n == 0) continue;
    BytesPerToken& pool = out[std::min(windows[i % windows.size()], max_len)];
    pool = pool + layer;
    rest = BytesPerToken{rest.n - layer.n};
  }
  // Layers of a draft model are in a cache of their own, which keeps everything.
  if (rest.n > 0) out[max_len] = out[max_len] + rest;
  return out;
}

}  // namespace

std::vector<std::int64_t> parse_attention_windows(const std::string& text, const char* flag) {
  std::vector<std::int64_t> out;
  std::istringstream in(text);
  for (std::string word; std::getline(in, word, ',');) {
    if (out.size() == kMostWindows) refuse("more numbers than a model has layers", flag);
    out.push_back(window_of(word, flag));
  }
  if (out.empty() || text.back() == ',') refuse("a list without its last number", flag);
  return out;
}

std::string attention_windows_text(const std::vector<std::int64_t>& windows) {
  return fmt::format("{}", fmt::join(windows, ","));
}

std::vector<std::int64_t> attention_windows(const ModelCard& card, const Decisions& decisions,
                                            Tokens max_len) {
  std::vector<std::int64_t> list;
  bool cut = false;
  for (const Layer& layer : card.layers) {
    const std::int64_t window = layer.mixer.window_tokens;
    list.push_back(window > 0 ? std::min(window, max_len.n) : max_len.n);
    cut = cut || list.back() < max_len.n;
  }
  if (!cut) return {};
  std::size_t period = 1;
  while (!repeats(list, period)) ++period;
  for (int stage = 1; stage < decisions.sharding.pp; ++stage) {
    const auto count = static_cast<std::int64_t>(list.size());
    const LayerRange range = layers_of_stage(count, decisions.sharding.pp, stage);
    if (static_cast<std::size_t>(range.begin) % period != 0) return {};
  }
  list.resize(period);
  return list;
}

std::vector<LayerPool> window_pools(const EngineModel& model,
                                    const std::vector<std::int64_t>& windows, Tokens max_len,
                                    Bytes cache, TokensPerBlock block,
                                    std::optional<Tokens> limit) {
  std::vector<LayerPool> out;
  double sum = 0;
  for (const auto& [window, bytes] : bytes_by_window(model, windows, max_len.n)) {
    out.push_back({window, bytes, {}, {}});
    sum += static_cast<double>(window) * static_cast<double>(bytes.n);
  }
  for (LayerPool& pool : out) {
    const double per_token = static_cast<double>(pool.bytes_per_token.n);
    const double share = static_cast<double>(pool.window) * per_token / sum;
    auto tokens = static_cast<std::int64_t>(static_cast<double>(cache.n) * share / per_token);
    if (limit) tokens = std::min(tokens, limit->n);
    pool.tokens = {detail::checked_mul(ceil_div(tokens, block.n), block.n)};
    pool.bytes = pool.bytes_per_token * pool.tokens;
  }
  return out;
}

double sequences_in(const std::vector<LayerPool>& pools, Tokens tokens, TokensPerBlock block) {
  double least = pools.empty() ? 0 : std::numeric_limits<double>::infinity();
  for (const LayerPool& pool : pools) {
    const std::int64_t blocks = ceil_div(std::min(pool.window, tokens.n), block.n);
    least = std::min(least, static_cast<double>(pool.tokens.n / block.n) /
                                static_cast<double>(std::max<std::int64_t>(1, blocks)));
  }
  return least;
}

}  // namespace vramplan
