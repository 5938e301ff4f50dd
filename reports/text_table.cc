#include "reports/text_table.h"

#include <algorithm>
#include <charconv>
#include <cmath>
#include <cstring>

#include "modelcards/error.h"
#include "reports/escape.h"

namespace vramplan {
namespace {

constexpr int kGap = 2;

/// At most `columns` characters; the last one says that something is missing.
std::string cut(const std::string& text, int columns, bool ascii) {
  if (text_columns(text) <= columns) return text;
  std::string out;
  int used = 0;
  for (const char c : text) {
    const bool starts = (static_cast<unsigned char>(c) & 0xc0) != 0x80;
    if (starts && ++used >= columns) break;
    out += c;
  }
  return out + (ascii ? "~" : "\u2026");
}

}  // namespace

int width_from(const char* columns) {
  int width = 0;
  if (columns == nullptr) return 100;
  const char* end = columns + std::strlen(columns);
  const auto [rest, status] = std::from_chars(columns, end, width);
  if (status != std::errc() || rest != end || width <= 0) return 100;
  return std::clamp(width, 40, 400);
}

std::string ink(const std::string& text, Ink color, const TextOptions& options) {
  static constexpr const char* kCodes[] = {"0", "32", "31", "33", "2", "1"};
  if (!options.color || color == Ink::kPlain || text.empty()) return text;
  return std::string("\x1b[") + kCodes[static_cast<int>(color)] + "m" + text + "\x1b[0m";
}

std::string bar(double share, int columns, const TextOptions& options) {
  static constexpr const char* kEighths[] = {"",       "\u258f", "\u258e", "\u258d",
                                             "\u258c", "\u258b", "\u258a", "\u2589"};
  if (!std::isfinite(share) || share <= 0 || columns <= 0) return "";
  std::string out;
  if (share > 1) {
    for (int i = 1; i < columns; ++i) out += options.ascii ? "#" : "\u2588";
    return out + ">";
  }
  const int eighths = std::max(1, static_cast<int>(std::lround(share * columns * 8)));
  if (options.ascii) return std::string(static_cast<std::size_t>((eighths + 7) / 8), '#');
  for (int i = 0; i < eighths / 8; ++i) out += "\u2588";
  return out + kEighths[eighths % 8];
}

std::string wrapped(const std::string& text, int indent, const TextOptions& options) {
  const std::string margin(static_cast<std::size_t>(indent), ' ');
  std::string out, line;
  std::size_t at = 0;
  while (at < text.size()) {
    const std::size_t end = std::min(text.find(' ', at), text.size());
    const std::string word = text.substr(at, end - at);
    if (!line.empty() && indent + text_columns(line) + 1 + text_columns(word) > options.width) {
      out += (out.empty() ? "" : "\n" + margin) + line;
      line.clear();
    }
    line += (line.empty() ? "" : " ") + word;
    at = end + 1;
  }
  return out + (out.empty() ? "" : "\n" + margin) + line;
}

TextTable::TextTable(std::vector<Column> columns, TextOptions options)
    : columns_(std::move(columns)), options_(options) {}

void TextTable::add(std::vector<std::string> cells, Ink color) {
  VRAMPLAN_CHECK(cells.size() == columns_.size());
  lines_.push_back({std::move(cells), color, false});
}

void TextTable::add_rule() { lines_.push_back({{}, Ink::kDim, true}); }

std::string TextTable::render(int indent) const {
  std::vector<int> widths;
  for (std::size_t c = 0; c < columns_.size(); ++c) {
    int width = text_columns(columns_[c].title);
    for (const Line& line : lines_) {
      if (!line.rule) width = std::max(width, text_columns(line.cells[c]));
    }
    widths.push_back(width);
  }
  std::vector<bool> shown(columns_.size(), true);
  const auto total = [&] {
    int sum = indent - kGap;
    for (std::size_t c = 0; c < columns_.size(); ++c) sum += shown[c] ? widths[c] + kGap : 0;
    return sum;
  };
  while (total() > options_.width) {
    int worst = 0;
    std::size_t victim = 0;
    for (std::size_t c = 0; c < columns_.size(); ++c) {
      if (shown[c] && columns_[c].drop > worst) {
        worst = columns_[c].drop;
        victim = c;
      }
    }
    if (worst == 0) break;
    shown[victim] = false;
  }
  const std::string margin(static_cast<std::size_t>(indent), ' ');
  const auto one = [&](const std::vector<std::string>& cells) {
    std::string line;
    for (std::size_t c = 0; c < columns_.size(); ++c) {
      if (!shown[c]) continue;
      const std::string pad(static_cast<std::size_t>(widths[c] - text_columns(cells[c])), ' ');
      if (!line.empty()) line += std::string(kGap, ' ');
      line += columns_[c].right ? pad + cells[c] : cells[c] + pad;
    }
    while (!line.empty() && line.back() == ' ') line.pop_back();
    return margin + cut(line, options_.width - indent, options_.ascii);
  };
  std::vector<std::string> titles;
  for (const Column& column : columns_) titles.push_back(column.title);
  std::string out = ink(one(titles), Ink::kDim, options_) + "\n";
  for (const Line& line : lines_) {
    if (line.rule) {
      std::string rule = margin;
      for (int i = indent; i < std::min(total(), options_.width); ++i) {
        rule += options_.ascii ? "-" : "\u2500";
      }
      out += ink(rule, Ink::kDim, options_) + "\n";
    } else {
      out += ink(one(line.cells), line.color, options_) + "\n";
    }
  }
  return out;
}

}  // namespace vramplan
