#include "cli/version.h"

#include "executor/environment.h"

namespace vramplan::cli {

const char* version() { return VRAMPLAN_VERSION; }

std::string commit() {
  const std::string known = this_environment("", 0).commit;
  return known.empty() ? "unknown" : known;
}

std::string version_line() {
  return std::string("vramplan ") + version() + " (commit " + commit() + ")";
}

}  // namespace vramplan::cli
