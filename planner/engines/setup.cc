// EngineSetup from a command, from a plan, and as requests: the reading half of command.h.
#include <fmt/format.h>

#include <algorithm>
#include <cstdlib>

#include "planner/engines/attention_windows.h"
#include "planner/engines/command.h"
#include "planner/engines/flag_value.h"
#include "planner/engines/speculation_flags.h"
#include "planner/kv_mix.h"
#include "planner/weight_mix.h"

namespace vramplan {
namespace {

/// Reads the flags of one command; each engine's words go to one field.
class Reader {
 public:
  explicit Reader(const EngineCommand& command) : command_(command) { out_.id = command.id; }

  EngineSetup run() {
    switch (command_.id.kind) {
      case EngineKind::kVllm:
        model_last();
        break;
      case EngineKind::kTrtllm:
        model_last();
        break;
      case EngineKind::kSglang:
      case EngineKind::kLlamacpp:
        break;
    }
    for (const EngineFlag& flag : command_.flags) read(flag);
    groups();
    if (all_ranks_share_) out_.expert_parallel = out_.tp;
    out_.speculation = speculation_.finish();
    if (command_.id.kind == EngineKind::kLlamacpp) finish_llamacpp();
    return std::move(out_);
  }

 private:
  void model_last() {
    // "vllm serve MODEL": the word after the program, when it is no part of it.
    const std::string& last = command_.program.back();
    const bool program = last == "serve" || last == "vllm" ||
                         last.find("trtllm-serve") != std::string::npos ||
                         last.find("api_server") != std::string::npos ||
                         last.find("vllm-openai") != std::string::npos;
    if (!program) out_.model = last;
  }

  /// Each engine's words for groups of ranks that attend requests of their own.
  void groups() {
    if (command_.id.kind == EngineKind::kVllm) {
      out_.attention_dp = data_parallel_;
      out_.tp *= data_parallel_;
    } else if (command_.id.kind == EngineKind::kTrtllm) {
      if (attention_dp_) out_.attention_dp = out_.tp;
    } else if (attention_dp_) {
      out_.attention_dp = data_parallel_;
    } else if (data_parallel_ > 1) {
      refuse({"--dp-size", fmt::format("{} without --enable-dp-attention", data_parallel_)});
    }
  }

  static std::int64_t integer(const EngineFlag& flag) {
    const std::int64_t n = std::strtoll(flag.value.c_str(), nullptr, 10);
    if (n < 1) {
      throw Error(ErrorCode::kUnsupported,
                  fmt::format("{} {}: no twin predicts what the engine chooses itself", flag.name,
                              printable(flag.value)))
          .at("command line", flag.name)
          .help("give a number of at least 1");
    }
    return n;
  }
  static int small(const EngineFlag& flag) {
    const std::int64_t n = integer(flag);
    if (n <= 65536) return static_cast<int>(n);
    throw Error(ErrorCode::kUsage, fmt::format("{} of {} is out of range", flag.name, n))
        .at("command line", flag.name)
        .help("give at most 65536");
  }

  [[noreturn]] static void refuse(const EngineFlag& flag) {
    throw Error(ErrorCode::kUnsupported,
                fmt::format("{} {} changes memory in a way no twin models yet", flag.name,
                            printable(flag.value)))
        .at("command line", flag.name)
        .help("leave the flag out to plan without it");
  }

