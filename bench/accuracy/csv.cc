#include "bench/accuracy/csv.h"

#include <cstdlib>

#include "modelcards/error.h"
#include "modelcards/file.h"

namespace vramplan::accuracy {
namespace {

std::vector<std::vector<std::string>> cells_of(const std::string& text) {
  std::vector<std::vector<std::string>> lines(1);
  lines.back().emplace_back();
  bool quoted = false;
  for (std::size_t i = 0; i < text.size(); ++i) {
    const char c = text[i];
    std::string& cell = lines.back().back();
    if (quoted) {
      if (c != '"') {
        cell += c;
      } else if (i + 1 < text.size() && text[i + 1] == '"') {
        cell += text[++i];
      } else {
        quoted = false;
      }
    } else if (c == '"') {
      quoted = true;
    } else if (c == ',') {
      lines.back().emplace_back();
    } else if (c == '\n') {
      lines.emplace_back();
      lines.back().emplace_back();
    } else if (c != '\r') {
      cell += c;
    }
  }
  if (lines.back().size() == 1 && lines.back().front().empty()) lines.pop_back();
  return lines;
}

}  // namespace

CsvTable read_csv(const std::string& path) {
  const auto lines = cells_of(read_text(*open_file(path), 16_MiB));
  CsvTable table;
  if (lines.empty()) return table;
  table.columns = lines.front();
  for (std::size_t i = 1; i < lines.size(); ++i) {
    if (lines[i].size() != table.columns.size()) {
      throw Error(ErrorCode::kUsage, "a row has another number of cells than the header")
          .at(path, "line " + std::to_string(i + 1));
    }
    std::map<std::string, std::string> row;
    for (std::size_t c = 0; c < lines[i].size(); ++c) row[table.columns[c]] = lines[i][c];
    table.rows.push_back(std::move(row));
  }
  return table;
}

double number(const std::map<std::string, std::string>& row, const std::string& column) {
  const std::string& text = row.at(column);
  if (text.empty()) return 0;
  char* end = nullptr;
  const double value = std::strtod(text.c_str(), &end);
  if (*end != '\0') {
    throw Error(ErrorCode::kUsage, "'" + text + "' is no number").at("", column);
  }
  return value;
}

}  // namespace vramplan::accuracy
