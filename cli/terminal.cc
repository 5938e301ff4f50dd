#include "cli/terminal.h"

#include <sys/ioctl.h>
#include <unistd.h>

#include <algorithm>
#include <cstdlib>
#include <cstring>

#include <fmt/format.h>

#include "modelcards/error.h"

namespace vramplan::cli {
namespace {

bool is_set(const char* name) {
  const char* value = std::getenv(name);
  return value != nullptr && *value != '\0';
}

bool is_terminal(std::FILE* stream) {
  const char* term = std::getenv("TERM");
  return isatty(fileno(stream)) != 0 && (term == nullptr || std::strcmp(term, "dumb") != 0);
}

}  // namespace

bool colour_allowed(std::FILE* stream) {
  if (is_set("NO_COLOR")) return false;
  if (is_set("FORCE_COLOR")) return true;
  return is_terminal(stream);
}

int terminal_width(std::FILE* stream) {
  if (const char* columns = std::getenv("COLUMNS"); columns != nullptr) {
    const long width = std::strtol(columns, nullptr, 10);
    if (width >= 20 && width <= 1000) return static_cast<int>(width);
  }
  winsize size{};
  if (ioctl(fileno(stream), TIOCGWINSZ, &size) == 0 && size.ws_col >= 20) return size.ws_col;
  return 100;
}

TextOptions text_options() {
  TextOptions options;
  options.width = terminal_width(stdout);
  options.color = colour_allowed(stdout);
  // A pipe gets what a terminal of this locale would get; no locale at all means UTF-8 by now.
  for (const char* name : {"LC_ALL", "LC_CTYPE", "LANG"}) {
    if (!is_set(name)) continue;
    const std::string locale = std::getenv(name);
    const bool utf8 =
        locale.find("UTF-8") != std::string::npos || locale.find("utf8") != std::string::npos;
    options.ascii = !utf8;
    break;
  }
  return options;
}

Progress::Progress() : enabled_(is_terminal(stderr) && !is_set("CI")) {}

Progress::~Progress() { clear(); }

void Progress::show(const std::string& stage, double fraction) {
  if (!enabled_) return;
  const int percent = static_cast<int>(100.0 * std::clamp(fraction, 0.0, 1.0));
  if (percent == last_percent_ && stage == last_stage_) return;
  last_percent_ = percent;
  last_stage_ = stage;
  const int width = std::max(10, terminal_width(stderr) - 8);
  const std::string words = printable(stage, static_cast<std::size_t>(width));
  fmt::print(stderr, "\r\x1b[K{:3d} %  {}", percent, words);
  std::fflush(stderr);
  drawn_ = true;
}

void Progress::clear() {
  if (!drawn_) return;
  fmt::print(stderr, "\r\x1b[K");
  std::fflush(stderr);
  drawn_ = false;
}

}  // namespace vramplan::cli
