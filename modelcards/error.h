#pragma once
// Error: the one exception type of the project. It is thrown for bad input and for machine
// failures, caught only in cli/. "Does not fit" as an answer is a value (see planner/plan.h), not
// an Error.
#include <stdexcept>
#include <string>

namespace vramplan {

/// Stable codes, printed as VPnnnn. The hundreds decide the exit code (see exit_code).
enum class ErrorCode : int {
  kUsage = 101,           // a flag or argument is wrong
  kUnknownName = 102,     // no such model, device or subcommand
  kBadYaml = 201,         // YAML: syntax, type, range, unknown key
  kBadJson = 202,         // JSON: syntax, type, range
  kBadGguf = 203,         // GGUF: truncated, lying or hostile
  kBadConfig = 204,       // config.json: missing or contradictory fields
  kFile = 205,            // file is missing, unreadable or not a regular file
  kOverflow = 206,        // a quantity does not fit 64 bits
  kBadCard = 207,         // a card's values contradict each other
  kBadSafetensors = 208,  // safetensors header or index
  kDoesNotFit = 301,      // run refused: the plan does not fit the device
  kOutOfPlan = 302,       // a take or block went over what was decided
  kStalePlan = 303,       // less free memory, or another card, than at plan time
  kRegression = 401,      // worse than the baseline
  kOutOfTolerance = 501,  // prediction and observation differ too much
  kUnsupported = 601,     // refused by name
  kUnknownFamily = 602,   // model_type is not known; names the missing fields
  kNoDevice = 701,        // the backend has no device here
  kInternal = 901,        // our bug
  kIo = 902,              // the machine failed: a read or write that should have worked
};

/// Process exit code of an error: 2 bad usage or input, 3 does not fit, 4 regression, 5 out of
/// tolerance, 6 unsupported, 7 no device, 1 everything else.
int exit_code(ErrorCode code);

class Error : public std::runtime_error {
 public:
  Error(ErrorCode code, std::string message);
  /// Names where: a file (may be empty) and a field, line, byte offset or flag.
  Error& at(std::string file, std::string field = {});
  /// Names the fix.
  Error& help(std::string text);

  ErrorCode code() const { return code_; }
  const std::string& message() const { return message_; }
  const std::string& file() const { return file_; }
  const std::string& field() const { return field_; }
  const std::string& fix() const { return help_; }
  /// error[VP0203]: message / --> file: field / help: fix. Control bytes are stripped.
  const char* what() const noexcept override { return text_.c_str(); }

 private:
  void render();
  ErrorCode code_;
  std::string message_, file_, field_, help_, text_;
};

/// Text from outside (names, paths) with control bytes and escapes removed, cut at max_length.
std::string printable(const std::string& text, std::size_t max_length = 200);

/// Stops the program, in release builds too: a broken invariant is our bug.
[[noreturn]] void check_failed(const char* condition, const char* file, int line);

}  // namespace vramplan

#define VRAMPLAN_CHECK(condition) \
  ((condition) ? (void)0 : ::vramplan::check_failed(#condition, __FILE__, __LINE__))
