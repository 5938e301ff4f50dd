#include "planner/engines/flag_value.h"

#include <fmt/format.h>
#include <fmt/ranges.h>

#include <algorithm>
#include <charconv>
#include <cmath>
#include <optional>

#include "planner/engines/attention_windows.h"

namespace vramplan {
namespace {

constexpr double kMostCount = 4e18;  // below 2^62

bool reads_as_integer(const std::string& text) {
  std::int64_t n = 0;
  const auto [end, status] = std::from_chars(text.data(), text.data() + text.size(), n);
  return status == std::errc() && end == text.data() + text.size();
}

bool reads_as_real(const std::string& text) {
  double x = 0;
  const auto [end, status] = std::from_chars(text.data(), text.data() + text.size(), x);
  return status == std::errc() && end == text.data() + text.size() && std::isfinite(x);
}

/// Digits, perhaps a dot and digits, then one letter of k m g t K M G T.
struct Suffixed {
  std::string digits;  // with the dot
  char letter = ' ';
  bool decimals = false;

  bool binary() const { return letter >= 'A' && letter <= 'Z'; }
  char lower() const { return binary() ? static_cast<char>(letter - 'A' + 'a') : letter; }
};

std::optional<Suffixed> suffixed(const std::string& text) {
  if (text.size() < 2 || std::string("kmgtKMGT").find(text.back()) == std::string::npos) {
    return std::nullopt;
  }
  Suffixed out{text.substr(0, text.size() - 1), text.back(), false};
  const std::size_t dot = out.digits.find('.');
  out.decimals = dot != std::string::npos;
  std::string plain = out.digits;
  if (out.decimals) plain.erase(dot, 1);
  const bool ends = dot == 0 || dot + 1 == out.digits.size();
  if (plain.empty() || ends || plain.find_first_not_of("0123456789") != std::string::npos) {
    return std::nullopt;
  }
  return out;
}

/// Nothing when it is more than a count can be, or a binary suffix has decimals.
std::optional<std::int64_t> count_of(const Suffixed& value) {
  if (value.decimals && value.binary()) return std::nullopt;
  const int power = 1 + static_cast<int>(std::string("kmgt").find(value.lower()));
  double number = 0;
  const char* end = value.digits.data() + value.digits.size();
  if (std::from_chars(value.digits.data(), end, number).ec != std::errc()) return std::nullopt;
  // In doubles and cut, as the engine computes it: 1.001k is 1000.
  const double count = number * std::pow(value.binary() ? 1024.0 : 1000.0, power);
  if (count > kMostCount) return std::nullopt;
  if (!value.binary()) return static_cast<std::int64_t>(count);
  std::int64_t whole = 0;
  std::from_chars(value.digits.data(), end, whole);
  return whole << (10 * power);
}

bool takes_suffix(const TableFlag& flag, char lower) {
  return flag.suffixes.find(lower) != std::string::npos;
}

/// What an integer flag wants instead.
[[noreturn]] void refuse_integer(const EngineFlag& given, const TableFlag& flag,
                                 const EngineTable& table) {
  const std::optional<Suffixed> value = suffixed(given.value);
  const bool any = !flag.suffixes.empty();
  Error error(ErrorCode::kUsage,
              fmt::format("{} takes {}, not '{}'", flag.name,
                          any ? "an integer or a number with a suffix" : "a plain integer",
                          printable(given.value)));
  error.at("command line", flag.name);
  if (!value) {
    error.help(any ? "such as 32768, 32k (32,000) or 32K (32,768)"
                   : "see the engine's help for that version");
    throw error;
  }
  const std::optional<std::int64_t> count = count_of(*value);
  if (!count && value->decimals && value->binary()) {
    error.help(fmt::format("decimals go with small letters: {}{}, or write the number out",
                           value->digits, value->lower()));
  } else if (!count) {
    error.help("that is more than can be counted");
  } else if (!flag.suffixes_since.empty()) {
    error.help(fmt::format("{} reads suffixes there from {}: write {}", name_of(table.kind),
                           flag.suffixes_since, *count));
  } else {
    error.help(fmt::format("{} reads no suffix '{}' there: write {}", name_of(table.kind),
                           value->letter, *count));
  }
  throw error;
}

void check_integer(const EngineFlag& given, const TableFlag& flag, const EngineTable& table) {
  if (reads_as_integer(given.value)) return;
  const auto& words = flag.choices;  // "auto" beside numbers
  if (std::find(words.begin(), words.end(), given.value) != words.end()) return;
  const std::optional<Suffixed> value = suffixed(given.value);
  if (value && takes_suffix(flag, value->lower()) && count_of(*value)) return;
  refuse_integer(given, flag, table);
}

}  // namespace

void check_flag_value(const EngineFlag& given, const TableFlag& flag, const EngineTable& table) {
  const auto wrong = [&](const std::string& wanted) {
    throw Error(ErrorCode::kUsage,
                fmt::format("{} takes {}, not '{}'", flag.name, wanted, printable(given.value)))
        .at("command line", flag.name)
        .help("see the engine's help for that version");
  };
  if (flag.type == "switch") {
    if (!given.value.empty()) wrong("no value");
    return;
  }
  if (given.value.empty()) wrong("a value");
  if (flag.type == "integer") check_integer(given, flag, table);
  if (flag.type == "integers") parse_attention_windows(given.value, flag.name.c_str());
  if (flag.type == "real" && !reads_as_real(given.value)) wrong("a number");
  const bool listed =
      std::find(flag.choices.begin(), flag.choices.end(), given.value) != flag.choices.end();
  if (flag.type == "choice" && !listed) {
    wrong(fmt::format("one of {}", fmt::join(flag.choices, " ")));
  }
}

std::string plain_value(const std::string& value, const TableFlag& flag) {
  if (flag.type != "integer") return value;
  const std::optional<Suffixed> number = suffixed(value);
  if (!number || !takes_suffix(flag, number->lower())) return value;
  const std::optional<std::int64_t> count = count_of(*number);
  return count ? std::to_string(*count) : value;
}

}  // namespace vramplan
