#pragma once
// Shell variables: "$NAME" and its longer forms in a text, filled in where the value is known.
#include <cstddef>
#include <string>

#include "planner/engines/shell_script.h"

namespace vramplan {

constexpr std::size_t kMostFilled = std::size_t{4} << 20;  // bytes of filled text in one script

/// Whether `text` is a variable's name.
bool is_variable_name(const std::string& text);

class VariableReader {
 public:
  explicit VariableReader(const Variables& known) : known_(known) {}

  /// The value of what begins with "$" at text[at]; moves `at` to its last character. A "$" that
  /// begins nothing is itself. Errors: kUsage for an open bracket, kUnsupported for nesting beyond
  /// 8 levels.
  std::string value(const std::string& text, std::size_t& at, int depth = 0) const;
  /// Every variable of a text.
  std::string filled(const std::string& text, int depth = 0) const;

 private:
  std::string braced(const std::string& inside, int depth) const;
  std::string named(const std::string& name) const;

  const Variables& known_;
};

}  // namespace vramplan
