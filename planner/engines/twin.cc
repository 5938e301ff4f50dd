#include "planner/engines/twin.h"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>

#include "modelcards/nearest_names.h"
#include "planner/kv_mix.h"
#include "planner/weight_mix.h"

namespace vramplan {
namespace {

constexpr std::int64_t kMostTokens = std::int64_t{1} << 40;

struct CacheWord {
  const char* word;
  double bits;  // of an element, scales included
};
/// Cache formats whose bytes are known. llama.cpp's carry the scales of their 32-element blocks.
constexpr CacheWord kCacheWords[] = {
    {"f32", 32}, {"f16", 16},     {"float16", 16}, {"fp16", 16},   {"bf16", 16},  {"bfloat16", 16},
    {"fp8", 8},  {"fp8_e4m3", 8}, {"fp8_e5m2", 8}, {"q8_0", 8.5},  {"int2", 3.0}, {"q4_0", 4.5},
    {"q4_1", 5}, {"q5_0", 5.5},   {"q5_1", 6},     {"iq4_nl", 4.5}};

double cache_bits(const std::string& word) {
  std::vector<std::string> names;
  for (const CacheWord& entry : kCacheWords) {
    if (word == entry.word) return entry.bits;
    names.emplace_back(entry.word);
  }
  throw Error(ErrorCode::kUnsupported,
              fmt::format("no account of a cache in '{}' exists yet", printable(word)))
      .at("", "--kv-cache-dtype")
      .help(did_you_mean(word, names, names.size()));
}

std::int64_t bytes_of_dtype(const std::string& word) {
  if (word == "float32" || word == "f32" || word == "float") return 4;
  if (word == "auto" || word == "float16" || word == "bfloat16" || word == "half" ||
      word == "f16" || word == "bf16") {
    return 2;
  }
  throw Error(ErrorCode::kUsage,
              fmt::format("'{}' is no element format of engines", printable(word)))
      .at("", "--dtype")
      .help("one of: auto float16 bfloat16 float32");
}

class Settler {
 public:
  Settler(const EngineTable& table, const ModelSource& source, const Decisions& decisions,
          const EngineRequest& request, std::vector<Assumption>& assumptions)
      : table_(table),
        source_(source),
        decisions_(decisions),
        request_(request),
        assumptions_(assumptions) {}

  EngineSettings run() {
    if (table_.nearest) {
      assume("engine version",
             fmt::format("{}@{} has no table of its own; the numbers of {} are used",
                         name_of(table_.kind), request_.id.version, table_.version),
             "--engine");
    } else if (request_.id.version.empty()) {
      assume("engine version", table_.version, "--engine");
    }
    fraction();
    lengths();
    groups();
    formats();
    experts();
    context();
    speculation();
    return std::move(out_);
  }

 private:
  void assume(std::string what, std::string value, const char* flag) {
    assumptions_.push_back({std::move(what), std::move(value), flag});
  }

  void fraction() {
    if (table_.kind == EngineKind::kLlamacpp) return;
    const double most = 1.0;
    if (request_.memory_fraction) {
      out_.memory_fraction = *request_.memory_fraction;
      if (!(out_.memory_fraction > 0 && out_.memory_fraction <= most)) {
        throw Error(ErrorCode::kUsage,
                    fmt::format("a memory fraction of {} is out of range", out_.memory_fraction))
            .at("", "--gpu-memory-utilization")
            .help("give a share above 0 and up to 1, such as 0.9");
      }
      return;
    }
    if (!table_.has("fraction_default")) return;  // the engine computes one
    out_.memory_fraction = table_.number("fraction_default");
    assume("memory fraction", fmt::format("{} (the engine's default)", out_.memory_fraction),
           "--gpu-memory-utilization");
  }

  std::int64_t positive(std::int64_t value, const char* flag) const {
    if (value >= 1 && value <= kMostTokens) return value;
    throw Error(ErrorCode::kUsage, fmt::format("{} is out of range", value))
        .at("", flag)
        .help(fmt::format("give a number from 1 to {}", kMostTokens));
  }

