// The reading half of boot_log.h.
#include "planner/engines/boot_log.h"

#include <algorithm>
#include <cctype>
#include <charconv>
#include <cmath>
#include <map>

#include "planner/engines/log_line.h"

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

/// "12.3 GiB for weight": the bytes that stand before a phrase that begins with their unit.
std::optional<Bytes> bytes_before(const std::string& line, const char* phrase) {
  const std::size_t at = line.find(phrase);
  if (at == std::string::npos || at == 0) return std::nullopt;
  std::size_t begin = at;
  while (begin > 0 && line[begin - 1] == ' ') --begin;
  while (begin > 0 && (std::isdigit(static_cast<unsigned char>(line[begin - 1])) != 0 ||
                       line[begin - 1] == '.' || line[begin - 1] == ',')) {
    --begin;
  }
  return parse_log_bytes(line, begin);
}

/// The buffers of one of llama.cpp's devices.
struct DeviceBuffers {
  Bytes weights, kv, compute;  // compute: of contexts that are complete
  Bytes context;               // of the one at hand, whose buffers may be reserved again
};

class Parser {
 public:
  explicit Parser(bool every_rank) : every_rank_(every_rank) {}

  BootLog run(const std::string& text) {
    std::size_t at = 0;
    while (at < text.size()) {
      const std::size_t end = std::min(text.find('\n', at), text.size());
      if (end - at <= kLongestLine) line(plain_line(text.substr(at, end - at)));
      at = end + 1;
    }
    take_first_device();
    return std::move(log_);
  }

 private:
  /// A process begins: of several starts in one file the last counts.
  void begins() {
    if (log_.empty() && buffers_.empty()) return;
    log_ = {};
    buffers_.clear();
  }

  void bytes(const std::string& line, const char* phrase, std::optional<Bytes>& field) {
    const auto at = after(line, phrase);
    if (at && !field) field = parse_log_bytes(line, *at);
  }
  void before(const std::string& line, const char* phrase, std::optional<Bytes>& field) {
    if (!field) field = bytes_before(line, phrase);
  }
  void sum(const std::string& line, const char* phrase, std::optional<Bytes>& field) {
    const auto at = after(line, phrase);
    if (!at) return;
    if (const auto value = parse_log_bytes(line, *at)) field = field.value_or(Bytes{}) + *value;
  }
  void last(const std::string& line, const char* phrase, std::optional<Bytes>& field) {
    const auto at = after(line, phrase);
    if (!at) return;
    if (const auto value = parse_log_bytes(line, *at)) field = value;
  }
  void is(EngineKind kind) {
    if (!log_.engine) log_.engine = kind;
  }
  static std::optional<std::int64_t> count(const std::string& line, const char* phrase) {
    auto at = after(line, phrase);
    if (!at) return std::nullopt;
    const auto n = number_at(line, *at);
    if (!n || *n < 0 || *n >= 1e15) return std::nullopt;
    return std::llround(*n);
  }
  void tokens(const std::string& line, const char* phrase) {
    if (log_.kv_tokens) return;
    if (const auto n = count(line, phrase)) log_.kv_tokens = Tokens{*n};
  }

  void version(const std::string& line, const char* phrase, const char* prefix = "") {
    const auto at = after(line, phrase);
    if (!at || !log_.version.empty()) return;
    std::size_t i = *at;
    while (i < line.size() && std::isalnum(static_cast<unsigned char>(line[i])) == 0) ++i;
    if (i < line.size() && line[i] == 'v') ++i;
    const std::size_t begin = i;
    while (i < line.size() &&
           (std::isalnum(static_cast<unsigned char>(line[i])) != 0 || line[i] == '.')) {
      ++i;
    }
    if (i > begin && std::isdigit(static_cast<unsigned char>(line[begin])) != 0) {
      log_.version = prefix + line.substr(begin, i - begin);
    }
  }

  void line(const std::string& l) {
    failure(l);
    if (!every_rank_ && of_another_rank(l)) return;
    vllm(l);
    sglang(l);
    trtllm(l);
    llamacpp(l);
  }

  void fails(const char* why) {
    if (!log_.failure) log_.failure = LogFailure{why, {}, {}, {}};
  }

