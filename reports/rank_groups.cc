#include "reports/rank_groups.h"

#include <fmt/format.h>

#include <algorithm>
#include <map>

namespace vramplan {
namespace {

using Signatures = std::map<int, std::string>;

void sign_plan(const Plan& plan, Signatures& signatures) {
  for (const DevicePrediction& device : plan.predictions.devices) {
    signatures[device.rank] += fmt::format("{}|{}\n", device.capacity.n, device.predicted.n);
  }
}

std::vector<RankGroup> grouped_by(const Signatures& signatures) {
  std::vector<RankGroup> groups;
  std::map<std::string, std::size_t> known;
  for (const auto& [rank, signature] : signatures) {
    const auto [at, is_new] = known.try_emplace(signature, groups.size());
    if (is_new) groups.push_back({});
    groups[at->second].ranks.push_back(rank);
  }
  return groups;
}

}  // namespace

std::string RankGroup::label() const {
  std::string text = ranks.size() == 1 ? "rank " : "ranks ";
  for (std::size_t i = 0; i < ranks.size();) {
    std::size_t end = i;
    while (end + 1 < ranks.size() && ranks[end + 1] == ranks[end] + 1) ++end;
    text += (i == 0 ? "" : ", ") + std::to_string(ranks[i]);
    if (end > i) text += "-" + std::to_string(ranks[end]);
    i = end + 1;
  }
  return text;
}

std::vector<RankGroup> rank_groups(const Plan& plan) {
  Signatures signatures;
  sign_plan(plan, signatures);
  for (const LedgerRow& row : plan.predictions.ledger.rows()) {
    signatures[row.rank] +=
        fmt::format("{} {} {} {} {}\n", name_of(row.tier), name_of(row.category), row.name,
                    name_of(row.phase), row.bytes.n);
  }
  return grouped_by(signatures);
}

std::vector<RankGroup> rank_groups(const Plan& plan, const Verdict& verdict) {
  Signatures signatures;
  sign_plan(plan, signatures);
  for (const VerdictRow& row : verdict.rows) {
    signatures[row.rank] +=
        fmt::format("{} {} {} {} {} {} {}\n", name_of(row.tier), name_of(row.category), row.name,
                    name_of(row.phase), row.predicted.n, row.observed.n, name_of(row.outcome));
  }
  return grouped_by(signatures);
}

std::vector<RankGroup> rank_groups(const std::vector<RankCapacity>& capacity) {
  Signatures signatures;
  for (const RankCapacity& c : capacity) {
    signatures[c.rank] +=
        fmt::format("{} {} {} {}\n", c.capacity.n, c.free.n, c.rows.n, c.unaccounted.n);
  }
  return grouped_by(signatures);
}

}  // namespace vramplan