  void lengths() {
    out_.max_model_len = request_.max_model_len.value_or(decisions_.context);
    if (!request_.max_model_len) {
      assume("max model length", fmt::format("{} tokens, the plan's context", out_.max_model_len.n),
             "--max-model-len");
    }
    const auto chunk = static_cast<std::int64_t>(table_.number("batched_tokens_default"));
    out_.max_num_batched_tokens = request_.max_num_batched_tokens.value_or(Tokens{chunk});
    if (!request_.max_num_batched_tokens) {
      assume("tokens of an engine step", fmt::format("{}", chunk), "--max-num-batched-tokens");
    }
    const auto rows = static_cast<std::int64_t>(table_.number("sequences_default"));
    const bool llama = table_.kind == EngineKind::kLlamacpp;
    out_.max_num_seqs = request_.max_num_seqs.value_or(llama ? decisions_.batch : rows);
    if (!request_.max_num_seqs) {
      assume("sequences of an engine", fmt::format("{}", out_.max_num_seqs), "--max-num-seqs");
    }
    positive(out_.max_model_len.n, "--max-model-len");
    positive(out_.max_num_batched_tokens.n, "--max-num-batched-tokens");
    positive(out_.max_num_seqs, "--max-num-seqs");
    out_.kv_cache_memory = request_.kv_cache_memory;
    out_.kv_tokens = request_.kv_tokens;
  }

  /// Source of what stays over all ranks: vLLM keeps one engine a group, whose routed experts alone
  /// are spread (FusedMoEParallelConfig); SGLang replicates attention and the input table
  /// (layers/dp_attention.py, models/deepseek_v2.py); TensorRT-LLM all but the routed experts
  /// (modeling_deepseekv3.py: "the MLP also uses DP").
  void groups() {
    const int count = request_.attention_dp;
    if (count == 1) return;
    if (table_.kind == EngineKind::kLlamacpp) {
      throw Error(ErrorCode::kUnsupported, "llama.cpp has no data parallel attention")
          .at("", "--attention-dp");
    }
    if (count < 1 || decisions_.sharding.tp % count != 0) {
      throw Error(ErrorCode::kUsage, fmt::format("{} tensor ranks are not {} equal groups",
                                                 decisions_.sharding.tp, count))
          .at("", "--attention-dp")
          .help("give a divisor of --tp, which counts the ranks of all groups");
    }
    if (table_.kind == EngineKind::kTrtllm && count != decisions_.sharding.tp) {
      throw Error(ErrorCode::kUsage, "TensorRT-LLM's attention is data parallel over all ranks")
          .at("", "--attention-dp")
          .help(fmt::format("--attention-dp {}", decisions_.sharding.tp));
    }
    const bool sglang = table_.kind == EngineKind::kSglang;
    out_.formats.groups = {count, sglang, false, sglang};
    if (sglang) {  // server_args.py divides both among the groups
      out_.max_num_batched_tokens = {
          std::max<std::int64_t>(1, out_.max_num_batched_tokens.n / count)};
      out_.max_num_seqs = std::max<std::int64_t>(1, out_.max_num_seqs / count);
    }
    assume("attention groups", "requests are spread evenly over them", "none");
  }

  /// Source: vLLM config/parallel.py: the ranks divide tp; with kv heads they are at most the ranks
  /// that would hold copies of a head. No engine shares windows this way.
  void context() {
    const int ranks = request_.context_parallel;
    out_.formats.context_parallel = ranks;
    if (ranks == 1) return;
    if (table_.kind != EngineKind::kVllm && table_.kind != EngineKind::kSglang) {
      throw Error(
          ErrorCode::kUnsupported,
          fmt::format("no account of context parallel decoding in {}", name_of(table_.kind)))
          .at("", "--decode-context-parallel");
    }
    const int tp = decisions_.sharding.tp / request_.attention_dp;
    for (const Layer& layer : source_.card.layers) {
      const Mixer& mixer = layer.mixer;
      const std::int64_t heads = mixer.kind == MixerKind::kMla ? 1 : mixer.kv_heads;
      const bool copies = heads > 0 && tp % ranks == 0 && tp / ranks >= heads;
      if (ranks >= 1 && copies && mixer.window_tokens == 0) continue;
      throw Error(ErrorCode::kUsage,
                  fmt::format("{} of {} tensor ranks cannot share a cache of {} kv heads{}", ranks,
                              tp, heads, mixer.window_tokens > 0 ? " with windows" : ""))
          .at("", "--decode-context-parallel")
          .help(
              "they share what they would hold copies of: at most --tp / kv heads, a divisor of "
              "--tp; a latent cache counts as one head");
    }
  }

