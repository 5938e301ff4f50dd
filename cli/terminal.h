#pragma once
// Terminal: what may be drawn where. Progress is for people: stderr, only on a terminal, not in CI.
#include <cstdio>
#include <functional>
#include <string>

#include "reports/text_table.h"

namespace vramplan::cli {

/// Colour on this stream: a terminal that is not "dumb", and NO_COLOR empty or unset. FORCE_COLOR
/// wins.
bool colour_allowed(std::FILE* stream);
/// Columns of the terminal: COLUMNS, then the kernel's answer, then 100.
int terminal_width(std::FILE* stream);
/// How text on stdout may look: width, colour, and ASCII outside a UTF-8 locale.
TextOptions text_options();

/// One line on stderr, rewritten in place; does nothing unless stderr is a terminal and CI is
/// unset.
class Progress {
 public:
  Progress();
  ~Progress();
  Progress(const Progress&) = delete;
  Progress& operator=(const Progress&) = delete;
  void show(const std::string& stage, double fraction);
  void clear();

 private:
  bool enabled_;
  bool drawn_ = false;
  int last_percent_ = -1;
  std::string last_stage_;
};

}  // namespace vramplan::cli
