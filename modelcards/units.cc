#include "modelcards/units.h"

#include <cctype>
#include <charconv>
#include <cmath>
#include <cstdio>

namespace vramplan {
namespace {

struct Suffix {
  const char* text;
  std::int64_t factor;
};

/// number [suffix], number may have a decimal point; the product must be a whole, positive count.
std::int64_t parse_scaled(const std::string& text, const std::string& flag, const Suffix* suffixes,
                          std::size_t suffix_count, const char* example) {
  double number = 0;
  const char* begin = text.data();
  const char* end = begin + text.size();
  const auto [rest, status] = std::from_chars(begin, end, number);
  const auto fail = [&](const std::string& why) {
    throw Error(ErrorCode::kUsage, "'" + text + "' " + why).at("", flag).help(example);
  };
  if (status != std::errc() || !std::isfinite(number) || number < 0) fail("is not a size");
  std::string suffix(rest, end);
  for (char& c : suffix) c = static_cast<char>(std::tolower(static_cast<unsigned char>(c)));
  std::int64_t factor = 0;
  for (std::size_t i = 0; i < suffix_count; ++i) {
    if (suffix == suffixes[i].text) factor = suffixes[i].factor;
  }
  if (factor == 0) fail("has an unknown unit");
  const double product = number * static_cast<double>(factor);
  if (product >= 9.2e18) fail("is too large");
  // Integers are exact: only a decimal point goes through floating point.
  std::int64_t whole = 0;
  const auto [int_rest, int_status] = std::from_chars(begin, end, whole);
  if (int_status == std::errc() && int_rest == rest) return detail::checked_mul(whole, factor);
  if (product != std::floor(product)) fail("is not a whole number");
  return static_cast<std::int64_t>(product);
}

}  // namespace

std::string to_text(Bytes bytes) {
  const double v = static_cast<double>(bytes.n);
  const double a = std::fabs(v);
  char out[48];
  if (a >= 1024.0 * 1024 * 1024) {
    std::snprintf(out, sizeof out, "%.2f GiB", v / (1024.0 * 1024 * 1024));
  } else if (a >= 1024.0 * 1024) {
    std::snprintf(out, sizeof out, "%.2f MiB", v / (1024.0 * 1024));
  } else if (a >= 1024.0) {
    std::snprintf(out, sizeof out, "%.2f KiB", v / 1024.0);
  } else {
    std::snprintf(out, sizeof out, "%lld B", static_cast<long long>(bytes.n));
  }
  return out;
}

std::string to_text(Seconds seconds) {
  const double a = std::fabs(seconds.v);
  char out[48];
  if (a >= 1) {
    std::snprintf(out, sizeof out, "%.2f s", seconds.v);
  } else if (a >= 1e-3) {
    std::snprintf(out, sizeof out, "%.2f ms", seconds.v * 1e3);
  } else {
    std::snprintf(out, sizeof out, "%.1f us", seconds.v * 1e6);
  }
  return out;
}

Bytes parse_bytes(const std::string& text, const std::string& flag) {
  static constexpr Suffix kSuffixes[] = {{"", 1},
                                         {"b", 1},
                                         {"kb", 1000},
                                         {"kib", 1 << 10},
                                         {"mb", 1000000},
                                         {"mib", 1 << 20},
                                         {"gb", 1000000000},
                                         {"gib", 1 << 30},
                                         {"tb", 1000000000000},
                                         {"tib", std::int64_t{1} << 40}};
  return {parse_scaled(text, flag, kSuffixes, std::size(kSuffixes),
                       "write 80GiB, 80GB or plain bytes")};
}

Tokens parse_tokens(const std::string& text, const std::string& flag) {
  static constexpr Suffix kSuffixes[] = {
      {"", 1}, {"k", 1 << 10}, {"ki", 1 << 10}, {"m", 1 << 20}, {"mi", 1 << 20}};
  return {parse_scaled(text, flag, kSuffixes, std::size(kSuffixes),
                       "write 8192, 32k (k = 1024) or 1m")};
}

}  // namespace vramplan
