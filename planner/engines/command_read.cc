// Words of a command line to a command: the reading half of command.h.
#include <fmt/format.h>

#include <algorithm>

#include "modelcards/nearest_names.h"
#include "planner/engines/command.h"

namespace vramplan {
namespace {

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

/// Flags that decide no memory: their values need not be known.
bool decides_nothing(const std::string& name) {
  static const std::vector<std::string> kNames = {"--api-key",
                                                  "--host",
                                                  "--port",
                                                  "--node-rank",
                                                  "--master-addr",
                                                  "--master-port",
                                                  "--served-model-name",
                                                  "--download-dir",
                                                  "--chat-template",
                                                  "--dist-init-addr",
                                                  "--tokenizer",
                                                  "--revision",
                                                  "--ssl-keyfile",
                                                  "--ssl-certfile",
                                                  "--root-path",
                                                  "-a",
                                                  "--seed",
                                                  "--random-seed",
                                                  "--log-level",
                                                  "--uvicorn-log-level",
                                                  "--otlp-traces-endpoint",
                                                  "--tool-call-parser",
                                                  "--reasoning-parser",
                                                  "-t",
                                                  "-tb"};
  return std::find(kNames.begin(), kNames.end(), name) != kNames.end();
}

[[noreturn]] void refuse_unknown(const std::string& word, const std::string& where) {
  throw Error(ErrorCode::kUsage,
              fmt::format("the value of {} is not written here", printable(unknown_in(word))))
      .at("command line", where)
      .help("write it out, or set it in the script or the environment of the container");
}

class Parser {
 public:
  Parser(const Program& program, const std::vector<std::string>& words, std::size_t after,
         const std::string& version)
      : words_(words), i_(after) {
    const std::string image = version_of_image(words[after - 1]);
    command_.id = {program.kind, version.empty() ? image : version};
    table_ = engine_table(command_.id);
    command_.program.assign(words.begin(), words.begin() + static_cast<std::ptrdiff_t>(after));
    model_follows_ = program.model_follows;
  }

  EngineCommand run(const Variables& environment) {
    if (model_follows_ && i_ < words_.size() && words_[i_].rfind("-", 0) != 0) {
      if (holds_unknown(words_[i_])) refuse_unknown(words_[i_], "MODEL");
      command_.program.push_back(words_[i_++]);
    }
    while (i_ < words_.size()) flag();
    if (command_.id.kind == EngineKind::kLlamacpp) read_environment(environment);
    check_flags(command_.flags, table_);
    return std::move(command_);
  }

 private:
  void flag() {
    std::string name = words_[i_++];
    std::optional<std::string> value = cut_value(name, table_);
    if (holds_unknown(name)) refuse_unknown(name, "flags");
    const TableFlag* flag = table_.flag(name);
    if (flag == nullptr) flag = table_.flag(dashed(name, command_.id.kind));
    if (flag == nullptr) fail_unknown_flag(name, table_);
    // llama.cpp's "-fa" was a switch, and is published as one.
    const bool next_is_flag = i_ >= words_.size() || words_[i_].rfind("-", 0) == 0;
    if (!value && flag->name == "-fa" && next_is_flag) value = "on";
    if (!value && flag->type != "switch" && i_ < words_.size()) value = words_[i_++];
    if (value && holds_unknown(*value)) {
      if (!decides_nothing(flag->name)) refuse_unknown(*value, flag->name);
      return;
    }
    command_.flags.push_back({flag->name, value.value_or("")});
  }

  /// llama.cpp reads a flag from its variable when the command does not give it. Source: llama.cpp
  /// common/arg.cpp, set_env.
  void read_environment(Variables variables) {
    for (const std::string& word : command_.program) {  // "X=1 llama-server", "docker run -e X=1"
      const std::size_t equals = word.find('=');
      const std::size_t at = word.rfind("--env=", 0) == 0 ? 6 : 0;
      if (equals != std::string::npos && word.compare(at, 10, "LLAMA_ARG_") == 0) {
        const std::size_t end = word.find('=', at);
        if (end != std::string::npos) variables[word.substr(at, end - at)] = word.substr(end + 1);
      }
    }
    for (const auto& [name, value] : variables) {
      if (name.rfind("LLAMA_ARG_", 0) == 0) variable(name, value);
    }
  }

  void variable(const std::string& name, std::string value) {
    const auto named = [&](const TableFlag& f) { return f.variable == name; };
    const auto flag = std::find_if(table_.flags.begin(), table_.flags.end(), named);
    if (flag == table_.flags.end()) {
      std::vector<std::string> names;
      for (const TableFlag& f : table_.flags) {
        if (!f.variable.empty()) names.push_back(f.variable);
      }
      throw Error(ErrorCode::kUnknownName,
                  fmt::format("no flag is set by the variable {}", printable(name)))
          .at("environment", printable(name))
          .help(did_you_mean(name, names));
    }
    for (const EngineFlag& given : command_.flags) {
      if (given.name == flag->name) return;
    }
    if (holds_unknown(value)) {
      if (!decides_nothing(flag->name)) refuse_unknown(value, name);
      return;
    }
    // A variable of the "no" kind acts by being there, whatever it holds (common/arg.cpp).
    const bool on = value == "1" || value == "true" || value == "on" || value == "enabled" ||
                    name.rfind("LLAMA_ARG_NO_", 0) == 0;
    if (flag->type == "switch") {
      if (on) command_.flags.push_back({flag->name, ""});
      return;
    }
    if (flag->name == "-fa" && on) value = "on";
    if (flag->name == "-fa" && (value == "0" || value == "false")) value = "off";
    command_.flags.push_back({flag->name, value});
  }

  const std::vector<std::string>& words_;
  std::size_t i_;
  EngineTable table_;
  EngineCommand command_;
  bool model_follows_ = false;
};

}  // namespace

bool starts_engine(const std::vector<std::string>& words) {
  for (const Program& program : kPrograms) {
    if (starts(program, words)) return true;
  }
  return false;
}

std::string known_engines() {
  return "known: vllm serve, python -m vllm.entrypoints.openai.api_server, python -m "
         "sglang.launch_server, trtllm-serve, llama-server, docker run of their images";
}

EngineCommand parse_command(const std::vector<std::string>& words, const std::string& version,
                            const Variables& environment) {
  for (const Program& program : kPrograms) {
    const auto after = starts(program, words);
    if (after) return Parser(program, words, *after, version).run(environment);
  }
  throw Error(ErrorCode::kUsage, "the command starts no engine that is known here")
      .at("command line")
      .help(known_engines());
}

}  // namespace vramplan
