#include "executor/block_pool.h"

#include <limits>

namespace vramplan {

BlockPool::BlockPool(Tier& tier, Blocks count, Bytes block_bytes)
    : tier_(tier), block_bytes_(block_bytes), total_(count) {
  VRAMPLAN_CHECK(count.n >= 0 && block_bytes.n >= 0);
  if (count.n > std::numeric_limits<std::int32_t>::max()) {
    throw Error(ErrorCode::kUnsupported,
                "a pool of " + std::to_string(count.n) + " blocks: a block index has 31 bits")
        .help("use larger blocks");
  }
  region_ = tier.reserve(block_bytes * count.n, "the KV block pool");
  const auto size = static_cast<std::size_t>(count.n);
  holders_.assign(size, 0);
  committed_.assign(size, false);
  generation_.assign(size, 0);
  free_.reserve(size);
  // A stack with the lowest index on top: a first run touches the pool from its start.
  for (std::int64_t i = count.n - 1; i >= 0; --i) free_.push_back(static_cast<std::int32_t>(i));
}

BlockPool::~BlockPool() { tier_.release(region_); }

std::int32_t BlockPool::take() {
  if (free_.empty()) {
    throw Error(ErrorCode::kOutOfPlan,
                "all " + std::to_string(total_.n) + " KV blocks of the pool are held (" +
                    std::to_string(block_bytes_.n) + " B each); one more is needed")
        .help("plan again with a smaller context or batch, or with more capacity");
  }
  const std::int32_t block = free_.back();
  free_.pop_back();
  holders_[static_cast<std::size_t>(block)] = 1;
  ++generation_[static_cast<std::size_t>(block)];
  if (!committed_[static_cast<std::size_t>(block)]) {
    tier_.commit(data(block), block_bytes_);
    committed_[static_cast<std::size_t>(block)] = true;
  }
  held_ += Blocks{1};
  if (held_ > most_held_) most_held_ = held_;
  return block;
}

void BlockPool::share(std::int32_t block) {
  VRAMPLAN_CHECK(holders(block) >= 1);
  ++holders_[static_cast<std::size_t>(block)];
}

void BlockPool::give_back(std::int32_t block) {
  VRAMPLAN_CHECK(holders(block) >= 1);
  if (--holders_[static_cast<std::size_t>(block)] > 0) return;
  free_.push_back(block);
  held_ -= Blocks{1};
}

std::byte* BlockPool::data(std::int32_t block) const {
  VRAMPLAN_CHECK(block >= 0 && block < total_.n);
  return region_.data + block_bytes_.n * block;
}

std::int32_t BlockPool::holders(std::int32_t block) const {
  VRAMPLAN_CHECK(block >= 0 && block < total_.n);
  return holders_[static_cast<std::size_t>(block)];
}

std::int64_t BlockPool::generation(std::int32_t block) const {
  VRAMPLAN_CHECK(block >= 0 && block < total_.n);
  return generation_[static_cast<std::size_t>(block)];
}

void BlockPool::check_integrity() const {
  std::int64_t held = 0;
  for (const std::int32_t count : holders_) {
    VRAMPLAN_CHECK(count >= 0);
    if (count > 0) ++held;
  }
  VRAMPLAN_CHECK(held == held_.n && held_ <= most_held_ && most_held_ <= total_);
  VRAMPLAN_CHECK(static_cast<std::int64_t>(free_.size()) + held == total_.n);
  std::vector<bool> seen(holders_.size(), false);
  for (const std::int32_t block : free_) {
    const auto at = static_cast<std::size_t>(block);
    VRAMPLAN_CHECK(holders_[at] == 0 && !seen[at]);
    seen[at] = true;
  }
}

}  // namespace vramplan
