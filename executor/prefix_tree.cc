#include "executor/prefix_tree.h"

#include <algorithm>
#include <functional>

#include "executor/rng.h"

namespace vramplan {
namespace {

std::uint64_t root_of(const std::string& tenant) {
  return SplitMix64(std::hash<std::string>{}(tenant)).next();
}

}  // namespace

PrefixTree::~PrefixTree() { clear(); }

std::uint64_t PrefixTree::key_of(std::uint64_t parent, std::span<const std::int32_t> ids) const {
  std::uint64_t key = parent;
  for (const std::int32_t id : ids) {
    key = SplitMix64(key ^ static_cast<std::uint64_t>(static_cast<std::uint32_t>(id))).next();
  }
  return key;
}

std::vector<std::int32_t> PrefixTree::match(const std::string& tenant,
                                            std::span<const std::int32_t> ids) {
  std::vector<std::int32_t> blocks;
  std::uint64_t key = root_of(tenant);
  const std::int64_t whole = static_cast<std::int64_t>(ids.size()) / block_.n;
  asked_ += whole;
  ++clock_;
  for (std::int64_t at = 0; at < whole; ++at) {
    const std::span<const std::int32_t> wanted = part(ids, at);
    const std::uint64_t parent = key;
    key = key_of(parent, wanted);
    const auto found = nodes_.find(key);
    if (found == nodes_.end()) break;
    Node& node = found->second;
    if (node.parent != parent || !std::equal(wanted.begin(), wanted.end(), node.ids.begin())) break;
    node.used = clock_;
    pool_->share(node.block);
    blocks.push_back(node.block);
  }
  found_ += static_cast<std::int64_t>(blocks.size());
  return blocks;
}

void PrefixTree::insert(const std::string& tenant, std::span<const std::int32_t> ids,
                        std::span<const std::int32_t> blocks) {
  std::uint64_t key = root_of(tenant);
  const std::int64_t whole = std::min(static_cast<std::int64_t>(ids.size()) / block_.n,
                                      static_cast<std::int64_t>(blocks.size()));
  ++clock_;
  for (std::int64_t at = 0; at < whole; ++at) {
    const std::span<const std::int32_t> tokens = part(ids, at);
    const std::uint64_t parent = key;
    key = key_of(parent, tokens);
    const auto [node, fresh] = nodes_.try_emplace(key);
    if (!fresh) {
      const bool same = node->second.parent == parent &&
                        std::equal(tokens.begin(), tokens.end(), node->second.ids.begin());
      if (!same) return;  // another run of tokens has this key: what follows stays unknown
      node->second.used = clock_;
      continue;
    }
    const std::int32_t block = blocks[static_cast<std::size_t>(at)];
    pool_->share(block);
    node->second = {parent, {tokens.begin(), tokens.end()}, block, 0, clock_};
    const auto before = nodes_.find(parent);
    if (before != nodes_.end()) ++before->second.children;
  }
}

bool PrefixTree::evict_one() {
  auto oldest = nodes_.end();
  for (auto node = nodes_.begin(); node != nodes_.end(); ++node) {
    if (node->second.children > 0 || pool_->holders(node->second.block) > 1) continue;
    if (oldest == nodes_.end() || node->second.used < oldest->second.used) oldest = node;
  }
  if (oldest == nodes_.end()) return false;
  const auto before = nodes_.find(oldest->second.parent);
  if (before != nodes_.end()) --before->second.children;
  pool_->give_back(oldest->second.block);
  nodes_.erase(oldest);
  return true;
}

void PrefixTree::clear() {
  for (const auto& [key, node] : nodes_) pool_->give_back(node.block);
  nodes_.clear();
}

}  // namespace vramplan
