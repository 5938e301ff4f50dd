#pragma once
// Speculation in the words of each engine's command line or configuration, written and read.
#include "planner/engines/command.h"

namespace vramplan {

/// Errors: kUnsupported for a method this version of the engine has no words for.
std::vector<EngineFlag> speculation_flags(const Speculation& speculation, const EngineTable& table);

/// Gathers the flags of one command; several of them make one Speculation.
class SpeculationReader {
 public:
  /// False when the flag is no flag of speculation. Errors: kBadJson, kBadConfig for vLLM's object;
  /// kUnsupported for a tree of drafts or a method without an account.
  bool read(const EngineFlag& flag);
  /// Errors: kUsage when the flags do not say how many tokens are drafted.
  Speculation finish() const;

 private:
  void read_object(const EngineFlag& flag);
  void set_method(const std::string& word, const EngineFlag& flag);

  Speculation out_;
  bool object_ = false;  // vLLM's
  std::int64_t steps_ = 0, verified_ = 0;
};

}  // namespace vramplan
