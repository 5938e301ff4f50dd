#pragma once
// BlockTable: the blocks of one sequence in one group of layers, in the order of their tokens.
// Blocks that fell behind may be given back from the middle; what is left keeps its order, and the
// cache sees it as one run of positions: the index of a token is its place in that run.
#include <cstdint>
#include <optional>
#include <vector>

#include "executor/block_pool.h"

namespace vramplan {

/// A block whose bytes must be in another before the next pass.
struct BlockCopy {
  std::int32_t from = -1, to = -1;
};

class BlockTable {
 public:
  /// The first ceil(sinks / block) blocks stay whatever is released.
  explicit BlockTable(BlockPool& pool, TokensPerBlock block, Tokens sinks = {});
  ~BlockTable();
  BlockTable(BlockTable&&) noexcept;
  BlockTable(const BlockTable&) = delete;

  /// Takes blocks until `length` tokens have a slot. Errors: kOutOfPlan; blocks taken so far are
  /// kept.
  void grow_to(Tokens length);
  /// Gives back the blocks all of whose tokens are before `token`, but for the sinks.
  void release_before(Tokens token);
  /// Gives back the block at a place of blocks(), not the last; later tokens move up.
  void release_at(std::size_t place);
  /// Becomes a holder of every block of `other`, which keeps the same tokens. Only when empty.
  void share(const BlockTable& other);
  /// Begins with blocks that the caller already holds. Only when empty.
  void adopt(const std::vector<std::int32_t>& blocks);
  /// The block of `token` is about to be written: when others hold it too, takes a block of its own
  /// and says what to copy. Errors: kOutOfPlan.
  std::optional<BlockCopy> own(std::int64_t token);
  /// Tokens given back so far: always whole blocks.
  Tokens released() const { return {released_ * block_.n}; }
  /// Place of a token in the run of those kept. Errors (stops): a token that was given back.
  std::int64_t index(std::int64_t token) const;
  std::int64_t slot(std::int64_t token) const;  // block * block_tokens + offset
  const std::int32_t* blocks() const { return blocks_.data(); }
  std::size_t block_count() const { return blocks_.size(); }
  void clear();  // gives every block back

 private:
  BlockPool* pool_;
  TokensPerBlock block_;
  std::int64_t sink_blocks_;
  std::int64_t released_ = 0;  // blocks given back behind the sinks, or anywhere
  std::vector<std::int32_t> blocks_;
};

}  // namespace vramplan
