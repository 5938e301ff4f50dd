// How a comparison with a baseline is shown: terminal, Markdown, JSON.
#include <fmt/format.h>

#include <cmath>

#include "reports/baseline.h"
#include "reports/escape.h"
#include "reports/json_reader.h"

namespace vramplan {
namespace {

std::string value_text(const Finding& finding, double value) {
  if (finding.is_bytes) return grouped(static_cast<long long>(value)) + " B";
  return fmt::format("{:.4g}", value);
}

/// "12 B became 13 B (+8.33 %); allowed: exact; commit a became b"
std::string sentence(const Finding& f) {
  std::string text = f.what;
  if (f.before != 0 || f.now != 0) {
    text += fmt::format(": {} became {}", value_text(f, f.before), value_text(f, f.now));
    if (f.change != 0) text += fmt::format(" ({:+.2f} %)", 100 * f.change);
  }
  if (f.threshold > 0) {
    text += f.is_bytes
                ? fmt::format("; allowed {:.0f} B ({})", f.threshold, f.threshold_from)
                : fmt::format("; allowed {:.1f} % ({})", 100 * f.threshold, f.threshold_from);
  }
  return f.cause.empty() ? text : text + "; " + f.cause;
}

std::string headline(const Comparison& c) {
  const int regressions = c.regressions();
  const auto others = static_cast<int>(c.findings.size()) - regressions;
  return fmt::format("{}: {} regression{}, {} other change{} against the baseline", c.name,
                     regressions, regressions == 1 ? "" : "s", others, others == 1 ? "" : "s");
}

}  // namespace

std::string comparison_text(const Comparison& c) {
  std::string out = (c.regressions() > 0 ? "REGRESSION  " : "NO REGRESSION  ") +
                    terminal_text(headline(c)) + "\n";
  for (const Finding& f : c.findings) {
    out +=
        std::string(f.regression ? "  worse   " : "  change  ") + terminal_text(sentence(f)) + "\n";
  }
  for (const std::string& note : c.notes) out += "  note    " + terminal_text(note) + "\n";
  return out;
}

std::string comparison_markdown(const Comparison& c) {
  std::string out = fmt::format("### {} {}\n\n", c.regressions() > 0 ? "\u274c" : "\u2705",
                                markdown_text(headline(c)));
  for (const Finding& f : c.findings) {
    out +=
        fmt::format("- {} {}\n", f.regression ? "**worse**" : "change", markdown_text(sentence(f)));
  }
  for (const std::string& note : c.notes) out += "- note: " + markdown_text(note) + "\n";
  return out;
}

std::string comparison_json(const std::vector<Comparison>& comparisons) {
  nlohmann::json list = nlohmann::json::array();
  int regressions = 0;
  const auto number = [](const Finding& f, double value) -> nlohmann::json {
    if (f.is_bytes) return static_cast<std::int64_t>(value);
    return finite(value);
  };
  for (const Comparison& c : comparisons) {
    nlohmann::json findings = nlohmann::json::array();
    for (const Finding& f : c.findings) {
      findings.push_back({{"what", f.what},
                          {"cause", f.cause},
                          {"unit", f.is_bytes ? "bytes" : "seconds or tokens per second"},
                          {"before", number(f, f.before)},
                          {"now", number(f, f.now)},
                          {"change_share", finite(f.change)},
                          {"threshold", finite(f.threshold)},
                          {"threshold_from", f.threshold_from},
                          {"regression", f.regression}});
    }
    regressions += c.regressions();
    list.push_back({{"name", c.name},
                    {"regressions", c.regressions()},
                    {"findings", std::move(findings)},
                    {"notes", c.notes}});
  }
  return write_json({{"schema", "vramplan.comparison/1"},
                     {"regressions", regressions},
                     {"comparisons", std::move(list)}});
}

}  // namespace vramplan
