#include "reports/memory_bars.h"

#include <algorithm>

namespace vramplan {
namespace {

constexpr int kCategories = 8;

bool has_tier(const Ledger& ledger, int rank, TierKind tier) {
  return std::any_of(ledger.rows().begin(), ledger.rows().end(),
                     [&](const LedgerRow& row) { return row.rank == rank && row.tier == tier; });
}

Phase highest_phase(const Ledger& ledger, int rank, TierKind tier) {
  Phase best = Phase::kLoad;
  for (const Phase phase : {Phase::kPrefill, Phase::kDecode}) {
    if (ledger.live(rank, tier, phase) > ledger.live(rank, tier, best)) best = phase;
  }
  return best;
}

MemoryBar bar_of(const Ledger& ledger, int rank, TierKind tier, Phase phase) {
  MemoryBar bar;
  bar.phase = phase;
  for (int c = 0; c < kCategories; ++c) {
    const auto category = static_cast<Category>(c);
    Ledger part;  // live() knows which rows of earlier phases are still there
    for (const LedgerRow& row : ledger.rows()) {
      if (row.rank == rank && row.tier == tier && row.category == category) part.add(row);
    }
    const Bytes bytes = part.live(rank, tier, phase);
    if (bytes.n == 0) continue;
    bar.parts.push_back({category, bytes});
    bar.total += bytes;
  }
  return bar;
}

}  // namespace

std::vector<MemoryBar> memory_bars(const Plan& plan, const Measurement* measurement,
                                   const std::vector<RankGroup>& groups) {
  const Ledger& predicted = plan.predictions.ledger;
  std::vector<MemoryBar> bars;
  for (const RankGroup& group : groups) {
    const int rank = group.first();
    for (const TierKind tier : {TierKind::kDevice, TierKind::kHost, TierKind::kDisk}) {
      const bool seen = measurement != nullptr && has_tier(measurement->observed, rank, tier);
      if (!has_tier(predicted, rank, tier) && !seen) continue;
      const Phase phase = highest_phase(predicted, rank, tier);
      MemoryBar bar = bar_of(predicted, rank, tier, phase);
      bar.label = group.label() + " " + name_of(tier);
      for (const DevicePrediction& device : plan.predictions.devices) {
        if (tier == TierKind::kDevice && device.rank == rank) bar.capacity = device.capacity;
      }
      bars.push_back(bar);
      if (measurement == nullptr) continue;
      MemoryBar other = bar_of(measurement->observed, rank, tier, phase);
      other.label = bar.label;
      other.capacity = bar.capacity;
      other.observed = true;
      bars.push_back(other);
    }
  }
  return bars;
}

}  // namespace vramplan
