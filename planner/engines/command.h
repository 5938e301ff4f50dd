#pragma once
// EngineCommand: an engine's start-up command as flags with values, and EngineSetup, the same
// choices in one vocabulary for all engines. Setup to command and back lose nothing that decides
// memory. Every flag is checked against the strict table of the engine's version.
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "planner/engines/shell_script.h"
#include "planner/engines/twin.h"

namespace vramplan {

/// What is set, engine by engine in its own words; what is empty was not said. Of EngineFlags:
/// kv_cache_memory is per device (vllm, trtllm), kv_tokens of all sequences (sglang).
struct EngineSetup : EngineFlags {
  EngineId id;
  std::string model;
  // tp counts the ranks of all attention groups (vLLM: tensor x data parallel).
  int tp = 1, pp = 1, nodes = 1;
  std::optional<std::int64_t> block_tokens;

  /// By what flags say: acceptance, what lies beside the engine and which parts a checkpoint
  /// quantises are said by none and do not count.
  bool operator==(const EngineSetup& other) const;
};

struct EngineFlag {
  std::string name, value;  // value empty for a switch
  bool operator==(const EngineFlag&) const = default;
};
struct EngineCommand {
  EngineId id;
  std::vector<std::string> program;  // "vllm", "serve", MODEL
  std::vector<EngineFlag> flags;
};

/// Errors: kUnsupported for a choice the engine has no flag for.
EngineCommand command_of(const EngineSetup& setup, const EngineTable& table);
/// The inverse. Flags that do not concern memory are passed over. Errors: kUsage for a value that
/// is no number, kUnsupported for a memory flag no twin models (offload, data parallel).
EngineSetup setup_of(const EngineCommand& command, const EngineTable& table);

/// Words of a command line to a command: finds the program, its model and flags "--a b", "--a=b".
/// Errors: kUsage when no known engine is started; kUnknownName for a flag that version does not
/// have, with the nearest one or what replaced it; kUsage for a value of the wrong type, or one
/// that is marked as unknown (shell_script.h) where it decides memory. `environment` sets flags
/// that the words do not give (llama.cpp's LLAMA_ARG_...).
EngineCommand parse_command(const std::vector<std::string>& words, const std::string& version,
                            const Variables& environment = {});
/// Whether words start one of the engines, and what those are.
bool starts_engine(const std::vector<std::string>& words);
std::string known_engines();
/// Strict: every flag is one of the table's and its value has the flag's type. Errors as above.
void check_flags(const std::vector<EngineFlag>& flags, const EngineTable& table);
/// kUnknownName with the nearest flag, or what replaced it.
[[noreturn]] void fail_unknown_flag(const std::string& name, const EngineTable& table);

std::vector<std::string> words_of(const EngineCommand& command);
/// One word for a POSIX shell, quoted when it needs to be.
std::string shell_quoted(const std::string& word);
/// Splits a command line as a POSIX shell does: quotes, escapes, continued lines, comments; no
/// expansion. Errors: kUsage for an open quote or for $( ` | ; & < > outside quotes.
std::vector<std::string> shell_words(const std::string& text);
/// The command over several lines.
std::string shell_text(const EngineCommand& command);

/// What the plan decided, for this engine. `engine` fills what a plan does not hold (fraction,
/// quantization). Errors: kUnsupported for formats the engine cannot load.
EngineSetup setup_of_plan(const Plan& plan, const EngineRequest& engine, const ModelSource& source,
                          const DeviceCard& device);
/// The engine's word for a plan's cache format; "auto" is the model's own 16-bit format. Errors:
/// kUnsupported naming the format that it does not have.
std::string engine_kv_word(EngineKind engine, KvFormat format);
/// The requests that predict a setup: PlanRequest without device, and EngineRequest.
PlanRequest plan_request_of(const EngineSetup& setup);
EngineRequest engine_request_of(const EngineSetup& setup);

}  // namespace vramplan