  void speculation() {
    const Speculation& s = request_.speculation;
    check_speculation(table_.kind, source_.card, decisions_.sharding, s, request_.draft != nullptr);
    out_.speculation = s;
    if (s.method == "none") return;
    if (!s.acceptance) {
      out_.speculation.acceptance = kAssumedAcceptance;
      assume("acceptance of a drafted token", fmt::format("{}", kAssumedAcceptance),
             "--speculate-acceptance");
    }
    assume("memory and times of speculation", "from published code; no log was beside them",
           "--speculate");
    const bool head = s.method == "eagle" || s.method == "eagle3" || s.method == "medusa";
    if (head && !request_.draft) {
      assume("shape of the " + s.method + " head",
             s.method == "eagle3" ? fmt::format("a layer like the model's, {} tokens",
                                                std::min(kEagle3Vocab, source_.card.vocab))
                                  : std::string("like the model's"),
             "--draft");
    }
  }

  void experts() {
    const int ep = request_.expert_parallel, tp = decisions_.sharding.tp;
    out_.formats.expert_parallel = ep;
    if (ep == 1) return;
    std::int64_t experts = 0;
    for (const Layer& layer : source_.card.layers) {
      experts = std::max(experts, layer.feed_forward.experts);
    }
    if (table_.kind == EngineKind::kLlamacpp) {
      throw Error(ErrorCode::kUnsupported, "llama.cpp has no expert parallelism").at("", "--ep");
    }
    if (ep < 1 || tp % ep != 0 || experts % ep != 0 || experts == 0) {
      throw Error(
          ErrorCode::kUsage,
          fmt::format("{} experts cannot be shared by {} of {} tensor ranks", experts, ep, tp))
          .at("", "--ep")
          .help("give a divisor of --tp and of the experts");
    }
    if (table_.kind == EngineKind::kVllm && ep != tp) {
      throw Error(ErrorCode::kUsage, "vLLM shares experts between all tensor ranks or none")
          .at("", "--ep")
          .help(fmt::format("--ep {}", tp));
    }
    assume("experts", "tokens are routed evenly; the busiest rank has what chance gives it",
           "none");
  }

  void formats() {
    EngineFormats& f = out_.formats;
    const bool llama = table_.kind == EngineKind::kLlamacpp;
    f.quantization = parse_quantization(request_.quantization);
    f.quantized_parts = parse_quantized_parts(request_.quantized_parts);
    f.dtype_bytes = request_.dtype == "auto" && source_.card.stored_weights == DType::kF32 && !llama
                        ? 2
                        : bytes_of_dtype(request_.dtype);
    out_.kv_word = request_.kv_cache_dtype;
    if (out_.kv_word == "auto") {
      out_.kv_bits = llama ? 16 : 8.0 * static_cast<double>(f.dtype_bytes);
    } else {
      out_.kv_bits = cache_bits(out_.kv_word);
    }
    const bool whole = out_.kv_bits == 8 || out_.kv_bits == 16 || out_.kv_bits == 32 ||
                       (out_.kv_word == "int2" && table_.kind == EngineKind::kSglang);
    if (!whole && !llama) {
      throw Error(ErrorCode::kUnsupported,
                  fmt::format("{} keeps no cache in {}", name_of(table_.kind), out_.kv_word))
          .at("", "--kv-cache-dtype")
          .help("formats with block scales are llama.cpp's");
    }
    f.kivi2 = out_.kv_word == "int2";
    f.kv_element_bytes = llama ? 2 : static_cast<std::int64_t>(std::max(1.0, out_.kv_bits / 8));
    f.vocab_granule = static_cast<std::int64_t>(table_.number("vocab_granule"));
    f.rotary_tables = table_.number("rotary_tables") != 0;
    f.tower = request_.tower;
    f.latent_copies = table_.has("latent_copies") && table_.number("latent_copies") != 0;
    if (table_.has("mxfp4_hidden_granule")) {
      f.mxfp4_hidden_granule = static_cast<std::int64_t>(table_.number("mxfp4_hidden_granule"));
      f.mxfp4_intermediate_granule =
          static_cast<std::int64_t>(table_.number("mxfp4_intermediate_granule"));
    }
    out_.flash_attention = request_.flash_attention;
    out_.eager = request_.eager;
    out_.beside = request_.beside;
    out_.transient = request_.transient;
    out_.tower_shape = request_.tower_shape;
  }