  /// Source: vLLM v1/core/kv_cache_utils.py and worker/worker.py of V0 (vllm#16118, #2418); SGLang
  /// model_runner.py; ggml-cuda.cu (llama.cpp#20431); torch.OutOfMemoryError.
  void failure(const std::string& l) {
    const bool needs = after(l, "KV cache is needed").has_value();
    if (needs || after(l, "that can be stored in KV cache")) {
      fails("no room for the longest sequence");
      LogFailure& f = *log_.failure;
      f.needed = bytes_before(l, needs ? "GiB KV cache is needed" : "GiB KV");
      if (const auto at = after(l, "available KV cache memory (")) {
        f.available = parse_log_bytes(l, *at);
      }
      auto longest = count(l, "estimated maximum model length is");
      if (!longest) longest = count(l, "that can be stored in KV cache (");
      if (longest) f.longest_that_fits = Tokens{*longest};
      is(EngineKind::kVllm);
    }
    if (after(l, "No available memory for the cache blocks")) {
      fails("nothing is left for the cache");
    }
    if (after(l, "Not enough memory. Please try to increase --mem-fraction-static")) {
      fails("nothing is left for the cache");
      log_.engine = EngineKind::kSglang;
    }
    if (after(l, "is less than desired GPU memory utilization")) {
      fails("the fraction is more than is free");
    }
    for (const char* phrase : {"CUDA out of memory", "OutOfMemoryError",
                               "CUDA error: out of memory", "cudaMalloc failed: out of memory"}) {
      if (after(l, phrase)) fails("out of memory");
    }
    // llama.cpp tries once more with less.
    if (after(l, "retrying without pipeline parallelism")) log_.failure.reset();
  }

  void vllm(const std::string& l) {
    if (after(l, "vLLM API server version")) begins();
    if (l.find("vllm") != std::string::npos || l.find("vLLM") != std::string::npos) {
      is(EngineKind::kVllm);
    }
    version(l, "vLLM API server version");
    version(l, "LLM engine (v");
    if (l.find("\xe2\x96\x88") != std::string::npos)
      version(l, " version ");  // the banner's blocks
    for (const char* phrase : {"Model loading took", "Loading model weights took",
                               "model weights take", "weights memory:"}) {
      bytes(l, phrase, log_.weights);
    }
    before(l, "GiB for weight", log_.weights);
    for (const char* phrase : {"PyTorch activation peak memory takes", "peak activation memory",
                               "PyTorch activation peak memory", "torch peak memory increase:"}) {
      bytes(l, phrase, log_.activations);
    }
    before(l, "GiB for peak activation", log_.activations);
    for (const char* phrase : {"non_torch_memory takes", "non_torch_memory", "non-torch memory",
                               "non-torch forward increase memory:"}) {
      bytes(l, phrase, log_.non_torch);
    }
    before(l, "GiB for non-torch memory", log_.non_torch);
    before(l, "GiB for CUDAGraph memory", log_.graphs);
    for (const char* phrase : {"Available KV cache memory:", "reserved for KV Cache is",
                               "available_kv_cache_memory", "kv_cache_size="}) {
      bytes(l, phrase, log_.kv);
    }
    const auto graphs = after(l, "Graph capturing finished in");
    if (graphs && !log_.graphs) {
      if (const auto took = l.find("took", *graphs); took != std::string::npos) {
        log_.graphs = parse_log_bytes(l, took + 4);
      }
    }
    for (const char* phrase : {"# GPU blocks:", "# cuda blocks:"}) {
      if (const auto n = count(l, phrase); n && !log_.kv_blocks) log_.kv_blocks = Blocks{*n};
    }
    tokens(l, "GPU KV cache size:");
    concurrency(l);
  }

  void concurrency(const std::string& l) {
    auto at = after(l, "Maximum concurrency for");
    if (!at || log_.max_concurrency) return;
    if (const auto n = number_at(l, *at)) log_.max_model_len = Tokens{std::llround(*n)};
    const std::size_t colon = l.find("request:", *at);
    if (colon == std::string::npos) return;
    std::size_t value = colon + 8;
    log_.max_concurrency = number_at(l, value);
  }

  /// A model that drafts has a load, a cache and graphs of its own, which are the forecast's, too.
  void sglang(const std::string& l) {
    if (after(l, "server_args=ServerArgs(")) {
      begins();
      log_.engine = EngineKind::kSglang;
    }
    if (after(l, "KV Cache is allocated.")) {
      log_.engine = EngineKind::kSglang;
      tokens(l, "#tokens:");
      if (after(l, "KV size:")) {  // of latent attention
        sum(l, "KV size:", log_.kv);
      } else {
        sum(l, "K size:", log_.kv);
        sum(l, "V size:", log_.kv);
      }
    }
    if (after(l, "Capture cuda graph end.")) sum(l, "mem usage=", log_.graphs);
    if (const auto n = count(l, "max_total_num_tokens="); n && !log_.kv_tokens) {
      log_.engine = EngineKind::kSglang;
      log_.kv_tokens = Tokens{*n};
    }
    if (!after(l, "Load weight end")) return;
    log_.engine = EngineKind::kSglang;
    sum(l, "mem usage=", log_.weights);
  }

