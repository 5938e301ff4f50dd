#include "executor/block_table.h"

#include <algorithm>
#include <utility>

namespace vramplan {

BlockTable::BlockTable(BlockPool& pool, TokensPerBlock block, Tokens sinks)
    : pool_(&pool), block_(block), sink_blocks_(blocks_for(sinks, block).n) {
  VRAMPLAN_CHECK(block.n > 0);
}

BlockTable::~BlockTable() { clear(); }

BlockTable::BlockTable(BlockTable&& other) noexcept
    : pool_(other.pool_),
      block_(other.block_),
      sink_blocks_(other.sink_blocks_),
      released_(other.released_),
      blocks_(std::move(other.blocks_)) {
  other.blocks_.clear();
}

void BlockTable::grow_to(Tokens length) {
  const std::int64_t wanted = blocks_for(length, block_).n - released_;
  while (static_cast<std::int64_t>(blocks_.size()) < wanted) blocks_.push_back(pool_->take());
}

void BlockTable::release_before(Tokens token) {
  const std::int64_t behind = std::max<std::int64_t>(0, token.n) / block_.n - sink_blocks_;
  const std::int64_t held = static_cast<std::int64_t>(blocks_.size()) - sink_blocks_;
  const std::int64_t count = std::min(behind - released_, held);
  if (count <= 0) return;
  const auto first = blocks_.begin() + sink_blocks_;
  for (auto block = first; block != first + count; ++block) pool_->give_back(*block);
  blocks_.erase(first, first + count);
  released_ += count;
}

void BlockTable::release_at(std::size_t place) {
  VRAMPLAN_CHECK(place + 1 < blocks_.size());
  pool_->give_back(blocks_[place]);
  blocks_.erase(blocks_.begin() + static_cast<std::ptrdiff_t>(place));
  ++released_;
}

void BlockTable::share(const BlockTable& other) {
  VRAMPLAN_CHECK(blocks_.empty() && pool_ == other.pool_);
  for (const std::int32_t block : other.blocks_) pool_->share(block);
  blocks_ = other.blocks_;
  released_ = other.released_;
}

void BlockTable::adopt(const std::vector<std::int32_t>& blocks) {
  VRAMPLAN_CHECK(blocks_.empty());
  blocks_ = blocks;
}

std::optional<BlockCopy> BlockTable::own(std::int64_t token) {
  const auto at = static_cast<std::size_t>(index(token) / block_.n);
  VRAMPLAN_CHECK(at < blocks_.size());
  const std::int32_t block = blocks_[at];
  if (pool_->holders(block) == 1) return std::nullopt;
  blocks_[at] = pool_->take();
  pool_->give_back(block);
  return BlockCopy{block, blocks_[at]};
}

std::int64_t BlockTable::index(std::int64_t token) const {
  VRAMPLAN_CHECK(token >= 0);
  const std::int64_t sink_tokens = sink_blocks_ * block_.n;
  if (token < sink_tokens) return token;
  const std::int64_t at = token - released_ * block_.n;
  VRAMPLAN_CHECK(at >= sink_tokens);
  return at;
}

std::int64_t BlockTable::slot(std::int64_t token) const {
  const std::int64_t place = index(token), at = place / block_.n;
  VRAMPLAN_CHECK(at < static_cast<std::int64_t>(blocks_.size()));
  return std::int64_t{blocks_[static_cast<std::size_t>(at)]} * block_.n + place % block_.n;
}

void BlockTable::clear() {
  // Last block first: the next sequence then takes them in the same order.
  for (auto block = blocks_.rbegin(); block != blocks_.rend(); ++block) pool_->give_back(*block);
  blocks_.clear();
  released_ = 0;
}

}  // namespace vramplan
