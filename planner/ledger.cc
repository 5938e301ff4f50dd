#include "planner/ledger.h"

#include <algorithm>

namespace vramplan {
namespace {

/// Activations end with their phase, and so does workspace, but for what is taken at load and kept.
bool persists(const LedgerRow& row) {
  if (row.category == Category::kActivations) return false;
  return row.category != Category::kWorkspace || row.phase == Phase::kLoad;
}

}  // namespace

const char* name_of(TierKind tier) {
  static constexpr const char* kNames[] = {"device", "host", "disk"};
  return kNames[static_cast<int>(tier)];
}

const char* name_of(Category category) {
  static constexpr const char* kNames[] = {"weights", "kv_cache", "activations", "workspace",
                                           "runtime", "comm",     "graphs",      "draft"};
  return kNames[static_cast<int>(category)];
}

const char* name_of(Phase phase) {
  static constexpr const char* kNames[] = {"load", "prefill", "decode"};
  return kNames[static_cast<int>(phase)];
}

Bytes Ledger::live(int rank, TierKind tier, Phase phase) const {
  Bytes total;
  for (const LedgerRow& row : rows_) {
    if (row.rank != rank || row.tier != tier) continue;
    if (row.phase == phase || (row.phase < phase && persists(row))) total += row.bytes;
  }
  return total;
}

Bytes Ledger::peak(int rank, TierKind tier) const {
  return std::max({live(rank, tier, Phase::kLoad), live(rank, tier, Phase::kPrefill),
                   live(rank, tier, Phase::kDecode)});
}

Bytes Ledger::sum(int rank, TierKind tier, Category category) const {
  Bytes total;
  for (const LedgerRow& row : rows_) {
    if (row.rank == rank && row.tier == tier && row.category == category) total += row.bytes;
  }
  return total;
}

}  // namespace vramplan
