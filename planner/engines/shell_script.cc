#include "planner/engines/shell_script.h"

#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <cstring>
#include <set>

#include "modelcards/error.h"
#include "planner/engines/command.h"
#include "planner/engines/shell_variables.h"

namespace vramplan {
namespace {

constexpr int kDeepestShell = 3;

[[noreturn]] void refuse(ErrorCode code, const std::string& message, const char* help) {
  throw Error(code, message).at("command line").help(help);
}

/// One step and the first piece of syntax in it that is not read.
struct Step {
  std::vector<std::string> words;
  std::string syntax;
};

/// Words that begin steps only a shell can follow.
bool is_control(const std::string& word) {
  constexpr std::array kWords = {"if",       "then",  "else", "elif", "fi",    "for",
                                 "while",    "until", "do",   "done", "case",  "esac",
                                 "function", "{",     "}",    "!",    "select"};
  return std::find(kWords.begin(), kWords.end(), word) != kWords.end();
}

/// Programs that name an engine without starting it.
bool only_names(const std::vector<std::string>& words) {
  constexpr std::array kPrograms = {"echo",  "printf", "which", "type", "command", "pip", "pip3",
                                    "apt",   "ls",     "test",  "[",    "[[",      "cat", "cp",
                                    "chmod", "pkill",  "kill",  "curl", "wget",    "uv",  "hash",
                                    "ln",    "mv",     "rm",    "apk",  "apt-get"};
  const std::string& first = words.front();
  if (std::find(kPrograms.begin(), kPrograms.end(), first) != kPrograms.end()) {
    return first != "uv" || words.size() < 2 || words[1] != "run";
  }
  const bool container = first == "docker" || first == "podman" || first == "nerdctl";
  return container && std::find(words.begin(), words.end(), "run") == words.end();
}

/// Splits a script into steps and hands each to `take`, which may set variables for the next.
class Splitter {
 public:
  Splitter(const std::string& text, Variables& known) : text_(text), known_(known) {}

  template <class Take>
  void run(const Take& take) {
    for (at_ = 0; at_ <= text_.size(); ++at_) {
      const bool ends = at_ == text_.size() || step(text_[at_]);
      if (!ends) continue;
      finish();
      if (!step_.words.empty() || !step_.syntax.empty()) take(step_);
      step_ = {};
    }
  }

 private:
  /// One character; true when it ends the step.
  bool step(char c) {
    if (c == '\'') return single(), false;
    if (c == '"') return twice(), false;
    if (c == '\\') return escaped(), false;
    if (c == ' ' || c == '\t' || c == '\r') return finish(), false;
    if (c == '\n' || c == ';') return true;
    if (c == '#' && !open_) return comment(), false;
    if (c == '$') return variable(), false;
    if (c == '&') return ampersand();
    if (c == '(' || c == ')') {
      refuse(ErrorCode::kUnsupported, "functions, arrays and subshells of a script are not read",
             "give the step that starts the engine");
    }
    if (text_.compare(at_, 2, "<<") == 0) {
      refuse(ErrorCode::kUnsupported, "a here document of a script is not read",
             "give the step that starts the engine");
    }
    if (std::strchr("|<>`", c) != nullptr) return syntax(c), false;
    add(c);
    return false;
  }

  void add(char c) {
    word_ += c;
    open_ = true;
    count(1);
  }
  void count(std::size_t bytes) {
    filled_ += bytes;
    if (filled_ <= kMostFilled) return;
    refuse(ErrorCode::kUsage, "more than 4 MiB of text after variables are filled in",
           "give the plain command");
  }
  void syntax(char c) {
    finish();
    if (step_.syntax.empty()) step_.syntax = std::string(1, c);
  }
  /// "&&" ends a step; "&" alone sends it to the background, or belongs to ">&".
  bool ampersand() {
    if (text_.compare(at_, 2, "&&") == 0) return ++at_, true;
    const bool redirects = at_ > 0 && text_[at_ - 1] == '>';
    syntax('&');
    return !redirects && text_.compare(at_, 2, "&>") != 0;
  }
  void finish() {
    if (open_) step_.words.push_back(word_);
    word_.clear();
    open_ = false;
  }
  void comment() {
    while (at_ + 1 < text_.size() && text_[at_ + 1] != '\n') ++at_;
  }
  void escaped() {
    if (at_ + 1 >= text_.size()) {
      refuse(ErrorCode::kUsage, "the line ends in a backslash", "complete the line");
    }
    const char next = text_[++at_];
    if (next == '\r' && at_ + 1 < text_.size() && text_[at_ + 1] == '\n') {
      ++at_;
    } else if (next != '\n') {
      add(next);
    }
  }
  void single() {
    open_ = true;
    for (++at_; at_ < text_.size() && text_[at_] != '\''; ++at_) add(text_[at_]);
    if (at_ >= text_.size()) refuse(ErrorCode::kUsage, "a quote is never closed", "close it");
  }
  void twice() {
    open_ = true;
    for (++at_; at_ < text_.size() && text_[at_] != '"'; ++at_) {
      if (text_[at_] == '$') {
        const std::string value = VariableReader(known_).value(text_, at_);
        count(value.size());
        word_ += value;
        continue;
      }
      const bool escape = text_[at_] == '\\' && at_ + 1 < text_.size() &&
                          std::strchr("\"\\$`\n", text_[at_ + 1]) != nullptr;
      if (escape && text_[++at_] == '\n') continue;
      add(text_[at_]);
    }
    if (at_ >= text_.size()) refuse(ErrorCode::kUsage, "a quote is never closed", "close it");
  }
  /// Outside quotes a value falls into words, except in "NAME=$VALUE" and where it is not known.
  void variable() {
    const std::string value = VariableReader(known_).value(text_, at_);
    count(value.size());
    const std::size_t equals = word_.find('=');
    const bool whole = holds_unknown(value) ||
                       (equals != std::string::npos && is_variable_name(word_.substr(0, equals)));
    for (const char c : value) {
      if (!whole && (c == ' ' || c == '\t' || c == '\n')) {
        finish();
      } else {
        word_ += c;
        open_ = true;
      }
    }
  }

