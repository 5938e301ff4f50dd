#include "reports/listing.h"

#include <fmt/format.h>
#include <fmt/ranges.h>

#include "modelcards/yaml.h"
#include "modelcards/yaml_text.h"
#include "reports/escape.h"
#include "reports/plan_csv.h"

namespace vramplan {

std::string listing_markdown(const Listing& listing) {
  std::string text = fmt::format("| {} |\n|", fmt::join(listing.columns, " | "));
  for (std::size_t i = 0; i < listing.columns.size(); ++i) text += "---|";
  for (const auto& row : listing.rows) {
    text += "\n|";
    for (const std::string& cell : row) text += " " + markdown_text(cell) + " |";
  }
  return text + "\n";
}

std::string listing_csv(const Listing& listing) {
  std::string text = fmt::format("{}\n", fmt::join(listing.columns, ","));
  for (const auto& row : listing.rows) {
    std::vector<std::string> cells;
    for (const std::string& cell : row) cells.push_back(csv_cell(cell));
    text += fmt::format("{}\n", fmt::join(cells, ","));
  }
  return text;
}

std::string listing_yaml(const Listing& listing) {
  std::string text = listing.name + ":\n";
  for (const auto& row : listing.rows) {
    for (std::size_t i = 0; i < row.size(); ++i) {
      const std::string value = row[i].empty()           ? "null"
                                : is_json_number(row[i]) ? row[i]
                                                         : yaml_quoted(row[i]);
      text += fmt::format("{}{}: {}\n", i == 0 ? "- " : "  ", listing.columns[i], value);
    }
  }
  return text;
}

}  // namespace vramplan
