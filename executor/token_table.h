#pragma once
// TokenTable: the texts of a vocabulary in one blob, with a hash from text to id. A vocabulary of
// 250,000 tokens costs its text bytes and eleven bytes a token, not a string object each.
#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "modelcards/units.h"

namespace vramplan {

enum class TokenType : std::uint8_t {
  kNormal = 1,
  kUnknown = 2,
  kControl = 3,
  kUserDefined = 4,
  kUnused = 5,
  kByte = 6
};

class TokenTable {
 public:
  /// Room for `tokens` texts of `text_bytes` bytes together. Errors: kBadGguf at 4 GiB of text.
  void reserve(std::size_t tokens, std::size_t text_bytes);
  void add(std::string_view text, TokenType type);
  /// After the last add: gives back spare room and builds the hash. Of tokens with the same text a
  /// normal one is found before any other, then the first.
  void finish();

  std::string_view text(std::int32_t id) const {
    const auto at = static_cast<std::size_t>(id);
    return std::string_view(blob_).substr(offsets_[at], offsets_[at + 1] - offsets_[at]);
  }
  TokenType type(std::int32_t id) const { return types_[static_cast<std::size_t>(id)]; }
  std::int32_t size() const { return static_cast<std::int32_t>(types_.size()); }
  bool contains(std::int64_t id) const { return id >= 0 && id < size(); }
  /// Id of the token with this text, -1 when there is none.
  std::int32_t find(std::string_view text) const;
  Bytes memory_bytes() const;

 private:
  std::string blob_;
  std::vector<std::uint32_t> offsets_{0};  // size() + 1
  std::vector<TokenType> types_;
  std::vector<std::int32_t> slots_;  // open addressing, -1 = empty
};

/// Position of a 64-bit hash in a table of `slots` entries of any size.
inline std::size_t slot_of(std::uint64_t hash, std::size_t slots) {
  __extension__ using Wide = unsigned __int128;
  return static_cast<std::size_t>((static_cast<Wide>(hash) * slots) >> 64);
}

}  // namespace vramplan
