#pragma once
// WeightStream: matrices of layers that live in host memory. For its turn in a pass a layer's
// matrices come into staging on the device; one worker copies, so that the next layer comes in
// while one computes, the first of the next pass too; on a GPU they are copies beside its
// computing, which waits for them by itself. On dry nothing moves, and the waiting is what the
// card's link makes of it.
#include <atomic>
#include <condition_variable>
#include <cstddef>
#include <deque>
#include <mutex>
#include <optional>
#include <span>
#include <thread>
#include <vector>

#include "executor/clock.h"
#include "executor/link_clock.h"
#include "executor/rank_weights.h"
#include "executor/side_copies.h"
#include "executor/trace.h"
#include "modelcards/device_card.h"
#include "planner/decisions.h"

namespace vramplan {

/// The streamed layers of a rank: where each one's matrices begin in host memory, and their bytes.
struct StreamedLayers {
  std::vector<std::int64_t> layers;  // of the rank, in order
  std::vector<std::span<const std::byte>> bytes;
  Bytes largest() const;
};
/// Of weights that were loaded with LoadOptions::host. A layer's matrices lie one after another.
StreamedLayers streamed_layers(const RankWeights& weights, const Decisions& decisions);

class WeightStream {
 public:
  /// `staging`: `rooms` times what the largest layer takes. Points the views of the streamed layers
  /// there. `moves` false: a device that computes nothing. `copies`: beside the computing; null for
  /// a worker of its own.
  WeightStream(StreamedLayers streamed, RankWeights& weights, std::span<std::byte> staging,
               std::int64_t rooms, bool moves, SideCopies* copies = nullptr);
  ~WeightStream();
  WeightStream(const WeightStream&) = delete;
  WeightStream& operator=(const WeightStream&) = delete;

  /// Without `moves`: waits on a virtual clock for what the transfers would take on `link`.
  void run_on(VirtualClock& clock, const Link& link, SharedSpeeds speeds);

  /// Waits until the matrices of a layer of the rank are there; returns at once for one that stays.
  void before(std::int64_t layer);
  /// A layer was used: another may come into its room.
  void after(std::int64_t layer);
  /// Every transfer from now on is added to `trace`; null = to none.
  void trace_to(Trace* trace) { trace_ = trace; }
  /// Seconds waited since the last call.
  Seconds take_waited();

 private:
  std::int64_t count() const { return static_cast<std::int64_t>(streamed_.layers.size()); }
  std::byte* room(std::int64_t k) const;
  void push(std::int64_t k);
  void work();

  StreamedLayers streamed_;
  std::vector<std::int64_t> place_;  // by layer of the rank: k, or -1
  std::span<std::byte> staging_;
  std::int64_t rooms_;
  bool moves_;
  SteadyClock steady_;
  double waited_ = 0;

  // dry
  std::optional<LinkClock> clock_;
  Link link_;
  std::vector<double> ready_;  // on that clock

  // beside a GPU's computing
  SideCopies* copies_ = nullptr;
  std::vector<std::size_t> marks_;  // by k

  // the worker
  std::mutex mutex_;
  std::condition_variable changed_;
  std::deque<std::int64_t> jobs_;
  std::vector<bool> there_;  // by k
  bool stop_ = false;
  std::atomic<Trace*> trace_{nullptr};
  std::thread worker_;
};

}  // namespace vramplan
