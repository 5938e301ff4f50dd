#pragma once
// An error as JSON (schema vramplan.error/1), for programs that read stdout.
#include <string>

#include "cli/error_codes.h"
#include "modelcards/error.h"

namespace vramplan::cli {

std::string error_json(const Error& error);
/// What a code means (vramplan.code/1), and all of them (vramplan.codes/1).
std::string code_json(const ErrorMeaning& meaning);
std::string codes_json();
/// "VP0203"
std::string code_text(ErrorCode code);

}  // namespace vramplan::cli
