#pragma once
// OtherLogs: rows of memory_cases.csv that are no vLLM start-up: llama.cpp's and its fork's logs
// (parameters, cache) and the device bytes transformers took on published benchmark pages.
// Nothing was fitted to any of them.
#include <string>

namespace vramplan::accuracy {

/// Markdown: every row as predicted - observed, the mean error of each term, and every row that
/// cannot be asked, by name. Errors: as read_csv.
std::string other_logs_page(const std::string& truth);
/// Empty, or why the page misses its limits (parameters and cache exact to 0.1 %).
std::string other_logs_missed(const std::string& truth);

}  // namespace vramplan::accuracy
