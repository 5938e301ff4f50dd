#pragma once
// BlockPool: KV blocks of one tier, with reference counts.
// Law, checked after every operation in tests: free + held = total, every held block has count
// >= 1.
#include <cstdint>
#include <vector>

#include "executor/tier.h"

namespace vramplan {

class BlockPool {
 public:
  /// `block_bytes` is 0 when all a block holds lies elsewhere: then the pool only counts.
  BlockPool(Tier& tier, Blocks count, Bytes block_bytes);
  ~BlockPool();
  BlockPool(const BlockPool&) = delete;
  BlockPool& operator=(const BlockPool&) = delete;

  /// The first time a block is taken its memory is brought (Tier::commit).
  /// Errors: kOutOfPlan naming the pool's size when no block is free.
  std::int32_t take();
  void share(std::int32_t block);      // one more holder
  void give_back(std::int32_t block);  // one holder less; free at zero

  std::byte* data(std::int32_t block) const;  // not readable on dry
  std::byte* base() const { return region_.data; }
  Bytes block_bytes() const { return block_bytes_; }
  Blocks total() const { return total_; }
  Blocks held() const { return held_; }
  Blocks free() const { return total_ - held_; }
  Blocks most_held() const { return most_held_; }
  std::int32_t holders(std::int32_t block) const;
  /// How often the block was taken: a table that kept an index too long sees another number.
  std::int64_t generation(std::int32_t block) const;
  /// Stops the program when the conservation law is broken.
  void check_integrity() const;

 private:
  Tier& tier_;
  Region region_;
  Bytes block_bytes_;
  Blocks total_, held_, most_held_;
  std::vector<std::int32_t> holders_, free_;
  std::vector<std::int64_t> generation_;
  std::vector<bool> committed_;  // taken once before: its memory is there
};

}  // namespace vramplan
