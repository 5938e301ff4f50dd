#include "planner/engines/boot_log.h"

#include <algorithm>
#include <cctype>
#include <charconv>
#include <cmath>

namespace vramplan {
namespace {

constexpr std::size_t kLongestLine = 64 * 1024;
constexpr double kMostBytes = 1e17;  // above: a negative number printed unsigned

/// A number with thousands commas at or after `at`; moves `at` behind it.
std::optional<double> number_at(const std::string& line, std::size_t& at) {
  while (at < line.size() && (line[at] == ' ' || line[at] == '=' || line[at] == ':')) ++at;
  std::string digits;
  for (; at < line.size(); ++at) {
    const char c = line[at];
    const bool dot = c == '.' && at + 1 < line.size() &&
                     std::isdigit(static_cast<unsigned char>(line[at + 1])) != 0;
    if (std::isdigit(static_cast<unsigned char>(c)) != 0 || dot || (c == '-' && digits.empty())) {
      digits += c;
    } else if (c != ',' || digits.empty()) {
      break;
    }
  }
  double value = 0;
  const auto [end, status] = std::from_chars(digits.data(), digits.data() + digits.size(), value);
  if (digits.empty() || status != std::errc() || end != digits.data() + digits.size()) {
    return std::nullopt;
  }
  return value;
}

struct Unit {
  const char* word;
  double bytes;
};
// Longest first. "GB" is GiB in vLLM's and SGLang's logs.
constexpr Unit kUnits[] = {{"GiB", 1073741824.0}, {"MiB", 1048576.0}, {"KiB", 1024.0},
                           {"GB", 1073741824.0},  {"MB", 1048576.0},  {"bytes", 1.0}};

/// Where the text after `phrase` begins; the phrase must be in the line.
std::optional<std::size_t> after(const std::string& line, const char* phrase) {
  const std::size_t at = line.find(phrase);
  if (at == std::string::npos) return std::nullopt;
  return at + std::string(phrase).size();
}

class Parser {
 public:
  BootLog run(const std::string& text) {
    std::size_t at = 0;
    while (at < text.size()) {
      const std::size_t end = std::min(text.find('\n', at), text.size());
      if (end - at <= kLongestLine) line(text.substr(at, end - at));
      at = end + 1;
    }
    return std::move(log_);
  }

 private:
  void bytes(const std::string& line, const char* phrase, std::optional<Bytes>& field) {
    const auto at = after(line, phrase);
    if (at && !field) field = parse_log_bytes(line, *at);
  }
  void sum(const std::string& line, const char* phrase, std::optional<Bytes>& field) {
    const auto at = after(line, phrase);
    if (!at) return;
    if (const auto value = parse_log_bytes(line, *at)) field = field.value_or(Bytes{}) + *value;
  }
  void is(EngineKind kind) {
    if (!log_.engine) log_.engine = kind;
  }
  void tokens(const std::string& line, const char* phrase) {
    auto at = after(line, phrase);
    if (!at || log_.kv_tokens) return;
    if (const auto n = number_at(line, *at); n && *n < 1e15) log_.kv_tokens = {std::llround(*n)};
  }

  void version(const std::string& line, const char* phrase) {
    const auto at = after(line, phrase);
    if (!at || !log_.version.empty()) return;
    std::size_t i = *at;
    while (i < line.size() && std::isalnum(static_cast<unsigned char>(line[i])) == 0) ++i;
    if (i < line.size() && line[i] == 'v') ++i;
    const std::size_t begin = i;
    while (i < line.size() && (std::isalnum(static_cast<unsigned char>(line[i])) != 0 || line[i] == '.')) {
      ++i;
    }
    if (i > begin && std::isdigit(static_cast<unsigned char>(line[begin])) != 0) {
      log_.version = line.substr(begin, i - begin);
    }
  }

  void line(const std::string& l) {
    vllm(l);
    sglang(l);
    trtllm(l);
    llamacpp(l);
  }

