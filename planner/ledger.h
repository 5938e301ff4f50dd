#pragma once
// Ledger: rows of bytes, each saying where, what, when, how many and why. It is filled twice: by
// formula (planner) and by observation (executor); a verdict is the row-wise difference.
#include <cstdint>
#include <string>
#include <vector>

#include "modelcards/units.h"

namespace vramplan {

enum class TierKind : std::uint8_t { kDevice, kHost, kDisk };
enum class Category : std::uint8_t {
  kWeights,
  kKvCache,
  kActivations,
  kWorkspace,
  kRuntime,
  kComm,
  kGraphs,
  kDraft,
};
/// The phases of a run, in order. A row is live from its phase on, except activations, and
/// workspace of prefill and decode, which are live in their own phase only (workspace taken at load
/// stays).
enum class Phase : std::uint8_t { kLoad, kPrefill, kDecode };

const char* name_of(TierKind tier);  // device host disk
const char* name_of(
    Category category);  // weights kv_cache activations workspace runtime comm graphs draft
const char* name_of(Phase phase);  // load prefill decode

/// How often sequences gave their blocks away in a run, and what it took to bring them back.
struct PreemptionCounts {
  std::int64_t preempted = 0;
  Blocks moved;       // by swap: to the host and back
  Tokens recomputed;  // by recomputing
  friend bool operator==(const PreemptionCounts&, const PreemptionCounts&) = default;
};

struct LedgerRow {
  int rank = 0;
  TierKind tier = TierKind::kDevice;
  Category category = Category::kWeights;
  std::string name;  // "embedding", "attention", "blocks", "peak": same word in both fillings
  Phase phase = Phase::kLoad;
  Bytes bytes;
  std::string formula;  // the arithmetic with numbers put in, or the probe that saw it
};

class Ledger {
 public:
  void add(LedgerRow row) { rows_.push_back(std::move(row)); }
  const std::vector<LedgerRow>& rows() const { return rows_; }
  /// Bytes live on a rank's tier in a phase: rows of earlier phases that persist, plus its own.
  Bytes live(int rank, TierKind tier, Phase phase) const;
  /// max over phases of live(): the peak is a maximum over moments, never a sum of peaks.
  Bytes peak(int rank, TierKind tier) const;
  Bytes sum(int rank, TierKind tier, Category category) const;

 private:
  std::vector<LedgerRow> rows_;
};

}  // namespace vramplan