  bool common(const EngineFlag& f) {
    const std::string& n = f.name;
    if (n == "--tensor-parallel-size" || n == "--tp-size" || n == "tensor_parallel_size") {
      out_.tp = small(f);
    } else if (n == "--pipeline-parallel-size" || n == "--pp-size" ||
               n == "pipeline_parallel_size") {
      out_.pp = small(f);
    } else if (n == "--ep-size" || n == "moe_expert_parallel_size") {
      out_.expert_parallel = small(f);
    } else if (n == "--enable-expert-parallel") {
      all_ranks_share_ = true;
    } else if (n == "--data-parallel-size" || n == "--dp-size") {
      data_parallel_ = small(f);
    } else if (n == "--enable-dp-attention" || n == "enable_attention_dp") {
      attention_dp_ = f.value != "false";
    } else if (n == "--decode-context-parallel-size" || n == "--dcp-size") {
      out_.context_parallel = small(f);
    } else if (n == "--nnodes") {
      out_.nodes = small(f);
    } else if (n == "--max-model-len" || n == "--context-length" || n == "max_seq_len") {
      out_.max_model_len = Tokens{integer(f)};
    } else if (n == "--max-num-seqs" || n == "--max-running-requests" || n == "max_batch_size") {
      out_.max_num_seqs = integer(f);
    } else if (n == "--max-num-batched-tokens" || n == "--chunked-prefill-size" ||
               n == "max_num_tokens") {
      out_.max_num_batched_tokens = Tokens{integer(f)};
    } else if (n == "--block-size" || n == "--page-size" ||
               n == "kv_cache_config.tokens_per_block") {
      out_.block_tokens = integer(f);
    } else if (n == "--gpu-memory-utilization" || n == "--mem-fraction-static" ||
               n == "kv_cache_config.free_gpu_memory_fraction") {
      out_.memory_fraction = std::strtod(f.value.c_str(), nullptr);
    } else if (n == "--kv-cache-memory-bytes" || n == "kv_cache_config.max_gpu_total_bytes") {
      out_.kv_cache_memory = Bytes{integer(f)};
    } else if (n == "--max-total-tokens") {
      out_.kv_tokens = Tokens{integer(f)};
    } else if (n == "--model-path" || n == "-m" || n == "--model") {
      out_.model = f.value;
    } else {
      return false;
    }
    return true;
  }

  void read(const EngineFlag& f) {
    if (common(f) || speculation_.read(f)) return;
    const std::string& n = f.name;
    if (n == "--dtype" || n == "dtype") {
      out_.dtype = f.value;
    } else if (n == "--kv-cache-dtype" || n == "kv_cache_config.dtype") {
      out_.kv_cache_dtype = f.value;
    } else if (n == "--quantization") {
      out_.quantization = f.value;
    } else if (n == "-c") {
      cells_ = integer(f);
    } else if (n == "-np") {
      out_.max_num_seqs = integer(f);
    } else if (n == "-ub") {
      out_.max_num_batched_tokens = Tokens{integer(f)};
    } else if (n == "-ctk") {
      out_.kv_cache_dtype = f.value;
    } else if (n == "-ctv") {
      value_cache_ = f.value;
    } else if (n == "--enforce-eager" || n == "--disable-cuda-graph") {
      out_.eager = true;
    } else if (n == "kv_cache_config.max_tokens") {
      out_.kv_tokens = Tokens{integer(f)};
    } else if (n == "kv_cache_config.max_attention_window") {
      out_.attention_windows = parse_attention_windows(f.value, n.c_str());
    } else if (n == "-fa") {
      out_.flash_attention = f.value != "off";
    } else if (n == "-sm") {
      split_ = f.value;
    } else if (n == "-ts") {
      devices_ = 1 + static_cast<int>(std::count(f.value.begin(), f.value.end(), ','));
    } else if (n == "-ngl") {
      if (f.value != "all" && f.value != "auto" && integer(f) < 99) refuse(f);
    } else if (n == "--cpu-offload-gb" || n == "--kv-offloading-size" || n == "-ncmoe" ||
               n == "-cmoe" || n == "-ot" || n == "-nkvo" || n == "--enable-hierarchical-cache" ||
               n == "--num-gpu-blocks-override" || n == "--disable-hybrid-kv-cache-manager" ||
               n == "--disable-hybrid-swa-memory" || n == "--mmproj" || n == "-cd" ||
               n == "--enable-lora" || n == "kv_cache_config.host_cache_size" ||
               n == "--kv-transfer-config" || n == "--kv-cache-dtype-skip-layers" ||
               n == "context_parallel_size") {
      const bool off = f.value == "0" || f.value == "1" || f.value == "false";
      if (!off) refuse(f);
    }
  }

  void finish_llamacpp() {
    if (cells_) out_.max_model_len = Tokens{*cells_ / out_.max_num_seqs.value_or(1)};
    if (out_.kv_cache_dtype == "f16") out_.kv_cache_dtype = "auto";
    const std::string values =
        value_cache_ == "f16" || value_cache_.empty() ? "auto" : value_cache_;
    if (!value_cache_.empty() && values != out_.kv_cache_dtype) refuse({"-ctv", value_cache_});
    (split_ == "row" || split_ == "tensor" ? out_.tp : out_.pp) = devices_;
  }

