#include "planner/engines/command.h"

#include <fmt/format.h>

#include <algorithm>

#include "modelcards/nearest_names.h"
#include "planner/engines/attention_windows.h"
#include "planner/engines/flag_value.h"
#include "planner/engines/speculation_flags.h"
#include "planner/kv_cache.h"

namespace vramplan {
namespace {

/// Shortest decimal that reads back to the same double.
std::string real_text(double value) { return fmt::format("{}", value); }

/// Writes the flags of one engine.
class Writer {
 public:
  Writer(const EngineSetup& setup, const EngineTable& table) : s_(setup), table_(table) {
    out_.id = setup.id;
  }

  EngineCommand run() {
    switch (table_.kind) {
      case EngineKind::kVllm:
        vllm();
        break;
      case EngineKind::kSglang:
        sglang();
        break;
      case EngineKind::kTrtllm:
        trtllm();
        break;
      case EngineKind::kLlamacpp:
        llamacpp();
        break;
    }
    check_flags(out_.flags, table_);
    return std::move(out_);
  }

 private:
  void add(const char* name, const std::string& value) { out_.flags.push_back({name, value}); }
  void add(const char* name, std::int64_t value) { add(name, std::to_string(value)); }
  template <class Number>
  void add_tokens(const char* name, const std::optional<Number>& value) {
    if (value) add(name, value->n);
  }
  void add_count(const char* name, const std::optional<std::int64_t>& value) {
    if (value) add(name, *value);
  }
  void add_fraction(const char* name) {
    if (s_.memory_fraction) add(name, real_text(*s_.memory_fraction));
  }

  void add_quantization() {
    if (s_.quantization == "none") return;
    if (parse_quantization(s_.quantization) == Quantization::kFp8Block) {
      throw Error(ErrorCode::kUnsupported,
                  "no engine scales fp8 in blocks while it loads: a checkpoint says that it does")
          .at("", "--quantization")
          .help("name a checkpoint in that format and leave --quantization out");
    }
    add("--quantization", s_.quantization);
  }

  void add_speculation() {
    for (EngineFlag& flag : speculation_flags(s_.speculation, table_)) {
      out_.flags.push_back(std::move(flag));
    }
  }

  void vllm() {
    out_.program = {"vllm", "serve", s_.model};
    add("--tensor-parallel-size", s_.tp / s_.attention_dp);
    add("--pipeline-parallel-size", s_.pp);
    if (s_.attention_dp > 1) {
      if (s_.nodes > 1) {
        throw Error(ErrorCode::kUnsupported,
                    "data parallel ranks over several nodes are not written")
            .at("", "--attention-dp")
            .help("plan it on one node");
      }
      add("--data-parallel-size", s_.attention_dp);
    }
    if (s_.context_parallel > 1) add("--decode-context-parallel-size", s_.context_parallel);
    if (s_.expert_parallel > 1) add("--enable-expert-parallel", "");
    if (s_.nodes > 1) add("--nnodes", s_.nodes);
    add_tokens("--max-model-len", s_.max_model_len);
    add_count("--max-num-seqs", s_.max_num_seqs);
    add_tokens("--max-num-batched-tokens", s_.max_num_batched_tokens);
    add_count("--block-size", s_.block_tokens);
    add_fraction("--gpu-memory-utilization");
    add_tokens("--kv-cache-memory-bytes", s_.kv_cache_memory);
    add("--dtype", s_.dtype);
    add("--kv-cache-dtype", s_.kv_cache_dtype);
    add_quantization();
    add("--enable-chunked-prefill", "");
    if (s_.eager) add("--enforce-eager", "");
    add_speculation();
  }

  void sglang() {
    out_.program = {"python", "-m", "sglang.launch_server"};
    add("--model-path", s_.model);
    add("--tp-size", s_.tp);
    add("--pp-size", s_.pp);
    if (s_.attention_dp > 1) {
      add("--dp-size", s_.attention_dp);
      add("--enable-dp-attention", "");
    }
    if (s_.context_parallel > 1) add("--dcp-size", s_.context_parallel);
    if (s_.expert_parallel > 1) add("--ep-size", s_.expert_parallel);
    if (s_.nodes > 1) add("--nnodes", s_.nodes);
    add_tokens("--context-length", s_.max_model_len);
    add_count("--max-running-requests", s_.max_num_seqs);
    add_tokens("--chunked-prefill-size", s_.max_num_batched_tokens);
    add_count("--page-size", s_.block_tokens);
    add_fraction("--mem-fraction-static");
    add_tokens("--max-total-tokens", s_.kv_tokens);
    add("--dtype", s_.dtype);
    add("--kv-cache-dtype", s_.kv_cache_dtype);
    add_quantization();
    if (s_.eager) add("--disable-cuda-graph", "");
    add_speculation();
  }

