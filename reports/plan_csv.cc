#include "reports/plan_csv.h"

#include <fmt/format.h>

namespace vramplan {

std::string csv_cell(const std::string& text) {
  if (text.find_first_of(",\"\r\n") == std::string::npos) return text;
  std::string out = "\"";
  for (const char c : text) {
    if (c == '"') out += '"';
    out += c;
  }
  return out + "\"";
}

std::string plan_csv(const Plan& plan) {
  std::string out = "rank,tier,category,name,phase,bytes\n";
  for (const LedgerRow& row : plan.predictions.ledger.rows()) {
    out += fmt::format("{},{},{},{},{},{}\n", row.rank, name_of(row.tier), name_of(row.category),
                       csv_cell(row.name), name_of(row.phase), row.bytes.n);
  }
  return out;
}

}  // namespace vramplan
