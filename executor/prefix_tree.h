#pragma once
// PrefixTree: blocks of prompts already computed, found again by the tokens that lead to them. A
// block's key is the hash of its tokens and of the key before; the first key is the tenant's salt,
// so that one tenant neither shares nor times the blocks of another (CVE-2025-46570). Hashes only
// find candidates: tokens are compared.
#include <cstdint>
#include <span>
#include <string>
#include <unordered_map>
#include <vector>

#include "executor/block_pool.h"

namespace vramplan {

class PrefixTree {
 public:
  PrefixTree(BlockPool& pool, TokensPerBlock block) : pool_(&pool), block_(block) {}
  ~PrefixTree();
  PrefixTree(const PrefixTree&) = delete;
  PrefixTree& operator=(const PrefixTree&) = delete;

  /// The longest run of known blocks that `ids` begins with; the caller becomes a holder of each.
  std::vector<std::int32_t> match(const std::string& tenant, std::span<const std::int32_t> ids);
  /// Makes the whole blocks of `ids` known: blocks[i] holds tokens [i b, (i + 1) b). The tree
  /// becomes a holder of those it did not know.
  void insert(const std::string& tenant, std::span<const std::int32_t> ids,
              std::span<const std::int32_t> blocks);
  /// Gives back the block that was of no use for the longest time, among those that nobody else
  /// holds and no known block follows. False when there is none.
  bool evict_one();
  void clear();

  std::int64_t block_count() const { return static_cast<std::int64_t>(nodes_.size()); }
  std::int64_t blocks_asked() const { return asked_; }
  std::int64_t blocks_found() const { return found_; }

 private:
  struct Node {
    std::uint64_t parent = 0;
    std::vector<std::int32_t> ids;
    std::int32_t block = -1;
    std::int64_t children = 0, used = 0;
  };
  std::uint64_t key_of(std::uint64_t parent, std::span<const std::int32_t> ids) const;
  std::span<const std::int32_t> part(std::span<const std::int32_t> ids, std::int64_t at) const {
    return ids.subspan(static_cast<std::size_t>(at * block_.n), static_cast<std::size_t>(block_.n));
  }

  BlockPool* pool_;
  TokensPerBlock block_;
  std::unordered_map<std::uint64_t, Node> nodes_;
  std::int64_t clock_ = 0, asked_ = 0, found_ = 0;
};

}  // namespace vramplan
