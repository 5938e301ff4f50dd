#pragma once
// BlockTable: the blocks of one sequence in logical order: token t lives in block t / block_tokens.
#include <cstdint>
#include <vector>

#include "executor/block_pool.h"

namespace vramplan {

class BlockTable {
 public:
  explicit BlockTable(BlockPool& pool, TokensPerBlock block);
  ~BlockTable();
  BlockTable(BlockTable&&) noexcept;
  BlockTable(const BlockTable&) = delete;

  /// Takes blocks until `length` tokens have a slot. Errors: kOutOfPlan; blocks taken so far are
  /// kept.
  void grow_to(Tokens length);
  std::int64_t slot(std::int64_t token) const;  // block * block_tokens + offset
  const std::int32_t* blocks() const { return blocks_.data(); }
  std::size_t block_count() const { return blocks_.size(); }
  void clear();  // gives every block back

 private:
  BlockPool* pool_;
  TokensPerBlock block_;
  std::vector<std::int32_t> blocks_;
};

}  // namespace vramplan
