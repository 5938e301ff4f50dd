#include "planner/engines/log_line.h"

#include <cctype>

namespace vramplan {
namespace {

bool is_digit(char c) { return std::isdigit(static_cast<unsigned char>(c)) != 0; }
bool is_upper(char c) { return std::isupper(static_cast<unsigned char>(c)) != 0; }

/// Where the code that begins at `at` ends; `at` itself when none begins there.
std::size_t end_of_code(const std::string& line, std::size_t at) {
  for (const char* escape : {"\x1b[", "\\u001b[", "\\u001B[", "\\x1b[", "\\033["}) {
    const std::size_t length = std::char_traits<char>::length(escape);
    if (line.compare(at, length, escape) != 0) continue;
    std::size_t end = at + length;
    while (end < line.size() && (is_digit(line[end]) || line[end] == ';')) ++end;
    return end < line.size() ? end + 1 : end;  // and the letter that says what it does
  }
  return at;
}

/// What stands behind the first `"key":` as text, its escapes read; empty when nothing does.
std::string field_text(const std::string& line, const char* key) {
  const std::string mark = "\"" + std::string(key) + "\":";
  std::size_t at = line.find(mark);
  if (at == std::string::npos) return "";
  at += mark.size();
  while (at < line.size() && line[at] == ' ') ++at;
  if (at >= line.size() || line[at] != '"') return "";
  std::string text;
  for (++at; at < line.size() && line[at] != '"'; ++at) {
    if (line[at] != '\\' || at + 1 >= line.size()) {
      text += line[at];
      continue;
    }
    const char next = line[++at];
    if (next == 'n' || next == 't' || next == 'r') {
      text += ' ';
    } else if (next == 'u') {
      text += "\\u";  // a colour code, or a letter that no number has
    } else {
      text += next;
    }
  }
  return text;
}

/// Letters and numbers as in "PP1_TP0" or "DP0 TP1": whether a number is not 0.
bool names_another(const std::string& words) {
  for (std::size_t i = 0; i + 1 < words.size(); ++i) {
    if (!is_upper(words[i]) || !is_digit(words[i + 1])) continue;
    const bool begins = i < 2 || words[i - 2] == '_' || words[i - 2] == ' ';
    if (!begins) continue;  // two letters, as all kinds of ranks have
    for (std::size_t k = i + 1; k < words.size() && is_digit(words[k]); ++k) {
      if (words[k] != '0') return true;
    }
  }
  return false;
}

/// The text between `open` and the first of `ends` behind it; empty when it is not there.
std::string between(const std::string& line, const char* open, const char* ends) {
  const std::size_t at = line.find(open);
  if (at == std::string::npos) return "";
  const std::size_t begin = at + std::char_traits<char>::length(open);
  const std::size_t end = line.find_first_of(ends, begin);
  return end == std::string::npos ? "" : line.substr(begin, end - begin);
}

/// "3" of "rank=3": whether it is a number other than 0.
bool is_other(const std::string& number) {
  return !number.empty() && is_digit(number.front()) &&
         number.find_first_not_of('0') != std::string::npos;
}

/// SGLang: "[2025-09-22 10:25:22 DP1 TP0]".
bool dated_bracket_names_another(const std::string& line) {
  const std::size_t open = line.find("[20");
  const std::size_t end = open == std::string::npos ? open : line.find(']', open);
  if (end == std::string::npos || end - open > 64 || end - open < 20) return false;
  return names_another(line.substr(open + 20, end - open - 20));
}

}  // namespace

std::string plain_line(const std::string& given) {
  std::string line;
  const std::size_t first = given.find_first_not_of(" \t");
  if (first != std::string::npos && given[first] == '{') {
    for (const char* key : {"log", "message", "msg"}) {
      if (line.empty()) line = field_text(given, key);
    }
  }
  if (line.empty()) line = given;
  std::string out;
  for (std::size_t at = 0; at < line.size();) {
    const std::size_t end = end_of_code(line, at);
    if (end > at) {
      at = end;
      continue;
    }
    if (line[at] != '\r') out += line[at];
    ++at;
  }
  return out;
}

bool of_another_rank(const std::string& line) {
  if (line.find("(VllmWorkerProcess ") != std::string::npos) return true;  // all but the driver
  if (names_another(between(line, "(Worker_", " )"))) return true;
  if (names_another(between(line, "(EngineCore_", " )"))) return true;
  if (is_other(between(line, "(EngineCore_", " )"))) return true;
  if (is_other(between(line, "(VllmWorker rank=", " )"))) return true;
  if (is_other(between(line, "(VllmWorker TP", " )"))) return true;
  if (is_other(between(line, "[RANK ", "]"))) return true;
  if (is_other(between(line, "[1,", "]"))) return true;
  return dated_bracket_names_another(line);
}

}  // namespace vramplan
