#pragma once
// TextTable: aligned columns for a terminal. When the line is too narrow the column with the
// highest `drop` goes first; a table that is still too wide is cut at the line's end.
#include <string>
#include <vector>

namespace vramplan {

struct TextOptions {
  int width = 100;     // columns of the terminal
  bool ascii = false;  // nothing above 0x7e
  bool color = false;
};

/// From the value of COLUMNS (may be null): 40 to 400, 100 when it is no number.
int width_from(const char* columns);

enum class Ink { kPlain, kGood, kBad, kWarn, kDim, kBold };
/// Text in colour when options say so; a word always says the same as the colour.
std::string ink(const std::string& text, Ink color, const TextOptions& options);

/// share of `columns` filled: "████▌     " or "####      " in ASCII; a share above 1 fills it all
/// and ends in '>'; any share above 0 shows.
std::string bar(double share, int columns, const TextOptions& options);

/// Whole words, every line at most `options.width`, lines after the first indented.
std::string wrapped(const std::string& text, int indent, const TextOptions& options);

class TextTable {
 public:
  struct Column {
    std::string title;
    bool right = false;
    int drop = 0;  // 0 = never dropped
  };
  TextTable(std::vector<Column> columns, TextOptions options);
  void add(std::vector<std::string> cells, Ink color = Ink::kPlain);
  void add_rule();
  std::string render(int indent = 2) const;

 private:
  struct Line {
    std::vector<std::string> cells;
    Ink color = Ink::kPlain;
    bool rule = false;
  };
  std::vector<Column> columns_;
  TextOptions options_;
  std::vector<Line> lines_;
};

}  // namespace vramplan
