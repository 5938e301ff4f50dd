#pragma once
// Version: which program this is. The commit is "unknown" outside a checkout, and ends in "-dirty"
// when the tree had changes.
#include <string>

namespace vramplan::cli {

const char* version();       // 0.1.0
std::string commit();        // short hash
std::string version_line();  // "vramplan 0.1.0 (commit 1234abcd)"

}  // namespace vramplan::cli
