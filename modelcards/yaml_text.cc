#include "modelcards/yaml_text.h"

#include <set>

#include "modelcards/error.h"
#include "modelcards/yaml.h"

namespace vramplan {
namespace {

bool is_digit(char c) { return c >= '0' && c <= '9'; }

/// -?(0|[1-9][0-9]*), from `i` on; false when there is no such prefix.
bool skip_integer(const std::string& text, std::size_t& i) {
  if (i < text.size() && text[i] == '-') ++i;
  if (i >= text.size() || !is_digit(text[i])) return false;
  if (text[i++] == '0') return true;
  while (i < text.size() && is_digit(text[i])) ++i;
  return true;
}

bool skip_digits(const std::string& text, std::size_t& i) {
  const std::size_t begin = i;
  while (i < text.size() && is_digit(text[i])) ++i;
  return i > begin;
}

}  // namespace

bool is_json_integer(const std::string& text) {
  std::size_t i = 0;
  return skip_integer(text, i) && i == text.size();
}

bool is_json_number(const std::string& text) {
  std::size_t i = 0;
  if (!skip_integer(text, i)) return false;
  if (i < text.size() && text[i] == '.' && !skip_digits(text, ++i)) return false;
  if (i < text.size() && (text[i] == 'e' || text[i] == 'E')) {
    ++i;
    if (i < text.size() && (text[i] == '+' || text[i] == '-')) ++i;
    if (!skip_digits(text, i)) return false;
  }
  return i == text.size();
}

std::size_t utf8_length(const std::string& text, std::size_t i) {
  const auto byte = [&](std::size_t k) -> unsigned {
    return k < text.size() ? static_cast<unsigned char>(text[k]) : 0U;
  };
  const unsigned lead = byte(i);
  if (lead < 0x80) return 1;
  const std::size_t length = lead >= 0xF0 ? 4 : lead >= 0xE0 ? 3 : 2;
  if (lead < 0xC2 || lead > 0xF4) return 0;
  for (std::size_t k = 1; k < length; ++k) {
    if ((byte(i + k) & 0xC0U) != 0x80U) return 0;
  }
  const unsigned second = byte(i + 1);
  if ((lead == 0xE0 && second < 0xA0) || (lead == 0xED && second > 0x9F) ||
      (lead == 0xF0 && second < 0x90) || (lead == 0xF4 && second > 0x8F)) {
    return 0;
  }
  return length;
}

std::string in_quotes(const std::string& text) {
  std::string out(1, '\'');
  out += printable(text, 60);
  out += '\'';
  return out;
}

std::string yaml_quoted(const std::string& text) {
  static const std::set<std::string> kOtherMeaning{"true", "false", "null", "yes", "no", "on",
                                                   "off",  "y",     "n",    "inf", "nan"};
  std::string folded;
  bool plain = !text.empty();
  for (const char c : text) {
    const bool letter = (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z');
    plain =
        plain && (letter || (!folded.empty() && (is_digit(c) || c == '_' || c == '-' || c == '.')));
    folded += (c >= 'A' && c <= 'Z') ? static_cast<char>(c + 32) : c;
  }
  if (plain && kOtherMeaning.count(folded) == 0) return text;
  static constexpr char kHex[] = "0123456789abcdef";
  std::string out = "\"";
  for (const char c : text) {
    const auto byte = static_cast<unsigned char>(c);
    if (c == '"' || c == '\\') {
      out += '\\';
      out += c;
    } else if (byte < 0x20 || byte == 0x7F) {
      out += "\\x";
      out += kHex[byte >> 4U];
      out += kHex[byte & 15U];
    } else {
      out += c;
    }
  }
  return out + "\"";
}

}  // namespace vramplan