  /// The PyTorch backend measures with a small cache first: the last one stays.
  void trtllm(const std::string& l) {
    if (after(l, "TensorRT-LLM version:")) {
      begins();
      is(EngineKind::kTrtllm);
      version(l, "TensorRT-LLM version:");
    }
    bytes(l, "Memory used after loading model weights (inside torch) in memory usage profiling:",
          log_.weights);
    bytes(l, "Loaded engine size:", log_.weights);
    const char* const pool = "for max tokens in paged KV cache (";
    const char* const blocks = "tokens in paged KV cache.";
    if (after(l, pool)) {
      log_.engine = EngineKind::kTrtllm;
      last(l, "Allocated", log_.kv);
      if (const auto n = count(l, pool)) log_.kv_tokens = Tokens{*n};
    }
    if (const auto window = count(l, "[windowSize="); window && after(l, ".primaryBlocks=")) {
      if (const auto n = count(l, ".primaryBlocks=")) log_.window_blocks[*window] = Blocks{*n};
    }
    if (after(l, "bytes for k/v cache")) last(l, "Allocate", log_.kv);
    if (!after(l, blocks)) return;
    log_.engine = EngineKind::kTrtllm;
    if (const auto n = count(l, "Using")) log_.kv_tokens = Tokens{*n};
  }

  /// The word before a phrase, and the bytes behind it, of a device: host buffers are none.
  std::optional<Bytes> device_bytes(const std::string& l, const char* phrase, std::string& device) {
    const std::size_t at = l.find(phrase);
    if (at == std::string::npos || at == 0) return std::nullopt;
    const std::size_t end = l.find_last_not_of(' ', at - 1);
    if (end == std::string::npos) return std::nullopt;
    const std::size_t begin = l.find_last_of(" :|", end);
    device = l.substr(begin == std::string::npos ? 0 : begin + 1,
                      end - (begin == std::string::npos ? 0 : begin + 1) + 1);
    const bool host =
        device.rfind("CPU", 0) == 0 || device == "AMX" || device.find("_Host") != std::string::npos;
    if (host || device.empty()) return std::nullopt;
    return parse_log_bytes(l, at + std::char_traits<char>::length(phrase));
  }

  void llamacpp(const std::string& l) {
    if (const auto at = after(l, "build: "); at && after(l, " with ")) {
      begins();
      version(l, "build: ", "b");
      if (log_.version == "b0") log_.version.clear();  // built outside of its repository
    }
    const bool context = after(l, "constructing llama_context") ||
                         after(l, "llama_new_context_with_model: n_ctx ") ||
                         after(l, "alloc_compute_meta:");
    if (context) close_context();
    std::string device;
    const bool old = l.find("llm_load_tensors:") != std::string::npos;
    auto weights = device_bytes(l, "model buffer size =", device);
    if (!weights && old) weights = device_bytes(l, "buffer size =", device);
    if (weights) buffers_[device].weights += *weights;
    if (const auto kv = device_bytes(l, "KV buffer size =", device)) buffers_[device].kv += *kv;
    if (const auto compute = device_bytes(l, "compute buffer size =", device)) {
      buffers_[device].context = *compute;
    }
  }

  void close_context() {
    for (auto& [device, buffers] : buffers_) {
      buffers.compute += buffers.context;
      buffers.context = {};
    }
  }

  /// CUDA2 before CUDA10.
  void take_first_device() {
    close_context();
    const auto earlier = [](const auto& a, const auto& b) {
      return std::pair(a.first.size(), a.first) < std::pair(b.first.size(), b.first);
    };
    const auto first = std::min_element(buffers_.begin(), buffers_.end(), earlier);
    if (first == buffers_.end()) return;
    log_.engine = EngineKind::kLlamacpp;
    const auto set = [](std::optional<Bytes>& field, Bytes value) {
      if (value.n > 0) field = value;
    };
    set(log_.weights, first->second.weights);
    set(log_.kv, first->second.kv);
    set(log_.compute, first->second.compute);
  }

  bool every_rank_;
  BootLog log_;
  std::map<std::string, DeviceBuffers> buffers_;
};

}  // namespace

bool BootLog::empty() const {
  return !weights && !activations && !non_torch && !graphs && !kv && !compute && !kv_tokens &&
         !kv_blocks && !max_concurrency && !failure;
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

BootLog parse_boot_log(const std::string& text) {
  BootLog log = Parser(false).run(text);
  // A part of a log may hold lines of other ranks alone.
  if (log.empty()) log = Parser(true).run(text);
  if (log.failure && log.failure->needed && log.failure->available && !log.max_concurrency) {
    log.max_concurrency = static_cast<double>(log.failure->available->n) /
                          static_cast<double>(std::max<std::int64_t>(1, log.failure->needed->n));
    if (!log.kv) log.kv = log.failure->available;
  }
  return log;
}

}  // namespace vramplan
