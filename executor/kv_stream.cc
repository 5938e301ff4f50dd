#include "executor/kv_stream.h"

#include <algorithm>
#include <utility>

namespace vramplan {

KvStream::KvStream(Tier& device, const KvStreamShape& shape, std::unique_ptr<KvFar> far,
                   SideCopies* copies)
    : shape_(shape),
      device_(device),
      stride_(far_part_bytes(shape.placement, shape.part)),
      offset_{shape.placement == KvPlacement::kDisk ? BlockFile::kHeader : 0},
      far_(std::move(far)),
      ready_(static_cast<std::size_t>(shape.layers), 0),
      copies_(far_ != nullptr ? copies : nullptr),
      there_(static_cast<std::size_t>(shape.layers), false) {
  VRAMPLAN_CHECK(shape.layers > 0 && shape.staging > 0 && shape.staging <= shape.layers);
  // Before the region, which nobody would give back.
  for (std::int64_t i = 0; copies_ != nullptr && i < shape.layers; ++i) {
    marks_.push_back(copies_->make_mark());
  }
  region_ = device.reserve(stride_ * (shape.staging * shape.blocks.n),
                           "staging of the KV cache beyond the device");
  if (far_ != nullptr && copies_ == nullptr) {
    device.commit(region_.data, region_.size);
    worker_ = std::thread([this] { work(); });
  }
}

KvStream::~KvStream() {
  if (worker_.joinable()) {
    {
      const std::lock_guard lock(mutex_);
      stop_ = true;
    }
    changed_.notify_all();
    worker_.join();
  }
  far_.reset();  // what it still writes comes from the region
  device_.release(region_);
}

void KvStream::run_on(VirtualClock& clock, const Link& link, SharedSpeeds speeds) {
  clock_.emplace(clock, speeds);
  link_ = link;
}

std::byte* KvStream::staged(std::int64_t layer) const {
  const std::int64_t place = layer % shape_.staging;
  return region_.data + (stride_ * (place * shape_.blocks.n) + offset_).n;
}

Bytes pinned_records(const KvStreamShape& shape) {
  if (!shape.gpu || shape.placement != KvPlacement::kDisk) return {};
  const Bytes record = BlockFile::record_bytes(shape.part);
  return record * (shape.staging * shape.blocks.n) + Bytes{BlockFile::kAlignment};
}

void KvStream::begin_pass(std::span<const SequenceSlice> slices) {
  drain();
  fetched_.clear();
  written_.clear();
  for (const SequenceSlice& slice : slices) {
    const std::int64_t before = slice.kv_length - slice.query_count;
    const std::int64_t old = ceil_div(before, shape_.block.n), first = before / shape_.block.n;
    const std::int64_t end = ceil_div(slice.kv_length, shape_.block.n);
    fetched_.insert(fetched_.end(), slice.block_table, slice.block_table + old);
    written_.insert(written_.end(), slice.block_table + first, slice.block_table + end);
  }
  // Neighbours move together, whoever's they are.
  std::sort(fetched_.begin(), fetched_.end());
  std::sort(written_.begin(), written_.end());
  std::fill(there_.begin(), there_.end(), false);
  for (std::int64_t layer = 0; layer < shape_.staging && !by_turns(); ++layer) push({false, layer});
}

void KvStream::before(std::int64_t layer) {
  const auto at = static_cast<std::size_t>(layer);
  if (clock_) {
    waited_ += clock_->wait_until(ready_[at]);
    return;
  }
  if (by_turns()) push({false, layer});  // now: what computes are the layers before
  if (copies_ != nullptr) return copies_->hold_computing(marks_[at]);
  if (far_ == nullptr) return;
  const Seconds begin = steady_.now();
  std::unique_lock lock(mutex_);
  changed_.wait(lock, [&] { return there_[at] || failure_ != nullptr; });
  waited_ += (steady_.now() - begin).v;
  rethrow();
}

void KvStream::after(std::int64_t layer) {
  push({true, layer});
  const std::int64_t next = layer + shape_.staging;
  if (next < shape_.layers && !by_turns()) push({false, next});
}

void KvStream::drain() {
  if (clock_) waited_ += clock_->drain();
  if (far_ == nullptr || copies_ != nullptr) return;
  const Seconds begin = steady_.now();
  std::unique_lock lock(mutex_);
  changed_.wait(lock, [&] { return jobs_.empty() || failure_ != nullptr; });
  waited_ += (steady_.now() - begin).v;
  rethrow();
}

Seconds KvStream::take_waited() { return {std::exchange(waited_, 0.0)}; }

double KvStream::transfer(const Job& job) const {
  const auto blocks = static_cast<std::int64_t>((job.store ? written_ : fetched_).size());
  if (blocks == 0) return 0;
  const Bytes bytes = stride_ * blocks;
  return (job.store ? write_seconds(link_, bytes) : read_seconds(link_, bytes)).v;
}

void KvStream::push(Job job) {
  if (clock_) {
    const double done = clock_->push(transfer(job));
    if (!job.store) ready_[static_cast<std::size_t>(job.layer)] = done;
    return;
  }
  if (copies_ != nullptr) {
    // What is stored was computed before, and so was what lay where the next layer goes.
    if (job.store) copies_->follow_computing();
    run(job);
    if (!job.store) copies_->set_mark(marks_[static_cast<std::size_t>(job.layer)]);
    return;
  }
  if (far_ == nullptr) return;
  const std::lock_guard lock(mutex_);
  jobs_.push_back(job);
  changed_.notify_all();
}

void KvStream::rethrow() {
  if (failure_ != nullptr) std::rethrow_exception(failure_);
}

void KvStream::run(const Job& job) {
  std::byte* const staged_at = staged(job.layer);
  const Seconds begin = steady_.now();
  if (job.store) {
    far_->store(job.layer, written_, staged_at);
  } else {
    far_->fetch(job.layer, fetched_, staged_at);
  }
  Trace* const trace = trace_.load();
  const std::vector<std::int32_t>& blocks = job.store ? written_ : fetched_;
  if (trace == nullptr || blocks.empty()) return;
  const std::string what = std::string(job.store ? "store" : "fetch") + " " +
                           name_of(shape_.placement) + " layer " + std::to_string(job.layer);
  trace->add({TraceTrack::kKvStream, false, what, begin, steady_.now(),
              stride_ * static_cast<std::int64_t>(blocks.size())});
}

void KvStream::work() {
  std::unique_lock lock(mutex_);
  for (;;) {
    changed_.wait(lock, [&] { return stop_ || !jobs_.empty(); });
    if (jobs_.empty() || failure_ != nullptr) {
      if (stop_) return;
      changed_.wait(lock, [&] { return stop_; });
      return;
    }
    const Job job = jobs_.front();
    lock.unlock();
    std::exception_ptr failure;
    try {
      run(job);
    } catch (...) {
      failure = std::current_exception();
    }
    lock.lock();
    jobs_.pop_front();
    failure_ = failure;
    if (!job.store) there_[static_cast<std::size_t>(job.layer)] = true;
    changed_.notify_all();
  }
}

}  // namespace vramplan
