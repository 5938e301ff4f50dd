#pragma once
// RankGroup: ranks whose rows are the same, shown once as "ranks 0-7".
#include <string>
#include <vector>

#include "reports/verdict.h"

namespace vramplan {

struct RankGroup {
  std::vector<int> ranks;  // ascending, never empty
  int first() const { return ranks.front(); }
  std::string label() const;  // "rank 0", "ranks 0-7", "ranks 0-2, 5"
};

/// Ranks with the same capacity, prediction and ledger rows, in order of their first rank.
std::vector<RankGroup> rank_groups(const Plan& plan);
/// The same observations and outcomes as well; also ranks that were only observed.
std::vector<RankGroup> rank_groups(const Plan& plan, const Verdict& verdict);

/// Ranks whose capacity identity is the same.
std::vector<RankGroup> rank_groups(const std::vector<RankCapacity>& capacity);

}  // namespace vramplan
