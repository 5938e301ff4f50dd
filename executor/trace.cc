#include "executor/trace.h"

#include <algorithm>
#include <utility>

namespace vramplan {

const char* name_of(TraceTrack track) {
  static constexpr const char* kNames[kTraceTracks] = {"compute", "kv_stream", "weight_stream"};
  return kNames[static_cast<int>(track)];
}

void Trace::add(TraceSlice slice) {
  const std::lock_guard lock(mutex_);
  slices_.push_back(std::move(slice));
}

void Trace::add(const TraceSample& sample) {
  const std::lock_guard lock(mutex_);
  samples_.push_back(sample);
}

std::vector<TraceSlice> Trace::slices() const {
  const std::lock_guard lock(mutex_);
  std::vector<TraceSlice> sorted = slices_;
  // Of two that begin together the longer is around the other.
  std::stable_sort(sorted.begin(), sorted.end(), [](const TraceSlice& a, const TraceSlice& b) {
    return a.begin < b.begin || (a.begin == b.begin && a.end > b.end);
  });
  return sorted;
}

TraceOverlap overlap_of(const std::vector<TraceSlice>& slices) {
  std::vector<const TraceSlice*> operations;  // one after another, in order
  for (const TraceSlice& slice : slices) {
    if (slice.track == TraceTrack::kCompute && !slice.pass) operations.push_back(&slice);
  }
  TraceOverlap out;
  for (const TraceSlice& slice : slices) {
    if (slice.track == TraceTrack::kCompute) continue;
    out.transfers += (slice.end - slice.begin).v;
    auto at = std::lower_bound(
        operations.begin(), operations.end(), slice.begin,
        [](const TraceSlice* operation, Seconds begin) { return operation->end < begin; });
    for (; at != operations.end() && (*at)->begin < slice.end; ++at) {
      const double shared =
          std::min((*at)->end, slice.end).v - std::max((*at)->begin, slice.begin).v;
      out.beside_operations += std::max(0.0, shared);
    }
  }
  return out;
}

}  // namespace vramplan
