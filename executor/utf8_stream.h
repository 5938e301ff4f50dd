#pragma once
// Utf8Stream: passes on whole UTF-8 characters only, so that a terminal never sees half of one.
#include <cstddef>
#include <string>
#include <string_view>

namespace vramplan {

/// Bytes of the valid UTF-8 character at the start of `text` (1 to 4); 0 when the bytes there can
/// never become one; -1 when they are the beginning of one that is cut off.
int utf8_length(std::string_view text);

class Utf8Stream {
 public:
  /// Whole characters so far; bytes that can never be UTF-8 become U+FFFD, one for each.
  std::string push(std::string_view bytes);
  /// What is left, replaced by one U+FFFD if incomplete.
  std::string finish();

 private:
  std::string pending_;
};

}  // namespace vramplan
