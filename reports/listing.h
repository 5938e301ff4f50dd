#pragma once
// Listing: rows of text under column names, as Markdown, CSV or YAML. The terminal's table is
// TextTable's, JSON has schemas of its own.
#include <string>
#include <vector>

namespace vramplan {

struct Listing {
  std::string name;                  // of the list in YAML
  std::vector<std::string> columns;  // lower case, as keys
  std::vector<std::vector<std::string>> rows;
};

std::string listing_markdown(const Listing& listing);
std::string listing_csv(const Listing& listing);
/// A list of maps; what is no JSON number is quoted where a tool could read it as something else,
/// and an empty cell (a card does not say) is null.
std::string listing_yaml(const Listing& listing);

}  // namespace vramplan
