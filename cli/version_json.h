#pragma once
#include <string>

namespace vramplan::cli {
std::string version_json();  // schema vramplan.version/1
}
