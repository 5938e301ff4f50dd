#include "reports/escape.h"

#include <cstdint>
#include <functional>

namespace vramplan {
namespace {

constexpr int kMaxCharacters = 2000;

struct CodePoint {
  std::uint32_t value = 0;
  std::size_t bytes = 1;
  bool valid = false;
};

/// Shortest-form UTF-8 only, no surrogates.
CodePoint decode(const std::string& text, std::size_t at) {
  const auto byte = [&](std::size_t i) -> std::uint32_t {
    return at + i < text.size() ? static_cast<unsigned char>(text[at + i]) : 0U;
  };
  const std::uint32_t first = byte(0);
  if (first < 0x80) return {first, 1, true};
  const std::size_t length = first >= 0xf0 ? 4 : first >= 0xe0 ? 3 : 2;
  static constexpr std::uint32_t kLeast[] = {0, 0, 0x80, 0x800, 0x10000};
  static constexpr std::uint32_t kMask[] = {0, 0, 0x1f, 0x0f, 0x07};
  if (first < 0xc2 || first > 0xf4) return {};
  std::uint32_t value = first & kMask[length];
  for (std::size_t i = 1; i < length; ++i) {
    if ((byte(i) & 0xc0) != 0x80) return {};
    value = (value << 6) | (byte(i) & 0x3f);
  }
  const bool surrogate = value >= 0xd800 && value <= 0xdfff;
  if (value < kLeast[length] || value > 0x10ffff || surrogate) return {};
  return {value, length, true};
}

bool is_dangerous(std::uint32_t c) {
  return c < 0x20 || (c >= 0x7f && c <= 0x9f) ||                    // controls
         c == 0x061c || (c >= 0x200b && c <= 0x200f) ||             // direction marks, zero width
         (c >= 0x2028 && c <= 0x202e) ||                            // separators, overrides
         (c >= 0x2060 && c <= 0x206f) || c == 0xfeff ||             // isolates, byte order mark
         (c & 0xfffe) == 0xfffe || (c >= 0xfdd0 && c <= 0xfdef) ||  // not characters
         (c >= 0xe0000 && c <= 0xe0fff);                            // tags
}

std::string replaced(const std::string& text, const std::function<const char*(char)>& entity) {
  std::string out;
  out.reserve(text.size());
  for (const char c : text) {
    const char* other = entity(c);
    if (other != nullptr) {
      out += other;
    } else {
      out += c;
    }
  }
  return out;
}

const char* entity_of(char c) {
  switch (c) {
    case '&':
      return "&amp;";
    case '<':
      return "&lt;";
    case '>':
      return "&gt;";
    case '"':
      return "&quot;";
    case '\'':
      return "&#39;";
    default:
      return nullptr;
  }
}

/// Breaks every "http", in any case, by writing its first letter as `entity` says.
std::string without_scheme(const std::string& text,
                           const std::function<std::string(char)>& entity) {
  std::string out;
  for (std::size_t i = 0; i < text.size(); ++i) {
    bool hit = i + 4 <= text.size();
    for (std::size_t j = 0; hit && j < 4; ++j) hit = (text[i + j] | 0x20) == "http"[j];
    if (hit) {
      out += entity(text[i]);
    } else {
      out += text[i];
    }
  }
  return out;
}

}  // namespace

std::string clean_text(const std::string& text, const char* replacement) {
  std::string out;
  int characters = 0;
  for (std::size_t at = 0; at < text.size();) {
    if (++characters > kMaxCharacters) return out + "...";
    const CodePoint c = decode(text, at);
    if (c.valid && !is_dangerous(c.value)) {
      out.append(text, at, c.bytes);
    } else {
      out += replacement;
    }
    at += c.bytes;
  }
  return out;
}

std::string terminal_text(const std::string& text, bool ascii) {
  std::string out;
  const std::string cleaned = clean_text(text, "?");
  if (!ascii) return cleaned;
  for (std::size_t at = 0; at < cleaned.size();) {
    const CodePoint c = decode(cleaned, at);
    out += c.value < 0x7f ? static_cast<char>(c.value) : '?';
    at += c.bytes;
  }
  return out;
}

std::string html_text(const std::string& text) {
  return without_scheme(replaced(clean_text(text), entity_of), [](char c) {
    std::string entity = "&#";  // appended: g++ 12 warns falsely on operator+ here
    entity.append(std::to_string(static_cast<int>(c))).append(";");
    return entity;
  });
}

std::string xml_text(const std::string& text) { return replaced(clean_text(text), entity_of); }

std::string markdown_text(const std::string& text) {
  return replaced(clean_text(text), [](char c) -> const char* {
    switch (c) {
      case '|':
        return "\\|";
      case '`':
        return "\\`";
      case '*':
        return "\\*";
      case '_':
        return "\\_";
      case '[':
        return "\\[";
      case ']':
        return "\\]";
      case '#':
        return "\\#";
      case '~':
        return "\\~";
      case '\\':
        return "\\\\";
      case '@':
        return "&#64;";
      default:
        return entity_of(c);
    }
  });
}

std::string script_json(const std::string& json) {
  std::string out;
  for (std::size_t i = 0; i < json.size(); ++i) {
    if (json.compare(i, 3, "\xE2\x80\xA8") == 0 || json.compare(i, 3, "\xE2\x80\xA9") == 0) {
      out += json[i + 2] == '\xA8' ? "\\u2028" : "\\u2029";
      i += 2;
      continue;
    }
    switch (json[i]) {
      case '<':
        out += "\\u003c";
        break;
      case '>':
        out += "\\u003e";
        break;
      case '&':
        out += "\\u0026";
        break;
      default:
        out += json[i];
    }
  }
  return without_scheme(out, [](char c) { return c == 'h' ? "\\u0068" : "\\u0048"; });
}

int text_columns(const std::string& text) {
  int columns = 0;
  for (const char c : text) columns += (static_cast<unsigned char>(c) & 0xc0) != 0x80 ? 1 : 0;
  return columns;
}

std::string grouped(long long number) {
  const std::string digits = std::to_string(number);
  const std::size_t start = number < 0 ? 1 : 0;
  std::string out;
  for (std::size_t i = 0; i < digits.size(); ++i) {
    if (i > start && (digits.size() - i) % 3 == 0) out += ',';
    out += digits[i];
  }
  return out;
}

std::string grouped_signed(long long number) {
  std::string text = number > 0 ? "+" : "";
  return text.append(grouped(number));
}

}  // namespace vramplan
