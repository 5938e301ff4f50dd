#include "planner/engines/command.h"

#include <fmt/format.h>

#include <algorithm>

#include "modelcards/nearest_names.h"
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

[[noreturn]] void unknown_flag(const std::string& name, const EngineTable& table) {
  const auto gone = table.gone.find(name);
  Error error(ErrorCode::kUnknownName, fmt::format("{}@{} has no flag '{}'", name_of(table.kind),
                                                   table.version, printable(name)));
  error.at("command line", printable(name));
  error.help(gone != table.gone.end() ? gone->second : did_you_mean(name, table.flag_names()));
  throw error;
}

struct Program {
  EngineKind kind;
  std::vector<std::string> start;  // words that start it
  bool model_follows;              // MODEL is the next word
};
const Program kPrograms[] = {
    {EngineKind::kVllm, {"vllm", "serve"}, true},
    {EngineKind::kVllm, {"vllm.entrypoints.openai.api_server"}, false},
    {EngineKind::kSglang, {"sglang.launch_server"}, false},
    {EngineKind::kSglang, {"sglang", "serve"}, false},
    {EngineKind::kTrtllm, {"trtllm-serve", "serve"}, true},
    {EngineKind::kTrtllm, {"trtllm-serve"}, true},
    {EngineKind::kLlamacpp, {"llama-server"}, false},
    {EngineKind::kLlamacpp, {"llama-cli"}, false},
    // Images that start the engine themselves, as in "docker run IMAGE --model M".
    {EngineKind::kVllm, {"vllm-openai"}, true},
    {EngineKind::kLlamacpp, {"llama.cpp"}, false},
};

/// vLLM reads "--max_model_len" too (FlexibleArgumentParser).
std::string dashed(std::string name, EngineKind engine) {
  if (engine == EngineKind::kVllm && name.rfind("--", 0) == 0) {
    std::replace(name.begin(), name.end(), '_', '-');
  }
  return name;
}

/// Without folders, or of an image without registry and tag.
std::string base_name(const std::string& word) {
  const std::size_t slash = word.rfind('/');
  const std::string name = slash == std::string::npos ? word : word.substr(slash + 1);
  return name.substr(0, name.find(':'));
}

/// "0.9.1" of "vllm/vllm-openai:v0.9.1"; empty for a tag that is no release.
std::string version_of_image(const std::string& word) {
  const std::size_t colon = word.rfind(':');
  if (colon == std::string::npos || word.compare(colon + 1, 1, "v") != 0) return "";
  const std::string tag = word.substr(colon + 2);
  return tag.find_first_not_of("0123456789.") == std::string::npos ? tag : "";
}

/// Cuts "--flag=value", and of engines that read Python's way "-tp=2".
std::optional<std::string> cut_value(std::string& name, const EngineTable& table) {
  const std::size_t equals = name.find('=');
  if (equals == std::string::npos) return std::nullopt;
  const bool python = table.kind == EngineKind::kVllm || table.kind == EngineKind::kSglang;
  const bool known = python && table.flag(name.substr(0, equals)) != nullptr;
  if (name.rfind("--", 0) != 0 && !known) return std::nullopt;
  std::string value = name.substr(equals + 1);
  name.erase(equals);
  return value;
}

/// Index after the words that start the program, or nothing.
std::optional<std::size_t> starts(const Program& program, const std::vector<std::string>& words) {
  for (std::size_t i = 0; i + program.start.size() <= words.size(); ++i) {
    bool same = true;
    for (std::size_t k = 0; k < program.start.size(); ++k) {
      same = same && base_name(words[i + k]) == program.start[k];
    }
    if (same) return i + program.start.size();
  }
  return std::nullopt;
}

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

EngineCommand command_of(const EngineSetup& setup, const EngineTable& table) {
  return Writer(setup, table).run();
}

void check_flags(const std::vector<EngineFlag>& flags, const EngineTable& table) {
  for (const EngineFlag& given : flags) {
    const TableFlag* flag = table.flag(given.name);
    if (flag == nullptr) unknown_flag(given.name, table);
    check_flag_value(given, *flag, table);
  }
}

EngineCommand parse_command(const std::vector<std::string>& words, const std::string& version) {
  for (const Program& program : kPrograms) {
    const auto after = starts(program, words);
    if (!after) continue;
    std::size_t i = *after;
    EngineCommand command;
    const std::string image = version_of_image(words[i - 1]);
    command.id = {program.kind, version.empty() ? image : version};
    const EngineTable table = engine_table(command.id);
    command.program.assign(words.begin(), words.begin() + static_cast<std::ptrdiff_t>(i));
    if (program.model_follows && i < words.size() && words[i].rfind("-", 0) != 0) {
      command.program.push_back(words[i++]);
    }
    while (i < words.size()) {
      std::string name = words[i++];
      std::optional<std::string> value = cut_value(name, table);
      const TableFlag* flag = table.flag(name);
      if (flag == nullptr) flag = table.flag(dashed(name, program.kind));
      if (flag == nullptr) unknown_flag(name, table);
      // llama.cpp's "-fa" was a switch, and is published as one.
      const bool next_is_flag = i >= words.size() || words[i].rfind("-", 0) == 0;
      if (!value && flag->name == "-fa" && next_is_flag) value = "on";
      if (!value && flag->type != "switch" && i < words.size()) value = words[i++];
      command.flags.push_back({flag->name, value.value_or("")});
    }
    check_flags(command.flags, table);
    return command;
  }
  throw Error(ErrorCode::kUsage, "the command starts no engine that is known here")
      .at("command line")
      .help(
          "known: vllm serve, python -m vllm.entrypoints.openai.api_server, python -m "
          "sglang.launch_server, trtllm-serve, llama-server, docker run of their images");
}

}  // namespace vramplan
