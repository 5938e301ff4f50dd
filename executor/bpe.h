#pragma once
// Bpe: byte-level byte pair encoding. A piece starts as its bytes; again and again the adjacent
// pair with the best merge becomes one token.
#include <cstdint>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "executor/token_table.h"

namespace vramplan {

/// GPT-2 stores each byte of a token as a printable character (byte 0x20 as U+0120). Bytes back
/// from such a text; false when a character is none of those 256 (`bytes` is then unspecified).
/// Source: Radford et al. 2019, the byte alphabet of GPT-2's published encoder.
bool bytes_from_alphabet(std::string_view text, std::string& bytes);
/// The character of one byte, as UTF-8.
std::string alphabet_of(std::uint8_t byte);

class Bpe {
 public:
  /// `merges` are "left right" in the byte alphabet, best first; `table` must outlive this object.
  /// Errors: kBadGguf naming the merge whose parts or result are no tokens.
  Bpe(const TokenTable& table, std::span<const std::string> merges);

  /// Appends the ids of one piece: O(n log n) in its bytes.
  void encode(std::string_view piece, std::vector<std::int32_t>& ids) const;
  Bytes memory_bytes() const;

 private:
  struct Merge {
    std::int32_t left = -1, right = -1;  // left < 0: empty slot
    std::int32_t rank = 0, merged = 0;
  };
  const Merge* find(std::int32_t left, std::int32_t right) const;
  void insert(const Merge& merge);

  std::vector<Merge> slots_;            // open addressing
  std::vector<std::int32_t> byte_ids_;  // 256, -1 = the vocabulary has no token for it
};

}  // namespace vramplan
