#include "cli/version_json.h"

#include <nlohmann/json.hpp>

#include "cli/version.h"

namespace vramplan::cli {

std::string version_json() {
  const nlohmann::json object = {
      {"schema", "vramplan.version/1"}, {"version", version()}, {"commit", commit()}};
  return object.dump(2) + "\n";
}

}  // namespace vramplan::cli
