#include "executor/token_table.h"

#include <limits>

namespace vramplan {

namespace {

/// FNV-1a over the bytes, then a finisher so that the high bits, which pick the slot, are mixed.
std::uint64_t hash_text(std::string_view text) {
  std::uint64_t hash = 0xCBF29CE484222325u;
  for (const char c : text) {
    hash ^= static_cast<std::uint8_t>(c);
    hash *= 0x100000001B3u;
  }
  hash ^= hash >> 32;
  return hash * 0x9E3779B97F4A7C15u;
}

}  // namespace

void TokenTable::reserve(std::size_t tokens, std::size_t text_bytes) {
  if (text_bytes > std::numeric_limits<std::uint32_t>::max() ||
      tokens > static_cast<std::size_t>(std::numeric_limits<std::int32_t>::max())) {
    throw Error(ErrorCode::kBadGguf, "the vocabulary is larger than 4 GiB of text or 2^31 tokens");
  }
  blob_.reserve(text_bytes);
  offsets_.reserve(tokens + 1);
  types_.reserve(tokens);
}

void TokenTable::add(std::string_view text, TokenType type) {
  VRAMPLAN_CHECK(slots_.empty());
  blob_ += text;
  offsets_.push_back(static_cast<std::uint32_t>(blob_.size()));
  types_.push_back(type);
}

void TokenTable::finish() {
  blob_.shrink_to_fit();
  slots_.assign(types_.size() + types_.size() / 2 + 1, -1);
  const auto insert = [this](std::int32_t id) {
    std::size_t slot = slot_of(hash_text(text(id)), slots_.size());
    while (slots_[slot] >= 0) {
      if (text(slots_[slot]) == text(id)) return;
      if (++slot == slots_.size()) slot = 0;
    }
    slots_[slot] = id;
  };
  for (std::int32_t id = 0; id < size(); ++id) {
    if (type(id) == TokenType::kNormal) insert(id);
  }
  for (std::int32_t id = 0; id < size(); ++id) {
    if (type(id) != TokenType::kNormal) insert(id);
  }
}

std::int32_t TokenTable::find(std::string_view wanted) const {
  std::size_t slot = slot_of(hash_text(wanted), slots_.size());
  while (slots_[slot] >= 0) {
    if (text(slots_[slot]) == wanted) return slots_[slot];
    if (++slot == slots_.size()) slot = 0;
  }
  return -1;
}

Bytes TokenTable::memory_bytes() const {
  return {static_cast<std::int64_t>(blob_.capacity() + offsets_.capacity() * sizeof offsets_[0] +
                                    types_.capacity() * sizeof types_[0] +
                                    slots_.capacity() * sizeof slots_[0])};
}

}  // namespace vramplan
