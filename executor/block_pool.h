#pragma once
// BlockPool: KV blocks of one tier, with reference counts; BlockTable: a sequence's logical blocks.
// Law, checked after every operation in tests: free + held = total, every held block has count >= 1.
#include <cstdint>
#include <vector>

#include "executor/tier.h"

namespace vramplan {

class BlockPool {
 public:
  BlockPool(Tier& tier, Blocks count, Bytes block_bytes);
  ~BlockPool();
  BlockPool(const BlockPool&) = delete;
  BlockPool& operator=(const BlockPool&) = delete;

  /// Errors: kOutOfPlan naming the pool's size when no block is free.
  std::int32_t take();
  void share(std::int32_t block);       // one more holder
  void give_back(std::int32_t block);   // one holder less; free at zero

  std::byte* data(std::int32_t block) const;   // null on dry
  std::byte* base() const { return region_.data; }
  Bytes block_bytes() const { return block_bytes_; }
  Blocks total() const { return total_; }
  Blocks held() const { return held_; }
  Blocks most_held() const { return most_held_; }
  std::int32_t holders(std::int32_t block) const;
  /// Stops the program when the conservation law is broken.
  void check_integrity() const;

 private:
  Tier& tier_;
  Region region_;
  Bytes block_bytes_;
  Blocks total_, held_, most_held_;
  std::vector<std::int32_t> holders_, free_;
};

class BlockTable {
 public:
  explicit BlockTable(BlockPool& pool, TokensPerBlock block);
  ~BlockTable();
  BlockTable(BlockTable&&) noexcept;
  BlockTable(const BlockTable&) = delete;

  /// Takes blocks until `length` tokens have a slot.
  void grow_to(Tokens length);
  std::int64_t slot(std::int64_t token) const;      // block * block_tokens + offset
  const std::int32_t* blocks() const { return blocks_.data(); }
  std::size_t block_count() const { return blocks_.size(); }
  void clear();

 private:
  BlockPool* pool_;
  TokensPerBlock block_;
  std::vector<std::int32_t> blocks_;
};

}  // namespace vramplan
