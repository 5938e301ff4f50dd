#pragma once
// SentencePiece: the merging of Llama 1/2, Mistral 7B, Gemma and Phi-3 vocabularies. A text starts
// as its characters; the adjacent pair that makes the token with the highest score is joined, until
// none does. A character that is no token becomes its bytes ("<0x0A>" tokens).
#include <cstdint>
#include <span>
#include <string_view>
#include <vector>

#include "executor/token_table.h"

namespace vramplan {

class SentencePiece {
 public:
  /// `scores` one a token; `table` holds texts with U+2581 already turned into spaces and byte
  /// tokens as their byte, and must outlive this object.
  /// Errors: kBadGguf when the scores are not one a token.
  SentencePiece(const TokenTable& table, std::span<const double> scores);

  /// Appends the ids of a text: O(n log n). Bytes without a token become `unknown` when it is >= 0.
  void encode(std::string_view text, std::int32_t unknown, std::vector<std::int32_t>& ids) const;
  Bytes memory_bytes() const;

 private:
  const TokenTable& table_;
  std::vector<float> scores_;
  std::vector<std::int32_t> byte_ids_;  // 256, -1 = none
};

}  // namespace vramplan
