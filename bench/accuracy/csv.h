#pragma once
// CsvTable: rows of a comma-separated file by column name, with quoted cells.
#include <map>
#include <string>
#include <vector>

namespace vramplan::accuracy {

struct CsvTable {
  std::vector<std::string> columns;
  std::vector<std::map<std::string, std::string>> rows;
};
/// Errors: kFile, kUsage for a row with another number of cells than the first.
CsvTable read_csv(const std::string& path);
/// The cell as a number; 0 when empty. Errors: kUsage.
double number(const std::map<std::string, std::string>& row, const std::string& column);

}  // namespace vramplan::accuracy
