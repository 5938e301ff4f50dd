#pragma once
// SearchReport: the result of a search as table, JSON (schema vramplan.search/1), YAML, CSV and
// Markdown.
#include <string>

#include "planner/search.h"
#include "reports/text_table.h"

namespace vramplan {

std::string search_json(const SearchResult& result, const SearchRequest& request,
                        const StrategySpace& space);
std::string search_text(const SearchResult& result, const SearchRequest& request,
                        const StrategySpace& space, const TextOptions& options);
std::string search_markdown(const SearchResult& result, const SearchRequest& request,
                            const StrategySpace& space);
std::string search_csv(const SearchResult& result, const SearchRequest& request,
                       const StrategySpace& space);
std::string search_yaml(const SearchResult& result, const SearchRequest& request,
                        const StrategySpace& space);

}  // namespace vramplan
