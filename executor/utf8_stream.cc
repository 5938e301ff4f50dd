#include "executor/utf8_stream.h"

#include <cstdint>

namespace vramplan {

namespace {

constexpr const char* kReplacement = "\xEF\xBF\xBD";

/// Length and the allowed range of the second byte, from the first (Unicode 15, table 3-7).
struct Lead {
  int length = 0;
  std::uint8_t low = 0x80, high = 0xBF;
};

Lead lead_of(std::uint8_t byte) {
  if (byte < 0x80) return {1};
  if (byte >= 0xC2 && byte <= 0xDF) return {2};
  if (byte == 0xE0) return {3, 0xA0, 0xBF};
  if (byte == 0xED) return {3, 0x80, 0x9F};  // surrogates are no characters
  if (byte >= 0xE1 && byte <= 0xEF) return {3};
  if (byte == 0xF0) return {4, 0x90, 0xBF};
  if (byte >= 0xF1 && byte <= 0xF3) return {4};
  if (byte == 0xF4) return {4, 0x80, 0x8F};
  return {};
}

}  // namespace

int utf8_length(std::string_view text) {
  if (text.empty()) return 0;
  const Lead lead = lead_of(static_cast<std::uint8_t>(text[0]));
  for (int i = 1; i < lead.length; ++i) {
    if (static_cast<std::size_t>(i) >= text.size()) return -1;
    const auto byte = static_cast<std::uint8_t>(text[static_cast<std::size_t>(i)]);
    const std::uint8_t low = i == 1 ? lead.low : std::uint8_t{0x80};
    const std::uint8_t high = i == 1 ? lead.high : std::uint8_t{0xBF};
    if (byte < low || byte > high) return 0;
  }
  return lead.length;
}

std::string Utf8Stream::push(std::string_view bytes) {
  pending_ += bytes;
  std::string out;
  std::size_t at = 0;
  while (at < pending_.size()) {
    const int length = utf8_length(std::string_view(pending_).substr(at));
    if (length < 0) break;
    if (length == 0) {
      out += kReplacement;
      ++at;
    } else {
      out.append(pending_, at, static_cast<std::size_t>(length));
      at += static_cast<std::size_t>(length);
    }
  }
  pending_.erase(0, at);
  return out;
}

std::string Utf8Stream::finish() {
  const bool left = !pending_.empty();
  pending_.clear();
  return left ? kReplacement : "";
}

}  // namespace vramplan
