#pragma once
// EngineTable: the numbers and flags of one engine at one version, read from the embedded data
// files planner/engines/tables/*.yaml. Every number carries its source; a version holds what it
// changed and inherits the rest from the one before.
#include <map>
#include <string>
#include <vector>

namespace vramplan {

enum class EngineKind { kVllm, kSglang, kTrtllm, kLlamacpp };
inline constexpr EngineKind kEngineKinds[] = {EngineKind::kVllm, EngineKind::kSglang,
                                              EngineKind::kTrtllm, EngineKind::kLlamacpp};
/// "vllm", "sglang", "trtllm", "llamacpp": the words of --engine.
const char* name_of(EngineKind kind);

/// What --engine asks for. The version may be empty: then the newest table.
struct EngineId {
  EngineKind kind = EngineKind::kVllm;
  std::string version;
};
/// "vllm@0.19.0", "llamacpp@b4370", "sglang". A leading "v" of a version is dropped.
/// Errors: kUnknownName with the nearest engine, kUsage for a version that holds no number.
EngineId parse_engine(const std::string& text);

/// -1, 0, 1: versions compared number by number; a release candidate comes before its release.
int compare_versions(const std::string& a, const std::string& b);

struct TableNumber {
  double value = 0;
  std::string source;
};

/// A flag or configuration key of that version.
struct TableFlag {
  std::string name;                  // "--max-model-len", or a key path "kv_cache_config.dtype"
  std::string type;                  // integer | real | text | switch | choice
  std::vector<std::string> choices;  // of an integer: words beside numbers ("auto")
  std::vector<std::string> aliases;  // other spellings, such as "-tp"
  std::string variable;              // of the environment, which sets it too (llama.cpp)
  std::string suffixes;              // of an integer: "kmg" when 32k and 32K are read
  std::string suffixes_since;        // set when the asked version is older than that one
};

class EngineTable {
 public:
  EngineKind kind = EngineKind::kVllm;
  std::string version;   // of the table
  bool nearest = false;  // the asked version has no table of its own
  std::map<std::string, TableNumber> numbers;
  std::vector<TableFlag> flags;
  std::map<std::string, std::string> gone;  // flags of older versions, and what replaced them

  /// Errors: kInternal for a name the table does not hold.
  double number(const std::string& name) const;
  const std::string& source(const std::string& name) const;
  bool has(const std::string& name) const { return numbers.count(name) > 0; }
  /// By name or alias; null when this version does not know it.
  const TableFlag* flag(const std::string& name) const;
  std::vector<std::string> flag_names() const;
};

/// The table of that version, or the nearest lower one (`nearest`), or the oldest when there is
/// none lower. Errors: kBadYaml when a data file is damaged.
EngineTable engine_table(const EngineId& id);
std::vector<std::string> table_versions(EngineKind kind);  // oldest first

struct EmbeddedTable {
  const char* name;
  const char* text;
};
extern const EmbeddedTable kEngineTables[];  // ends with a null name

}  // namespace vramplan
