#include "executor/bpe.h"

#include <algorithm>
#include <array>

namespace vramplan {

namespace {

/// Bytes that print stay themselves; the other 68 take U+0100, U+0101, ... in order of the byte.
struct Alphabet {
  std::array<std::uint16_t, 256> character{};
  std::array<std::int16_t, 0x144> byte{};

  constexpr Alphabet() {
    byte.fill(-1);
    std::uint16_t next = 0x100;
    for (std::uint16_t b = 0; b < 256; ++b) {
      const bool prints = (b >= 0x21 && b <= 0x7E) || (b >= 0xA1 && b <= 0xAC) || b >= 0xAE;
      character[b] = prints ? b : next++;
      byte[character[b]] = static_cast<std::int16_t>(b);
    }
  }
};
constexpr Alphabet kAlphabet;

/// A token while merging: a link of a list over the piece.
struct Symbol {
  std::int32_t id = -1, previous = -1, next = -1;
};

/// A merge that could be done; stale when its two symbols have changed since.
struct Candidate {
  std::int32_t rank, at, left, right, merged;

  /// std heaps keep the largest on top: the best is the lowest rank, then the leftmost.
  bool operator<(const Candidate& other) const {
    return rank != other.rank ? rank > other.rank : at > other.at;
  }
};

std::uint64_t hash_pair(std::int32_t left, std::int32_t right) {
  std::uint64_t hash = (static_cast<std::uint64_t>(static_cast<std::uint32_t>(left)) << 32) |
                       static_cast<std::uint32_t>(right);
  hash ^= hash >> 29;  // the finisher of SplitMix64
  hash *= 0xBF58476D1CE4E5B9u;
  hash ^= hash >> 32;
  return hash * 0x94D049BB133111EBu;
}

Error bad_merge(std::size_t index, const std::string& merge, const std::string& what) {
  return Error(ErrorCode::kBadGguf,
               "merge " + std::to_string(index) + " \"" + printable(merge, 60) + "\" " + what)
      .at({}, "tokenizer.ggml.merges");
}

}  // namespace

bool bytes_from_alphabet(std::string_view text, std::string& bytes) {
  bytes.clear();
  for (std::size_t i = 0; i < text.size(); ++i) {
    unsigned character = static_cast<std::uint8_t>(text[i]);
    if (character >= 0x80) {  // the alphabet ends at U+0143: two bytes are enough
      if (character < 0xC2 || character > 0xC5 || ++i == text.size()) return false;
      const unsigned tail = static_cast<std::uint8_t>(text[i]);
      if ((tail & 0xC0) != 0x80) return false;
      character = ((character & 0x1F) << 6) | (tail & 0x3F);
    }
    if (character >= kAlphabet.byte.size() || kAlphabet.byte[character] < 0) return false;
    bytes += static_cast<char>(kAlphabet.byte[character]);
  }
  return true;
}

std::string alphabet_of(std::uint8_t byte) {
  const unsigned character = kAlphabet.character[byte];
  if (character < 0x80) return std::string(1, static_cast<char>(character));
  return {static_cast<char>(0xC0 | (character >> 6)), static_cast<char>(0x80 | (character & 0x3F))};
}

Bpe::Bpe(const TokenTable& table, std::span<const std::string> merges) {
  slots_.resize(merges.size() + merges.size() / 2 + 1);
  std::string left, right;
  for (std::size_t i = 0; i < merges.size(); ++i) {
    const std::string& text = merges[i];
    const std::size_t space = text.find(' ', 1);  // the alphabet writes a space as U+0120
    if (text.empty() || space == std::string::npos || space + 1 == text.size()) {
      throw bad_merge(i, text, "is not two parts with a space between");
    }
    if (!bytes_from_alphabet(std::string_view(text).substr(0, space), left) ||
        !bytes_from_alphabet(std::string_view(text).substr(space + 1), right)) {
      throw bad_merge(i, text, "has a character outside the byte alphabet");
    }
    const Merge merge{table.find(left), table.find(right), static_cast<std::int32_t>(i),
                      table.find(left + right)};
    if (merge.left < 0 || merge.right < 0 || merge.merged < 0) {
      throw bad_merge(i, text, "has a part or result that is no token");
    }
    insert(merge);
  }
  for (int byte = 0; byte < 256; ++byte) {
    const char c = static_cast<char>(byte);
    byte_ids_.push_back(table.find({&c, 1}));
  }
  byte_ids_.shrink_to_fit();
}

void Bpe::insert(const Merge& merge) {
  std::size_t slot = slot_of(hash_pair(merge.left, merge.right), slots_.size());
  while (slots_[slot].left >= 0) {
    if (slots_[slot].left == merge.left && slots_[slot].right == merge.right) return;
    if (++slot == slots_.size()) slot = 0;
  }
  slots_[slot] = merge;
}

const Bpe::Merge* Bpe::find(std::int32_t left, std::int32_t right) const {
  if (left < 0 || right < 0) return nullptr;
  std::size_t slot = slot_of(hash_pair(left, right), slots_.size());
  while (slots_[slot].left >= 0) {
    if (slots_[slot].left == left && slots_[slot].right == right) return &slots_[slot];
    if (++slot == slots_.size()) slot = 0;
  }
  return nullptr;
}

void Bpe::encode(std::string_view piece, std::vector<std::int32_t>& ids) const {
  std::vector<Symbol> symbols(piece.size());
  const auto count = static_cast<std::int32_t>(piece.size());
  for (std::int32_t i = 0; i < count; ++i) {
    const auto byte = static_cast<std::uint8_t>(piece[static_cast<std::size_t>(i)]);
    symbols[static_cast<std::size_t>(i)] = {byte_ids_[byte], i - 1, i + 1 < count ? i + 1 : -1};
  }
  const auto at = [&symbols](std::int32_t i) -> Symbol& {
    return symbols[static_cast<std::size_t>(i)];
  };
  std::vector<Candidate> heap;
  const auto consider = [&](std::int32_t i) {
    if (i < 0 || at(i).next < 0) return;
    const Merge* merge = find(at(i).id, at(at(i).next).id);
    if (merge == nullptr) return;
    heap.push_back({merge->rank, i, merge->left, merge->right, merge->merged});
    std::push_heap(heap.begin(), heap.end());
  };
  for (std::int32_t i = 0; i < count; ++i) consider(i);
  while (!heap.empty()) {
    std::pop_heap(heap.begin(), heap.end());
    const Candidate best = heap.back();
    heap.pop_back();
    Symbol& left = at(best.at);
    if (left.id != best.left || left.next < 0 || at(left.next).id != best.right) continue;
    Symbol& right = at(left.next);
    left.id = best.merged;
    right.id = -1;
    left.next = right.next;
    if (left.next >= 0) at(left.next).previous = best.at;
    consider(left.previous);
    consider(best.at);
  }
  for (std::int32_t i = count > 0 ? 0 : -1; i >= 0; i = at(i).next) {
    if (at(i).id >= 0) ids.push_back(at(i).id);  // -1: a byte without a token
  }
}

Bytes Bpe::memory_bytes() const {
  return {static_cast<std::int64_t>(slots_.capacity() * sizeof slots_[0] +
                                    byte_ids_.capacity() * sizeof byte_ids_[0])};
}

}  // namespace vramplan