  void vllm(const std::string& l) {
    if (l.find("vllm") != std::string::npos || l.find("vLLM") != std::string::npos) {
      is(EngineKind::kVllm);
    }
    version(l, "vLLM API server version");
    version(l, "LLM engine (v");
    bytes(l, "Model loading took", log_.weights);
    bytes(l, "Loading model weights took", log_.weights);
    bytes(l, "model weights take", log_.weights);
    bytes(l, "PyTorch activation peak memory takes", log_.activations);
    bytes(l, "peak activation memory", log_.activations);
    bytes(l, "non_torch_memory takes", log_.non_torch);
    bytes(l, "non-torch memory", log_.non_torch);
    bytes(l, "Available KV cache memory:", log_.kv);
    bytes(l, "reserved for KV Cache is", log_.kv);
    const auto graphs = after(l, "Graph capturing finished in");
    if (graphs && !log_.graphs) {
      if (const auto took = l.find("took", *graphs); took != std::string::npos) {
        log_.graphs = parse_log_bytes(l, took + 4);
      }
    }
    tokens(l, "GPU KV cache size:");
    auto at = after(l, "Maximum concurrency for");
    if (!at) return;
    if (const auto n = number_at(l, *at)) log_.max_model_len = Tokens{std::llround(*n)};
    const std::size_t colon = l.find("request:", *at);
    if (colon == std::string::npos) return;
    std::size_t value = colon + 8;
    log_.max_concurrency = number_at(l, value);
  }

  void sglang(const std::string& l) {
    const auto pool = after(l, "KV Cache is allocated.");
    if (pool) {
      log_.engine = EngineKind::kSglang;
      tokens(l, "#tokens:");
      sum(l, "K size:", log_.kv);
      sum(l, "V size:", log_.kv);
    }
    if (l.find("Load weight end") == std::string::npos) return;
    log_.engine = EngineKind::kSglang;
    bytes(l, "mem usage=", log_.weights);
  }

  void trtllm(const std::string& l) {
    const auto paged = after(l, "for max tokens in paged KV cache (");
    if (!paged) return;
    log_.engine = EngineKind::kTrtllm;
    bytes(l, "Allocated", log_.kv);
    tokens(l, "for max tokens in paged KV cache (");
  }

  void llamacpp(const std::string& l) {
    // Host buffers are no device memory.
    const bool host = l.find("CPU") != std::string::npos || l.find("_Host") != std::string::npos;
    if (host) return;
    if (after(l, "model buffer size") || after(l, "KV buffer size") ||
        after(l, "compute buffer size")) {
      log_.engine = EngineKind::kLlamacpp;
    }
    bytes(l, "model buffer size =", log_.weights);
    bytes(l, "KV buffer size =", log_.kv);
    bytes(l, "compute buffer size =", log_.compute);
  }

  BootLog log_;
};

}  // namespace

bool BootLog::empty() const {
  return !weights && !activations && !non_torch && !graphs && !kv && !compute && !kv_tokens &&
         !max_concurrency;
}

std::optional<Bytes> parse_log_bytes(const std::string& text, std::size_t at) {
  const auto value = number_at(text, at);
  if (!value) return std::nullopt;
  while (at < text.size() && text[at] == ' ') ++at;
  for (const Unit& unit : kUnits) {
    if (text.compare(at, std::string(unit.word).size(), unit.word) != 0) continue;
    const double bytes = *value * unit.bytes;
    if (bytes < 0 || bytes > kMostBytes) return std::nullopt;
    return Bytes{std::llround(bytes)};
  }
  return std::nullopt;
}

BootLog parse_boot_log(const std::string& text) { return Parser().run(text); }

std::vector<LogRow> compare_log(const BootLog& log, const EngineForecast& forecast,
                                double tolerance, Bytes floor_bytes) {
  std::vector<LogRow> rows;
  const auto row = [&](const char* term, double predicted, double observed, const char* unit,
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
  if (log.max_concurrency) {
    row("max_concurrency", forecast.max_concurrency, *log.max_concurrency, "sequences", 0);
  }
  return rows;
}

}  // namespace vramplan
