#include "modelcards/error.h"

#include <cstdio>
#include <cstdlib>
#include <utility>

namespace vramplan {

int exit_code(ErrorCode code) {
  const int hundreds = static_cast<int>(code) / 100;
  switch (hundreds) {
    case 1:
    case 2:
      return 2;
    case 3:
    case 4:
    case 5:
    case 6:
    case 7:
      return hundreds;
    default:
      return 1;
  }
}

std::string printable(const std::string& text, std::size_t max_length) {
  std::string out;
  for (const char c : text) {
    if (out.size() >= max_length) {
      out += "...";
      break;
    }
    const auto byte = static_cast<unsigned char>(c);
    out += (byte < 0x20 || byte == 0x7f) ? '?' : c;
  }
  return out;
}

Error::Error(ErrorCode code, std::string message)
    : std::runtime_error(message), code_(code), message_(printable(message, 2000)) {
  render();
}

Error& Error::at(std::string file, std::string field) {
  file_ = printable(file, 1000);
  field_ = printable(field, 1000);
  render();
  return *this;
}

Error& Error::help(std::string text) {
  help_ = printable(text, 2000);
  render();
  return *this;
}

void Error::render() {
  char head[32];
  std::snprintf(head, sizeof head, "error[VP%04d]: ", static_cast<int>(code_));
  text_ = head + message_;
  if (!file_.empty() || !field_.empty()) {
    text_ += "\n  --> " + file_ + (!file_.empty() && !field_.empty() ? ": " : "") + field_;
  }
  if (!help_.empty()) text_ += "\n  help: " + help_;
}

void check_failed(const char* condition, const char* file, int line) {
  std::fprintf(stderr, "internal error: %s:%d: %s does not hold; please report this\n", file, line,
               condition);
  std::abort();
}

}  // namespace vramplan
