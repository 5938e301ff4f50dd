#pragma once
// ErrorCodes: what each VPnnnn means and what to do about it.
#include <string>
#include <vector>

#include "modelcards/error.h"

namespace vramplan::cli {

struct ErrorMeaning {
  ErrorCode code;
  const char* title;    // a few words
  const char* meaning;  // whole sentences: what happened, and what helps
};

const std::vector<ErrorMeaning>& error_meanings();
/// True for words that are written like a code ("VP0203", "vp0203").
bool looks_like_code(const std::string& word);
/// The page of one code. Errors: kUnknownName for a code that does not exist.
std::string explain_code(const std::string& word);
/// All codes, one a line.
std::string code_table();

}  // namespace vramplan::cli
