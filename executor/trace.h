#pragma once
// Trace: when each operation, transfer and pass of a run began and ended, and what was live then.
#include <cstdint>
#include <mutex>
#include <string>
#include <vector>

#include "modelcards/units.h"

namespace vramplan {

/// A row of the picture: passes with operations inside them, and each worker that moves bytes.
enum class TraceTrack : std::uint8_t { kCompute, kKvStream, kWeightStream };
inline constexpr int kTraceTracks = 3;
const char* name_of(TraceTrack track);  // compute kv_stream weight_stream

struct TraceSlice {
  TraceTrack track = TraceTrack::kCompute;
  bool pass = false;  // a pass, around its operations
  std::string name;
  Seconds begin, end;
  Bytes bytes;  // moved by a transfer
};

/// Bytes live between two passes.
struct TraceSample {
  Seconds at;
  Bytes weights, kv_cache, activations;
};

class Trace {
 public:
  /// From any thread; times are of one steady clock.
  void add(TraceSlice slice);
  void add(const TraceSample& sample);
  /// By their begin. When nobody adds any more.
  std::vector<TraceSlice> slices() const;
  const std::vector<TraceSample>& samples() const { return samples_; }

 private:
  mutable std::mutex mutex_;
  std::vector<TraceSlice> slices_;
  std::vector<TraceSample> samples_;
};

/// Seconds of transfers, and those of them while an operation ran.
struct TraceOverlap {
  double transfers = 0, beside_operations = 0;
};
TraceOverlap overlap_of(const std::vector<TraceSlice>& slices);

}  // namespace vramplan
