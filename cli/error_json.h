#pragma once
// An error as JSON (schema vramplan.error/1), for programs that read stdout.
#include <string>

#include "modelcards/error.h"

namespace vramplan::cli {

std::string error_json(const Error& error);
/// "VP0203"
std::string code_text(ErrorCode code);

}  // namespace vramplan::cli
