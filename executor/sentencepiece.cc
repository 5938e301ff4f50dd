#include "executor/sentencepiece.h"

#include <algorithm>

#include "executor/utf8_stream.h"

namespace vramplan {

namespace {

/// A stretch of the text: a link of a list; length 0 once it was joined to the one before.
struct Symbol {
  std::int32_t begin = 0, length = 0, previous = -1, next = -1;
};

struct Candidate {
  float score;
  std::int32_t left, right, length;  // symbols, and bytes together: stale when these changed

  /// The best on top: the highest score, then the leftmost.
  bool operator<(const Candidate& other) const {
    return score != other.score ? score < other.score : left > other.left;
  }
};

std::vector<Symbol> characters(std::string_view text) {
  std::vector<Symbol> symbols;
  std::int32_t at = 0;
  while (static_cast<std::size_t>(at) < text.size()) {
    const int length = std::max(1, utf8_length(text.substr(static_cast<std::size_t>(at))));
    const auto index = static_cast<std::int32_t>(symbols.size());
    symbols.push_back({at, length, index - 1, index + 1});
    at += length;
  }
  if (!symbols.empty()) symbols.back().next = -1;
  return symbols;
}

}  // namespace

SentencePiece::SentencePiece(const TokenTable& table, std::span<const double> scores)
    : table_(table) {
  if (scores.size() != static_cast<std::size_t>(table.size())) {
    throw Error(ErrorCode::kBadGguf, "there are " + std::to_string(scores.size()) + " scores for " +
                                         std::to_string(table.size()) + " tokens")
        .at({}, "tokenizer.ggml.scores");
  }
  scores_.reserve(scores.size());
  for (const double score : scores) scores_.push_back(static_cast<float>(score));
  byte_ids_.assign(256, -1);
  for (std::int32_t id = 0; id < table.size(); ++id) {
    if (table.type(id) == TokenType::kByte && table.text(id).size() == 1) {
      byte_ids_[static_cast<std::uint8_t>(table.text(id)[0])] = id;
    }
  }
}

void SentencePiece::encode(std::string_view text, std::int32_t unknown,
                           std::vector<std::int32_t>& ids) const {
  std::vector<Symbol> symbols = characters(text);
  const auto at = [&symbols](std::int32_t i) -> Symbol& {
    return symbols[static_cast<std::size_t>(i)];
  };
  const auto view = [text](std::int32_t begin, std::int32_t length) {
    return text.substr(static_cast<std::size_t>(begin), static_cast<std::size_t>(length));
  };
  std::vector<Candidate> heap;
  const auto consider = [&](std::int32_t left) {
    if (left < 0 || at(left).next < 0) return;
    const std::int32_t right = at(left).next;
    const std::int32_t length = at(left).length + at(right).length;
    const std::int32_t id = table_.find(view(at(left).begin, length));
    if (id < 0) return;
    heap.push_back({scores_[static_cast<std::size_t>(id)], left, right, length});
    std::push_heap(heap.begin(), heap.end());
  };
  for (std::size_t i = 0; i < symbols.size(); ++i) consider(static_cast<std::int32_t>(i));
  while (!heap.empty()) {
    std::pop_heap(heap.begin(), heap.end());
    const Candidate best = heap.back();
    heap.pop_back();
    Symbol& left = at(best.left);
    Symbol& right = at(best.right);
    if (left.length == 0 || right.length == 0) continue;
    if (left.next != best.right || left.length + right.length != best.length) continue;
    left.length = best.length;
    left.next = right.next;
    right.length = 0;
    if (left.next >= 0) at(left.next).previous = best.left;
    consider(left.previous);
    consider(best.left);
  }
  for (std::int32_t i = symbols.empty() ? -1 : 0; i >= 0; i = at(i).next) {
    const std::string_view piece = view(at(i).begin, at(i).length);
    if (const std::int32_t id = table_.find(piece); id >= 0) {
      ids.push_back(id);
      continue;
    }
    for (const char c : piece) {
      const std::int32_t id = byte_ids_[static_cast<std::uint8_t>(c)];
      if (id >= 0 || unknown >= 0) ids.push_back(id >= 0 ? id : unknown);
    }
  }
}

Bytes SentencePiece::memory_bytes() const {
  return {static_cast<std::int64_t>(scores_.capacity() * sizeof scores_[0] +
                                    byte_ids_.capacity() * sizeof byte_ids_[0])};
}

}  // namespace vramplan