  /// Keys of the configuration file; the program reads it with --config.
  void trtllm() {
    if (s_.quantization != "none") {
      throw Error(ErrorCode::kUnsupported,
                  "TensorRT-LLM takes the format of weights from the checkpoint, not from a flag")
          .at("", "--quantization")
          .help("name a checkpoint in that format and leave --quantization out");
    }
    out_.program = {"trtllm-serve", s_.model};
    add("tensor_parallel_size", s_.tp);
    add("pipeline_parallel_size", s_.pp);
    if (s_.expert_parallel > 1) add("moe_expert_parallel_size", s_.expert_parallel);
    if (s_.attention_dp > 1) add("enable_attention_dp", "true");
    add_tokens("max_seq_len", s_.max_model_len);
    add_count("max_batch_size", s_.max_num_seqs);
    add_tokens("max_num_tokens", s_.max_num_batched_tokens);
    add("enable_chunked_prefill", "true");
    add("dtype", s_.dtype);
    add("kv_cache_config.dtype", s_.kv_cache_dtype);
    add_count("kv_cache_config.tokens_per_block", s_.block_tokens);
    add_fraction("kv_cache_config.free_gpu_memory_fraction");
    add_tokens("kv_cache_config.max_gpu_total_bytes", s_.kv_cache_memory);
    add_tokens("kv_cache_config.max_tokens", s_.kv_tokens);
    if (!s_.attention_windows.empty()) {
      add("kv_cache_config.max_attention_window", attention_windows_text(s_.attention_windows));
    }
    add_speculation();
  }

  void llamacpp() {
    if (s_.quantization != "none") {
      throw Error(ErrorCode::kUnsupported, "llama.cpp takes the format of weights from the file")
          .at("", "--quantization")
          .help("name a GGUF file in that format and leave --quantization out");
    }
    out_.program = {"llama-server"};
    const std::int64_t slots = s_.max_num_seqs.value_or(1);
    add("-m", s_.model);
    if (s_.max_model_len) add("-c", detail::checked_mul(s_.max_model_len->n, slots));
    add("-np", slots);
    add_tokens("-b", s_.max_num_batched_tokens);
    add_tokens("-ub", s_.max_num_batched_tokens);
    add("-ctk", s_.kv_cache_dtype == "auto" ? "f16" : s_.kv_cache_dtype);
    add("-ctv", s_.kv_cache_dtype == "auto" ? "f16" : s_.kv_cache_dtype);
    add("-fa", s_.flash_attention ? "on" : "off");
    add("-ngl", "999");
    add_speculation();
    const int devices = s_.tp * s_.pp;
    add("-sm", devices == 1 ? "none" : s_.tp > 1 ? "row" : "layer");
    if (devices == 1) return;
    std::string shares = "1";
    for (int i = 1; i < devices; ++i) shares += ",1";
    add("-ts", shares);
  }

  const EngineSetup& s_;
  const EngineTable& table_;
  EngineCommand out_;
};

}  // namespace

bool EngineSetup::operator==(const EngineSetup& o) const {
  EngineFlags other = o;
  other.speculation.acceptance = speculation.acceptance;
  other.quantized_parts = quantized_parts;
  other.tower = tower;
  other.beside = beside;
  other.transient = transient;
  other.tower_shape = tower_shape;
  return static_cast<const EngineFlags&>(*this) == other && id.kind == o.id.kind &&
         id.version == o.id.version && model == o.model && tp == o.tp && pp == o.pp &&
         nodes == o.nodes && block_tokens == o.block_tokens;
}

void fail_unknown_flag(const std::string& name, const EngineTable& table) {
  const auto gone = table.gone.find(name);
  Error error(ErrorCode::kUnknownName, fmt::format("{}@{} has no flag '{}'", name_of(table.kind),
                                                   table.version, printable(name)));
  error.at("command line", printable(name));
  error.help(gone != table.gone.end() ? gone->second : did_you_mean(name, table.flag_names()));
  throw error;
}

EngineCommand command_of(const EngineSetup& setup, const EngineTable& table) {
  return Writer(setup, table).run();
}

void check_flags(const std::vector<EngineFlag>& flags, const EngineTable& table) {
  for (const EngineFlag& given : flags) {
    const TableFlag* flag = table.flag(given.name);
    if (flag == nullptr) fail_unknown_flag(given.name, table);
    check_flag_value(given, *flag, table);
  }
}

}  // namespace vramplan
