// Shell words: quoting and splitting, one writer and one reader for every command line.
#include <fmt/format.h>

#include "modelcards/error.h"
#include "planner/engines/command.h"

namespace vramplan {
namespace {

[[noreturn]] void refuse(const std::string& message, const char* help) {
  throw Error(ErrorCode::kUsage, message).at("command line").help(help);
}

bool is_plain(char c) {
  const bool letter = (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9');
  return letter || std::string("_-./:=,@%+").find(c) != std::string::npos;
}

class Splitter {
 public:
  explicit Splitter(const std::string& text) : text_(text) {}

  std::vector<std::string> run() {
    for (at_ = 0; at_ < text_.size(); ++at_) step(text_[at_]);
    finish();
    return std::move(words_);
  }

 private:
  void step(char c) {
    if (c == '\'') return quoted('\'');
    if (c == '"') return quoted('"');
    if (c == '\\') return escaped();
    if (c == ' ' || c == '\t' || c == '\n' || c == '\r') return finish();
    if (c == '#' && !open_) return comment();
    if (std::string("|;&<>`").find(c) != std::string::npos ||
        (c == '$' && text_.compare(at_, 2, "$(") == 0)) {
      refuse(fmt::format("'{}' outside quotes is shell syntax that is not read", c),
             "give one plain command, without pipes or substitutions");
    }
    add(c);
  }

  void add(char c) {
    word_ += c;
    open_ = true;
  }
  void finish() {
    if (open_) words_.push_back(word_);
    word_.clear();
    open_ = false;
  }
  void comment() {
    while (at_ + 1 < text_.size() && text_[at_ + 1] != '\n') ++at_;
  }
  void escaped() {
    if (at_ + 1 >= text_.size()) refuse("the line ends in a backslash", "complete the line");
    const char next = text_[++at_];
    if (next == '\r' && at_ + 1 < text_.size() && text_[at_ + 1] == '\n') {
      ++at_;
      return;
    }
    if (next != '\n') add(next);
  }
  void quoted(char mark) {
    open_ = true;
    for (++at_; at_ < text_.size() && text_[at_] != mark; ++at_) {
      const bool escape = mark == '"' && text_[at_] == '\\' && at_ + 1 < text_.size() &&
                          std::string("\"\\$`\n").find(text_[at_ + 1]) != std::string::npos;
      if (escape) ++at_;
      word_ += text_[at_];
    }
    if (at_ >= text_.size()) refuse("a quote is never closed", "close it");
  }

  const std::string& text_;
  std::size_t at_ = 0;
  std::string word_;
  bool open_ = false;
  std::vector<std::string> words_;
};

}  // namespace

std::string shell_quoted(const std::string& word) {
  bool plain = !word.empty();
  for (const char c : word) plain = plain && is_plain(c);
  if (plain) return word;
  std::string out = "'";
  for (const char c : word) {
    if (c == '\'') {
      out += "'\\''";
    } else {
      out += c;
    }
  }
  return out + "'";
}

std::vector<std::string> shell_words(const std::string& text) { return Splitter(text).run(); }

std::vector<std::string> words_of(const EngineCommand& command) {
  std::vector<std::string> words = command.program;
  for (const EngineFlag& flag : command.flags) {
    words.push_back(flag.name);
    if (!flag.value.empty()) words.push_back(flag.value);
  }
  return words;
}

std::string shell_text(const EngineCommand& command) {
  std::string out;
  for (const std::string& word : command.program) {
    out += (out.empty() ? "" : " ") + shell_quoted(word);
  }
  for (const EngineFlag& flag : command.flags) {
    out += " \\\n  " + flag.name;
    if (!flag.value.empty()) out += " " + shell_quoted(flag.value);
  }
  return out + "\n";
}

}  // namespace vramplan
