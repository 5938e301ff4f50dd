#pragma once
// KvStream: the cache of layers that live beyond the device. Each has its place in host memory or
// on a disk; for its turn in a pass its blocks come into staging on the device, and what the pass
// wrote goes back. One worker does the transfers in order, so that the next layer comes in while
// one computes; on a GPU they are copies beside its computing, which waits for them by itself, and
// of a disk pass through pinned memory: the host, which has nothing else to do, waits for the disk
// while the device still computes the layers before. On dry nothing moves, and the waiting is what
// the card's links make of it.
#include <atomic>
#include <condition_variable>
#include <deque>
#include <exception>
#include <functional>
#include <memory>
#include <mutex>
#include <optional>
#include <string>
#include <thread>
#include <vector>

#include "executor/block_file.h"
#include "executor/clock.h"
#include "executor/link_clock.h"
#include "executor/pass_input.h"
#include "executor/side_copies.h"
#include "executor/tier.h"
#include "executor/trace.h"
#include "modelcards/device_card.h"
#include "planner/decisions.h"

namespace vramplan {

struct KvStreamShape {
  KvPlacement placement = KvPlacement::kHost;
  std::int64_t layers = 0;   // that live beyond the device
  std::int64_t staging = 0;  // of them on the device at one time
  Bytes part;                // of one layer in a block
  Blocks blocks;             // of the pool
  TokensPerBlock block{16};
  std::string directory;       // of a disk's file
  std::uint64_t identity = 0;  // of model and layout
  bool gpu = false;            // a disk's records pass through pinned memory
};
/// That memory: a record of each staged layer's blocks, and room to align them.
Bytes pinned_records(const KvStreamShape& shape);

/// Where the bytes of layers beyond the device are.
class KvFar {
 public:
  virtual ~KvFar() = default;
  /// Blocks of a layer into staging, or from it; `staged` is where block 0 would be.
  virtual void fetch(std::int64_t layer, const std::vector<std::int32_t>& blocks,
                     std::byte* staged) = 0;
  virtual void store(std::int64_t layer, const std::vector<std::int32_t>& blocks,
                     std::byte* staged) = 0;
  /// Pinned memory that bytes pass through; none by default.
  virtual Bytes pinned_bytes() const { return {}; }
};
/// Memory of `tier`, copied by `copies`, or at once where there are none. Errors: kOutOfPlan.
std::unique_ptr<KvFar> make_host_far(Tier& tier, const KvStreamShape& shape,
                                     SideCopies* copies = nullptr);
/// A file. Errors: those of BlockFile.
std::unique_ptr<KvFar> make_disk_far(const KvStreamShape& shape);
/// The same beside a GPU: by way of pinned memory of `host`. A block is read and checked before it
/// goes to the device, and written when it has come from there and its room is wanted. Null
/// `queue`: the system's.
std::unique_ptr<KvFar> make_gpu_disk_far(Tier& host, SideCopies& copies, const KvStreamShape& shape,
                                         std::unique_ptr<DiskQueue> queue = nullptr);

class KvStream {
 public:
  /// Takes staging from `device`. Null `far`: a device that computes nothing, so nothing moves.
  /// `copies`: what `far` copies with beside the computing; null for a worker of its own.
  KvStream(Tier& device, const KvStreamShape& shape, std::unique_ptr<KvFar> far,
           SideCopies* copies = nullptr);
  ~KvStream();
  KvStream(const KvStream&) = delete;
  KvStream& operator=(const KvStream&) = delete;

  /// Without `far`: waits on a virtual clock for what the transfers would take on `link`.
  void run_on(VirtualClock& clock, const Link& link, SharedSpeeds speeds);

  /// The first byte of block 0 of a layer while it is staged; from block to block far_part_bytes.
  std::byte* staged(std::int64_t layer) const;
  Bytes stride() const { return stride_; }
  KvPlacement placement() const { return shape_.placement; }
  Bytes staging_bytes() const { return region_.size; }
  Bytes far_bytes(Blocks held) const { return stride_ * (shape_.layers * held.n); }
  /// Pinned memory that the bytes of a disk pass through; on dry what that would be.
  Bytes pinned_bytes() const {
    return far_ != nullptr ? far_->pinned_bytes() : pinned_records(shape_);
  }

  /// A pass over these slices begins: the first layers start to come in.
  void begin_pass(std::span<const SequenceSlice> slices);
  /// Waits until a layer is there. Errors: those of the transfers.
  void before(std::int64_t layer);
  /// A layer was used: what the pass wrote goes back, and the next one may come into its place.
  void after(std::int64_t layer);
  /// Waits for all transfers; a disk may still write what nobody waits for. Errors: theirs.
  void drain();
  /// Every transfer from now on is added to `trace`; null = to none.
  void trace_to(Trace* trace) { trace_ = trace; }
  /// Seconds waited since the last call.
  Seconds take_waited();

 private:
  struct Job {
    bool store = false;
    std::int64_t layer = 0;
  };
  void push(Job job);
  void work();
  void run(const Job& job);
  void rethrow();
  double transfer(const Job& job) const;  // seconds on dry

  KvStreamShape shape_;
  Tier& device_;
  Region region_;
  Bytes stride_, offset_;  // of blocks in staging; of the bytes of a block in its record
  std::unique_ptr<KvFar> far_;
  std::vector<std::int32_t> fetched_, written_;  // blocks of the pass
  SteadyClock steady_;
  double waited_ = 0;

  // dry
  std::optional<LinkClock> clock_;
  Link link_;
  std::vector<double> ready_;  // on that clock

  // beside a GPU's computing
  bool by_turns() const { return copies_ != nullptr && shape_.placement == KvPlacement::kDisk; }
  SideCopies* copies_ = nullptr;
  std::vector<std::size_t> marks_;  // by layer: behind its fetch

  // the worker
  std::mutex mutex_;
  std::condition_variable changed_;
  std::deque<Job> jobs_;
  std::vector<bool> there_;  // by layer: fetched for this pass
  std::exception_ptr failure_;
  bool stop_ = false;
  std::atomic<Trace*> trace_{nullptr};
  std::thread worker_;
};

}  // namespace vramplan
