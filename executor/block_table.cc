#include "executor/block_table.h"

#include <utility>

namespace vramplan {

BlockTable::BlockTable(BlockPool& pool, TokensPerBlock block) : pool_(&pool), block_(block) {
  VRAMPLAN_CHECK(block.n > 0);
}

BlockTable::~BlockTable() { clear(); }

BlockTable::BlockTable(BlockTable&& other) noexcept
    : pool_(other.pool_), block_(other.block_), blocks_(std::move(other.blocks_)) {
  other.blocks_.clear();
}

void BlockTable::grow_to(Tokens length) {
  const auto wanted = static_cast<std::size_t>(blocks_for(length, block_).n);
  while (blocks_.size() < wanted) blocks_.push_back(pool_->take());
}

std::int64_t BlockTable::slot(std::int64_t token) const {
  const std::int64_t at = token / block_.n;
  VRAMPLAN_CHECK(token >= 0 && at < static_cast<std::int64_t>(blocks_.size()));
  return std::int64_t{blocks_[static_cast<std::size_t>(at)]} * block_.n + token % block_.n;
}

void BlockTable::clear() {
  // Last block first: the next sequence then takes them in the same order.
  for (auto block = blocks_.rbegin(); block != blocks_.rend(); ++block) pool_->give_back(*block);
  blocks_.clear();
}

}  // namespace vramplan
