#include "cli/error_codes.h"

#include <algorithm>
#include <cctype>

#include <fmt/format.h>

#include "cli/error_json.h"

namespace vramplan::cli {

const std::vector<ErrorMeaning>& error_meanings() {
  static const std::vector<ErrorMeaning> kMeanings = {
      {ErrorCode::kUsage, "wrong flag or argument",
       "The command line asks for something that does not exist or contradicts itself. The error\n"
       "names the flag and, where one is close, the flag that was probably meant."},
      {ErrorCode::kUnknownName, "no such model, device or subcommand",
       "The name is neither a card nor a file. 'vramplan models' and 'vramplan devices' list the\n"
       "cards; a GGUF file or a folder with config.json is given by its path."},
      {ErrorCode::kBadYaml, "YAML file not accepted",
       "A card or plan file has a syntax error, a key nobody knows, a value of the wrong type or\n"
       "out of range, or uses anchors. The error names file, line and field."},
      {ErrorCode::kBadJson, "JSON file not accepted",
       "The file is no JSON, is too deep or too large, or holds a number that does not fit."},
      {ErrorCode::kBadGguf, "GGUF file not accepted",
       "The header is cut off, or states counts, lengths or offsets that the file cannot hold. No\n"
       "such number is believed and nothing is allocated from it. Download the file again; if it\n"
       "loads in other programs, please report it with the output of 'vramplan explain FILE'."},
      {ErrorCode::kBadConfig, "config.json is missing something",
       "A field that decides bytes is absent or contradicts another. '--set path=value' gives a\n"
       "value by hand."},
      {ErrorCode::kFile, "file missing or unreadable",
       "The path does not exist, may not be read or written, or is no regular file."},
      {ErrorCode::kOverflow, "a quantity leaves 64 bits",
       "Card, context, batch and counts multiply to more than 2^63. One of them is far too large;\n"
       "nothing was allocated."},
      {ErrorCode::kBadCard, "a card contradicts itself",
       "For example heads that kv_heads does not divide, a row that is no multiple of the weight\n"
       "format's block, or a size of zero. The error names the field."},
      {ErrorCode::kBadSafetensors, "safetensors header not accepted",
       "The header of a safetensors file or its index is cut off, too large or contradictory."},
      {ErrorCode::kDoesNotFit, "run refused: the plan does not fit",
       "The prediction is larger than the device. Nothing was taken. 'vramplan plan' shows the\n"
       "missing bytes and the cheapest changes that would help."},
      {ErrorCode::kOutOfPlan, "a take went over what was decided",
       "During a run a tensor or KV block was asked for that the capacity does not hold. The run\n"
       "stopped there and gave back what it had."},
      {ErrorCode::kStalePlan, "the plan is no longer true",
       "The model's card is another one than at plan time, or less memory is free. Plan again."},
      {ErrorCode::kRegression, "worse than the baseline",
       "A value of the run is worse than in the baseline by more than its tolerance."},
      {ErrorCode::kOutOfTolerance, "prediction and observation differ too much",
       "At least one row that counts is outside its tolerance. Rows marked 'under' are the\n"
       "dangerous ones: more was used than was predicted."},
      {ErrorCode::kUnsupported, "refused by name",
       "The model or the request needs something that is not implemented. It is named, and never\n"
       "approximated."},
      {ErrorCode::kUnknownFamily, "unknown model family",
       "The model_type or architecture is not known, so its formulas are not known either. A "
       "model\n"
       "card written by hand (see 'vramplan schema model-card') can describe it."},
      {ErrorCode::kNoDevice, "no device for this backend",
       "The backend needs a device that this machine, or this build of the program, does not "
       "have.\n"
       "'--backend dry' runs the same scheduler and block pool without one."},
      {ErrorCode::kInternal, "our bug",
       "Something happened that must not. Please report the command line and the output."},
      {ErrorCode::kIo, "the machine failed",
       "A read, write or allocation that should have worked did not: a full or failing disk, or\n"
       "memory taken by other programs."},
  };
  return kMeanings;
}

bool looks_like_code(const std::string& word) {
  if (word.size() != 6) return false;
  const auto upper = [&](std::size_t i) {
    return std::toupper(static_cast<unsigned char>(word[i]));
  };
  if (upper(0) != 'V' || upper(1) != 'P') return false;
  return std::all_of(word.begin() + 2, word.end(),
                     [](unsigned char c) { return std::isdigit(c) != 0; });
}

const ErrorMeaning& meaning_of(const std::string& word) {
  const int number = std::stoi(word.substr(2));
  for (const auto& entry : error_meanings()) {
    if (static_cast<int>(entry.code) == number) return entry;
  }
  throw Error(ErrorCode::kUnknownName, fmt::format("no error code {}", printable(word)))
      .help("'vramplan explain codes' lists them all");
}

std::string code_page(const ErrorMeaning& meaning) {
  return fmt::format("{}: {} (exit code {})\n\n{}\n", code_text(meaning.code), meaning.title,
                     exit_code(meaning.code), meaning.meaning);
}

std::string code_table() {
  std::string text = "code    exit  meaning\n";
  for (const auto& entry : error_meanings()) {
    text +=
        fmt::format("{}  {:4}  {}\n", code_text(entry.code), exit_code(entry.code), entry.title);
  }
  return text;
}

}  // namespace vramplan::cli