  const std::string& text_;
  Variables& known_;
  std::size_t at_ = 0, filled_ = 0;
  std::string word_;
  bool open_ = false;
  Step step_;
};

/// "NAME=value" as its two halves, or an empty name.
std::pair<std::string, std::string> assignment(const std::string& word) {
  const std::size_t equals = word.find('=');
  if (equals == std::string::npos || !is_variable_name(word.substr(0, equals))) return {};
  return {word.substr(0, equals), word.substr(equals + 1)};
}

/// The script of "/bin/sh -c SCRIPT".
std::string script_of(const std::vector<std::string>& words) {
  for (std::size_t i = 0; i + 2 < words.size(); ++i) {
    const std::string name = words[i].substr(words[i].rfind('/') + 1);
    if (name != "sh" && name != "bash" && name != "dash" && name != "ash") continue;
    for (std::size_t k = i + 1; k + 1 < words.size() && k < i + 5; ++k) {
      const std::string& flag = words[k];
      const bool letters =
          flag.size() > 1 && flag[0] == '-' &&
          flag.find_first_not_of("abcdefghijklmnopqrstuvwxyz", 1) == std::string::npos;
      if (letters && flag.find('c') != std::string::npos) return words[k + 1];
    }
  }
  return "";
}

class Script {
 public:
  Script(const Variables& environment, int depth) : known_(environment), depth_(depth) {
    for (const auto& [name, value] : environment) exported_.insert(name);
  }

  EngineStep run(const std::string& text) {
    if (holds_unknown(text)) {
      refuse(ErrorCode::kUsage, "a control character stands in the script", "take it out");
    }
    Splitter(text, known_).run([&](const Step& step) { take(step); });
    return std::move(engine_);
  }
  EngineStep run(std::vector<std::string> words) {
    take({std::move(words), ""});
    return std::move(engine_);
  }

 private:
  void take(const Step& step) {
    if (step.words.empty()) return;
    const std::string& first = step.words.front();
    if (is_control(first)) {
      refuse(ErrorCode::kUnsupported,
             fmt::format("'{}' of a script is not followed: which step runs is not known", first),
             "give the step that starts the engine");
    }
    if (first.size() > 1 && first.front() == '-') {
      refuse(ErrorCode::kUsage, fmt::format("a line begins with the flag '{}'", printable(first)),
             "end the line before it with a backslash");
    }
    if (assigns(step.words) || only_names(step.words)) return;
    const EngineStep inner = shell(step);
    if (inner.words.empty()) return;
    if (!step.syntax.empty()) {
      refuse(ErrorCode::kUsage,
             fmt::format("'{}' outside quotes is shell syntax that is not read", step.syntax),
             "give one plain command, without pipes or substitutions");
    }
    if (found_) {
      refuse(ErrorCode::kUsage, "more than one step starts an engine", "give the one to predict");
    }
    found_ = true;
    engine_ = inner;
  }

  /// The engine's words of a step, through shells that it starts; empty when it starts none.
  EngineStep shell(const Step& step) const {
    Variables exported;
    for (const auto& [name, value] : known_) {
      if (exported_.count(name) > 0) exported[name] = value;
    }
    const std::string script = script_of(step.words);
    if (script.empty()) {
      return {starts_engine(step.words) ? step.words : std::vector<std::string>{}, exported};
    }
    if (depth_ >= kDeepestShell) {
      refuse(ErrorCode::kUnsupported, "shells inside shells, more than 3 deep",
             "give the step that starts the engine");
    }
    // Another shell splits the text again, where a mark of ours would be a control character.
    if (holds_unknown(script)) {
      throw Error(ErrorCode::kUsage,
                  fmt::format("the value of {} is not written here", printable(unknown_in(script))))
          .at("command line")
          .help("write the value, or give the script itself");
    }
    return Script(exported, depth_ + 1).run(script);
  }

  /// Takes "A=b", "export A=b", "unset A"; false for any other step.
  bool assigns(const std::vector<std::string>& words) {
    const bool exports = words[0] == "export" || words[0] == "readonly" || words[0] == "declare";
    if (words[0] == "unset") {
      for (const std::string& name : words) known_.erase(name);
      return true;
    }
    if (!exports) {
      for (const std::string& word : words) {
        if (assignment(word).first.empty()) return false;
      }
    }
    for (const std::string& word : words) {
      const auto [name, value] = assignment(word);
      if (!name.empty()) known_[name] = value;
      if (exports) exported_.insert(name.empty() ? word : name);
    }
    return true;
  }

  Variables known_;
  std::set<std::string> exported_;
  int depth_;
  bool found_ = false;
  EngineStep engine_;
};

}  // namespace

EngineStep engine_step(const std::string& script, const Variables& environment) {
  return Script(environment, 0).run(script);
}

std::vector<std::string> filled_by_kubelet(std::vector<std::string> words, const Variables& known) {
  const bool marks = script_of(words).empty();
  for (std::string& word : words) word = filled_by_kubelet(word, known, marks);
  return words;
}

EngineStep engine_step(std::vector<std::string> words, const Variables& environment) {
  return Script(environment, 0).run(std::move(words));
}

}  // namespace vramplan