  const EngineTable& table_;
  const ModelSource& source_;
  const Decisions& decisions_;
  const EngineRequest& request_;
  std::vector<Assumption>& assumptions_;
  EngineSettings out_;
};

EngineForecast forecast_rank(const TwinInput& in) {
  switch (in.table.kind) {
    case EngineKind::kVllm:
      return vllm_rank(in);
    case EngineKind::kSglang:
      return sglang_rank(in);
    case EngineKind::kTrtllm:
      return trtllm_rank(in);
    case EngineKind::kLlamacpp:
      return llamacpp_rank(in);
  }
  return {};
}

/// A scheduler counts blocks for all ranks alike: the rank with the fewest decides.
void share_the_least(std::vector<EngineForecast>& ranks) {
  const auto by_tokens = [](const EngineForecast& a, const EngineForecast& b) {
    return a.kv_tokens < b.kv_tokens;
  };
  const EngineForecast least = *std::min_element(ranks.begin(), ranks.end(), by_tokens);
  for (EngineForecast& rank : ranks) {
    rank.kv_tokens = least.kv_tokens;
    rank.max_concurrency = std::min(rank.max_concurrency, least.max_concurrency);
    rank.boots = rank.boots && least.boots;
  }
}

/// K and V of one layer, the longest context in 16 bits: kernels without the packed format read
/// them from there at every prefill. Source: SGLang with a 2-bit cache at 96k tokens keeps 873 MB
/// beside it (reference trap 23).
Bytes transient_bytes(const EngineSettings& settings, const EngineModel& model) {
  Bytes unpacked;
  for (const KvLayers& layers : model.kv) {
    if (settings.kv_bits >= 8) continue;
    const double stored_bits = settings.formats.kivi2
                                   ? settings.kv_bits
                                   : 8.0 * static_cast<double>(settings.formats.kv_element_bytes);
    const double elements = static_cast<double>(layers.bytes_per_token.n) * 8 / stored_bits;
    const std::int64_t tokens = layers.window > 0
                                    ? std::min(layers.window, settings.max_model_len.n)
                                    : settings.max_model_len.n;
    unpacked = std::max(unpacked, Bytes{std::llround(2 * elements * static_cast<double>(tokens))});
  }
  return unpacked + settings.transient;
}

}  // namespace

EngineSettings engine_settings(const EngineTable& table, const ModelSource& source,
                               const DeviceCard& /*device*/, const Decisions& decisions,
                               const EngineRequest& request, std::vector<Assumption>& assumptions) {
  return Settler(table, source, decisions, request, assumptions).run();
}

EngineOutcome forecast_engine(const ModelSource& source, const DeviceCard& device,
                              const Decisions& decisions, const EngineRequest& request) {
  const EngineTable table = engine_table(request.id);
  refuse_kv_mix(decisions, name_of(table.kind));
  refuse_weight_mix(decisions, name_of(table.kind));
  if (device.kind != DeviceKind::kGpu && table.kind != EngineKind::kLlamacpp) {
    throw Error(ErrorCode::kUnsupported,
                fmt::format("no account of {} on {} exists", name_of(table.kind), device.name))
        .at("", "--engine")
        .help("name a GPU with --device, or llamacpp");
  }
  if (decisions.sharding.cp > 1 || decisions.sharding.ep > 1) {
    throw Error(ErrorCode::kUnsupported,
                "a plan of this executor's context or expert parallel "
                "ranks is no plan of an engine's")
        .at("", "--cp, --ep")
        .help("plan it with --engine: there --ep and --decode-context-parallel are the engine's");
  }
  EngineOutcome out;
  const EngineSettings settings =
      engine_settings(table, source, device, decisions, request, out.assumptions);
  for (int rank = 0; rank < decisions.sharding.ranks(); ++rank) {
    if (rank % decisions.sharding.tp != 0) {  // ranks of a stage are alike
      out.devices.push_back(out.devices.back());
      continue;
    }
    EngineModel model = engine_model(source, decisions, settings.formats, rank);
    const std::optional<DraftModel> draft =
        draft_model(source, request.draft.get(), settings.speculation, decisions, settings.formats);
    const bool beside = table.kind == EngineKind::kLlamacpp;  // a context of its own
    if (draft && !beside) add_draft(model, *draft);
    const EngineModel* drafts = draft ? &draft->model : nullptr;
    EngineForecast forecast = forecast_rank({table, device, decisions, settings, model, drafts});
    if (draft && !beside) forecast.draft = draft->model.weights;
    forecast.transient = transient_bytes(settings, model);
    forecast.starved = forecast.boots &&
                       forecast.total + forecast.transient + settings.beside > decisions.capacity;
    forecast.name = name_of(table.kind);
    forecast.version = request.id.version.empty() ? table.version : request.id.version;
    forecast.table = table.version;
    out.devices.push_back(std::move(forecast));
  }
  if (table.kind != EngineKind::kLlamacpp) share_the_least(out.devices);
  out.fits = std::all_of(out.devices.begin(), out.devices.end(),
                         [](const EngineForecast& rank) { return rank.boots; });
  return out;
}

}  // namespace vramplan
