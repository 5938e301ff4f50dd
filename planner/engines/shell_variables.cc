#include "planner/engines/shell_variables.h"

#include <fmt/format.h>

#include "modelcards/error.h"

namespace vramplan {
namespace {

constexpr int kDeepest = 8;
constexpr std::size_t kLongestValue = 64 * 1024;

bool starts_name(char c) { return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || c == '_'; }
bool in_name(char c) { return starts_name(c) || (c >= '0' && c <= '9'); }

std::string unknown(const std::string& text) { return kUnknownMark + text + kUnknownMark; }

/// Index of the bracket that closes the one at text[at].
std::size_t closing(const std::string& text, std::size_t at) {
  const char open = text[at], close = open == '(' ? ')' : '}';
  int depth = 0;
  for (std::size_t i = at; i < text.size(); ++i) {
    if (text[i] == '\\') {
      ++i;
    } else if (text[i] == open) {
      ++depth;
    } else if (text[i] == close && --depth == 0) {
      return i;
    }
  }
  throw Error(ErrorCode::kUsage, fmt::format("a '${}' is never closed", open))
      .at("command line")
      .help("close it");
}

}  // namespace

bool is_variable_name(const std::string& text) {
  if (text.empty() || !starts_name(text.front())) return false;
  for (const char c : text) {
    if (!in_name(c)) return false;
  }
  return true;
}

std::string VariableReader::named(const std::string& name) const {
  const auto found = known_.find(name);
  return found == known_.end() ? unknown("$" + name) : found->second;
}

std::string VariableReader::braced(const std::string& inside, int depth) const {
  std::size_t end = 0;
  while (end < inside.size() && in_name(inside[end])) ++end;
  const std::string name = inside.substr(0, end), rest = inside.substr(end);
  if (!is_variable_name(name)) return unknown("${" + inside + "}");
  if (rest.empty()) return named(name);
  const auto found = known_.find(name);
  const bool colon = rest.front() == ':';
  const char kind = rest.size() > (colon ? 1u : 0u) ? rest[colon ? 1 : 0] : ' ';
  const std::string word = rest.substr(std::min<std::size_t>(rest.size(), colon ? 2 : 1));
  const bool set = found != known_.end() && !(colon && found->second.empty());
  if (kind == '-' || kind == '=') return set ? found->second : filled(word, depth + 1);
  if (kind == '?' && set) return found->second;
  if (kind == '+' && set) return filled(word, depth + 1);
  return unknown("${" + inside + "}");
}

std::string VariableReader::value(const std::string& text, std::size_t& at, int depth) const {
  if (depth > kDeepest) {
    throw Error(ErrorCode::kUnsupported, "variables inside variables, more than 8 deep")
        .at("command line")
        .help("write the values out");
  }
  const std::size_t next = at + 1;
  if (next >= text.size()) return "$";
  std::string out;
  if (text[next] == '{' || text[next] == '(') {
    const std::size_t end = closing(text, next);
    const std::string inside = text.substr(next + 1, end - next - 1);
    out = text[next] == '{' ? braced(inside, depth) : unknown("$(" + inside + ")");
    at = end;
  } else if (starts_name(text[next])) {
    std::size_t end = next;
    while (end < text.size() && in_name(text[end])) ++end;
    out = named(text.substr(next, end - next));
    at = end - 1;
  } else if (std::string("@*#?$!-0123456789").find(text[next]) != std::string::npos) {
    out = unknown(text.substr(at, 2));
    at = next;
  } else {
    return "$";
  }
  if (out.size() <= kLongestValue) return out;
  throw Error(ErrorCode::kUsage, "a variable holds more than 64 KiB")
      .at("command line")
      .help("give the plain command");
}

std::string VariableReader::filled(const std::string& text, int depth) const {
  std::string out;
  for (std::size_t at = 0; at < text.size(); ++at) {
    if (text[at] == '$') {
      out += value(text, at, depth);
    } else {
      out += text[at];
    }
    if (out.size() > kMostFilled) {
      throw Error(ErrorCode::kUsage, "more than 4 MiB of text after variables are filled in")
          .at("command line")
          .help("give the plain command");
    }
  }
  return out;
}

bool holds_unknown(const std::string& word) { return word.find(kUnknownMark) != std::string::npos; }

std::string unknown_in(const std::string& word) {
  const std::size_t begin = word.find(kUnknownMark);
  if (begin == std::string::npos) return "";
  return word.substr(begin + 1, word.find(kUnknownMark, begin + 1) - begin - 1);
}

std::string filled_by_kubelet(const std::string& word, const Variables& known, bool marks) {
  std::string out;
  for (std::size_t at = 0; at < word.size(); ++at) {
    if (word.compare(at, 2, "$$") == 0) {
      out += word[at++];
      continue;
    }
    const std::size_t end = word.compare(at, 2, "$(") == 0 ? word.find(')', at) : std::string::npos;
    const std::string name = end == std::string::npos ? "" : word.substr(at + 2, end - at - 2);
    const auto found = known.find(name);
    if (found == known.end() && !(marks && is_variable_name(name))) {
      out += word[at];
      continue;
    }
    out += found == known.end() ? unknown("$(" + name + ")") : found->second;
    at = end;
  }
  return out;
}

std::string filled_by_compose(const std::string& word, const Variables& known) {
  const VariableReader reader(known);
  std::string out;
  for (std::size_t at = 0; at < word.size(); ++at) {
    if (word.compare(at, 2, "$$") == 0) {
      out += word[at++];
    } else if (word[at] == '$' && word.compare(at, 2, "$(") != 0) {
      out += reader.value(word, at);
    } else {
      out += word[at];
    }
  }
  return out;
}

}  // namespace vramplan
