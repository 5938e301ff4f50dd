#pragma once
// Page: the parts of the README that this program writes: each a list of Markdown tables between
// markers of its own.
#include <fmt/format.h>

#include <cstdio>
#include <iterator>
#include <string>

#include "bench/techniques/setting.h"

namespace vramplan {

class Page {
 public:
  template <class... Args>
  void line(fmt::format_string<Args...> format, Args&&... args) {
    fmt::format_to(std::back_inserter(text_), format, std::forward<Args>(args)...);
    text_ += '\n';
  }
  /// For whoever waits.
  static void did(const std::string& what) { std::fprintf(stderr, "%s\n", what.c_str()); }
  std::string take() { return std::move(text_); }

 private:
  std::string text_;
};

/// "+1.3 %": predicted against observed.
inline std::string error_of(double predicted, double observed) {
  return observed > 0 ? fmt::format("{:+.1f} %", 100 * (predicted / observed - 1)) : "-";
}

/// What tensors and blocks take of the device at most; what the process is besides changes with no
/// technique.
Bytes tensor_bytes(const Ledger& ledger);

// The parts, by the names of their markers.
void cache_tables(const Setting& setting, Page& page);       // formats and policies: bytes, quality
void mix_tables(const Setting& setting, Page& page);         // formats of layers and heads
void weight_tables(const Setting& setting, Page& page);      // formats of the weights' layers
void long_tables(const Setting& setting, Page& page);        // 8192 tokens
void sharing_tables(const Setting& setting, Page& page);     // samples, beams, prefixes
void layout_tables(const Setting& setting, Page& page);      // blocks against reservations
void placement_tables(const Setting& setting, Page& page);   // beyond the device
void preemption_tables(const Setting& setting, Page& page);  // pools too small for all
void replica_tables(const Setting& setting, Page& page);     // processes over one copy
void guess_tables(const Setting& setting, Page& page);       // guesses, texts
void time_tables(const Setting& setting, Page& page);        // every technique beside its plan
void far_tables(const Setting& setting, Page& page);         // 65,536 and 1,048,576 tokens

}  // namespace vramplan