  const EngineCommand& command_;
  EngineSetup out_;
  std::optional<std::int64_t> cells_;
  std::string value_cache_, split_;
  int devices_ = 1;
  bool all_ranks_share_ = false, attention_dp_ = false;
  int data_parallel_ = 1;
  SpeculationReader speculation_;
};

/// Bytes a vLLM pool needs for every sequence at once, and its one block that is never handed out.
Bytes pool_bytes(const EngineModel& model, TokensPerBlock block, Tokens context, Tokens chunk,
                 std::int64_t sequences) {
  const KvPool pool = kv_pool(model, block, context, chunk);
  const std::int64_t blocks =
      detail::checked_add(detail::checked_mul(pool.pages_per_sequence, sequences), 1);
  return pool.page * detail::checked_mul(blocks, pool.group_layers);
}

}  // namespace

std::string engine_kv_word(EngineKind engine, KvFormat format) {
  if (engine == EngineKind::kLlamacpp) {
    const bool known = format == KvFormat::kF32 || format == KvFormat::kBF16 ||
                       format == KvFormat::kQ8_0 || format == KvFormat::kQ4_0;
    if (format == KvFormat::kF16) return "auto";
    if (known) return name_of(format);
  } else if (format == KvFormat::kF16 || format == KvFormat::kBF16) {
    return engine == EngineKind::kSglang && format == KvFormat::kBF16 ? "bf16" : "auto";
  } else if (format == KvFormat::kFp8) {
    return engine == EngineKind::kSglang ? "fp8_e4m3" : "fp8";
  }
  throw Error(ErrorCode::kUnsupported, fmt::format("no flag is written for a cache of {} in {}",
                                                   name_of(engine), name_of(format)))
      .at("", "--kv-cache-dtype")
      .help("plan with --kv-cache-dtype bf16 or fp8");
}

namespace {

/// Bytes that TensorRT-LLM's pools need for every sequence at once: their shares are window x
/// bytes, so the window that rounds up most decides for all. One block more than its floats can
/// round away.
Bytes window_pool_bytes(const EngineModel& model, const EngineSetup& s, TokensPerBlock block) {
  const Tokens context = *s.max_model_len;
  Bytes sum;
  double rounding = 1;
  for (const LayerPool& pool :
       window_pools(model, s.attention_windows, context, Bytes{1}, block, std::nullopt)) {
    const std::int64_t whole = ceil_div(pool.window, block.n) * block.n;
    rounding = std::max(rounding, static_cast<double>(whole) / static_cast<double>(pool.window));
    sum += pool.bytes_per_token * Tokens{detail::checked_mul(pool.window, *s.max_num_seqs)};
  }
  const Bytes spare = model.kv_bytes_per_token() * Tokens{block.n};
  return Bytes{static_cast<std::int64_t>(std::ceil(static_cast<double>(sum.n) * rounding))} + spare;
}

/// TensorRT-LLM without a list of windows keeps all tokens of every layer.
EngineModel unwindowed(EngineModel model, EngineKind engine) {
  if (engine != EngineKind::kTrtllm) return model;
  for (KvLayers& layers : model.kv) layers.window = 0;
  return model;
}

/// Bytes of the cache on a device that hold every sequence of the setup at its longest.
Bytes cache_of(const EngineSetup& s, const EngineRequest& engine, const Decisions& d,
               const ModelSource& source, const DeviceCard& device) {
  if (engine.kv_cache_memory) return *engine.kv_cache_memory;
  const EngineTable table = engine_table(s.id);
  std::vector<Assumption> unused;
  EngineRequest full = engine_request_of(s);
  full.draft = engine.draft;
  const EngineSettings settings = engine_settings(table, source, device, d, full, unused);
  EngineModel model = engine_model(source, d, settings.formats, 0);
  const std::optional<DraftModel> draft =
      draft_model(source, full.draft.get(), settings.speculation, d, settings.formats);
  if (draft) add_draft(model, *draft);
  if (!s.attention_windows.empty()) return window_pool_bytes(model, s, d.block);
  const Tokens context{ceil_div(s.max_model_len->n, std::int64_t{s.context_parallel})};
  return pool_bytes(unwindowed(model, table.kind), d.block, context, *s.max_num_batched_tokens,
                    *s.max_num_seqs);
}

}  // namespace

EngineSetup setup_of(const EngineCommand& command, const EngineTable& table) {
  check_flags(command.flags, table);
  EngineCommand plain = command;
  for (EngineFlag& flag : plain.flags) {
    flag.value = plain_value(flag.value, *table.flag(flag.name));
  }
  return Reader(plain).run();
}

EngineSetup setup_of_plan(const Plan& plan, const EngineRequest& engine, const ModelSource& source,
                          const DeviceCard& device) {
  const Decisions& d = plan.decisions;
  const EngineTable table = engine_table(engine.id);
  const bool llama = table.kind == EngineKind::kLlamacpp;
  const bool plain = !d.weights || *d.weights == DType::kF16 || *d.weights == DType::kBF16;
  if (!plain && !llama) {
    throw Error(ErrorCode::kUnsupported, fmt::format("{} cannot recode weights to {} by a flag",
                                                     name_of(table.kind), info(*d.weights).name))
        .at("", "--weights")
        .help("plan a checkpoint in that format, or use --quantization of the engine");
  }
  refuse_kv_mix(d, name_of(table.kind));
  refuse_weight_mix(d, name_of(table.kind));
  EngineSetup s;
  static_cast<EngineFlags&>(s) = engine;
  s.id = {table.kind, engine.id.version.empty() ? table.version : engine.id.version};
  s.model = d.model;
  s.tp = d.sharding.tp;
  s.pp = d.sharding.pp;
  const std::int64_t node = std::max<std::int64_t>(1, device.devices_per_node.value);
  s.nodes = static_cast<int>(ceil_div(d.sharding.ranks(), node));
  s.max_model_len = engine.max_model_len.value_or(d.context);
  // SGLang's flag counts the sequences of all groups, the others' those of one.
  const int counted = table.kind == EngineKind::kSglang ? 1 : s.attention_dp;
  s.max_num_seqs = engine.max_num_seqs.value_or(ceil_div(d.batch, std::int64_t{counted}));
  s.max_num_batched_tokens = engine.max_num_batched_tokens.value_or(d.prefill_chunk);
  s.dtype = engine.dtype != "auto" || llama ? engine.dtype
            : d.weights == DType::kF16      ? "float16"
            : d.weights == DType::kBF16     ? "bfloat16"
                                            : "auto";
  s.kv_cache_dtype = engine.kv_cache_dtype != "auto" ? engine.kv_cache_dtype
                                                     : engine_kv_word(table.kind, d.kv_format);
  s.kv_tokens.reset();
  s.kv_cache_memory.reset();
  s.memory_fraction.reset();
  if (llama) return s;
  s.block_tokens = d.block.n;
  s.memory_fraction = engine.memory_fraction.value_or(
      table.has("fraction_default") ? table.number("fraction_default") : 0.85);
  const bool own = plan.engine && parse_engine(plan.engine->engine).kind == table.kind;
  if (table.kind == EngineKind::kTrtllm && !own) {
    s.attention_windows = engine.attention_windows.empty()
                              ? attention_windows(source.card, d, *s.max_model_len)
                              : engine.attention_windows;
  }
  const Bytes pool = cache_of(s, engine, d, source, device);
  if (table.kind == EngineKind::kSglang) {
    s.kv_tokens = Tokens{detail::checked_mul(s.max_model_len->n, *s.max_num_seqs)};
  } else {
    s.kv_cache_memory = pool;
  }
  return s;
}

PlanRequest plan_request_of(const EngineSetup& s) {
  PlanRequest request;
  request.model = s.model;
  request.tp = s.tp;
  request.pp = s.pp;
  request.count = s.tp * s.pp;
  request.context = s.max_model_len;
  request.batch = s.max_num_seqs;
  if (s.max_num_seqs && s.id.kind != EngineKind::kSglang) {
    request.batch = detail::checked_mul(*s.max_num_seqs, s.attention_dp);
  }
  request.prefill_chunk = s.max_num_batched_tokens;
  request.block_tokens = s.block_tokens;
  if (s.dtype == "float16") request.weights = DType::kF16;
  if (s.dtype == "bfloat16") request.weights = DType::kBF16;
  const std::string& word = s.kv_cache_dtype;
  if (word == "f32") request.kv_format = KvFormat::kF32;
  if (word == "q8_0") request.kv_format = KvFormat::kQ8_0;
  if (word == "q4_0") request.kv_format = KvFormat::kQ4_0;
  if (word.rfind("fp8", 0) == 0) request.kv_format = KvFormat::kFp8;
  if (s.kv_cache_dtype == "bf16" || s.kv_cache_dtype == "bfloat16") {
    request.kv_format = KvFormat::kBF16;
  }
  if (s.id.kind == EngineKind::kLlamacpp && s.kv_cache_dtype == "auto") {
    request.kv_format = KvFormat::kF16;
  }
  return request;
}

EngineRequest engine_request_of(const EngineSetup& setup) {
  EngineRequest request;
  static_cast<EngineFlags&>(request) = setup;
  request.id = setup.id;
  return request;
}

}  // namespace vramplan
