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
/// Errors: kUnknownName for a code that does not exist.
const ErrorMeaning& meaning_of(const std::string& word);
/// The page of one code.
std::string code_page(const ErrorMeaning& meaning);
/// All codes, one a line.
std::string code_table();

}  // namespace vramplan::cli
