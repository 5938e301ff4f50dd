#include "executor/weight_stream.h"

#include <algorithm>
#include <array>
#include <cstring>
#include <utility>

#include "executor/arena.h"

namespace vramplan {
namespace {

constexpr std::int64_t kAlignment = Arena::kAlignment;

std::array<WeightView*, 7> matrices_of(LayerWeights& w) {
  return {&w.q.weight,    &w.k.weight,  &w.v.weight,   &w.output.weight,
          &w.gate.weight, &w.up.weight, &w.down.weight};
}

std::byte* begin_of(const WeightView& view) { return static_cast<std::byte*>(view.tensor.data); }

std::int64_t taken(const WeightView& view) {
  return round_up(view.tensor.bytes(), Bytes{kAlignment}).n;
}

}  // namespace

Bytes StreamedLayers::largest() const {
  std::size_t most = 0;
  for (const auto& layer : bytes) most = std::max(most, layer.size());
  return {static_cast<std::int64_t>(most)};
}

StreamedLayers streamed_layers(const RankWeights& weights, const Decisions& decisions) {
  StreamedLayers out;
  const auto layers = static_cast<std::int64_t>(weights.layers.size());
  for (std::int64_t i = 0; i < layers; ++i) {
    if (!is_streamed(decisions, i, layers)) continue;
    LayerWeights layer = weights.layers[static_cast<std::size_t>(i)];
    std::byte *begin = nullptr, *end = nullptr;
    for (const WeightView* view : matrices_of(layer)) {
      if (view->tensor.data == nullptr) continue;
      if (begin == nullptr) begin = end = begin_of(*view);
      VRAMPLAN_CHECK(begin_of(*view) == end);
      end += taken(*view);
    }
    out.layers.push_back(i);
    out.bytes.emplace_back(begin, static_cast<std::size_t>(end - begin));
  }
  return out;
}

WeightStream::WeightStream(StreamedLayers streamed, RankWeights& weights,
                           std::span<std::byte> staging, std::int64_t rooms, bool moves,
                           SideCopies* copies)
    : streamed_(std::move(streamed)),
      place_(weights.layers.size(), -1),
      staging_(staging),
      rooms_(rooms),
      moves_(moves),
      ready_(streamed_.layers.size(), 0),
      copies_(moves ? copies : nullptr),
      there_(streamed_.layers.size(), false) {
  VRAMPLAN_CHECK(count() > 0 && rooms > 0 && rooms <= count());
  for (std::int64_t k = 0; k < count(); ++k) {
    const auto at = static_cast<std::size_t>(k);
    const auto layer = static_cast<std::size_t>(streamed_.layers[at]);
    place_[layer] = k;
    for (WeightView* view : matrices_of(weights.layers[layer])) {
      if (view->tensor.data == nullptr) continue;
      view->tensor.data = room(k) + (begin_of(*view) - streamed_.bytes[at].data());
    }
  }
  if (!moves) return;
  for (std::int64_t k = 0; copies_ != nullptr && k < count(); ++k) {
    marks_.push_back(copies_->make_mark());
  }
  if (copies_ == nullptr) worker_ = std::thread([this] { work(); });
  for (std::int64_t k = 0; k < rooms_; ++k) push(k);
}

WeightStream::~WeightStream() {
  if (!worker_.joinable()) return;
  {
    const std::lock_guard lock(mutex_);
    stop_ = true;
  }
  changed_.notify_all();
  worker_.join();
}

void WeightStream::run_on(VirtualClock& clock, const Link& link, SharedSpeeds speeds) {
  clock_.emplace(clock, speeds);
  link_ = link;
}

std::byte* WeightStream::room(std::int64_t k) const {
  const auto size = static_cast<std::int64_t>(staging_.size()) / rooms_;
  return staging_.data() + (k % rooms_) * size;
}

void WeightStream::before(std::int64_t layer) {
  const std::int64_t k = place_[static_cast<std::size_t>(layer)];
  if (k < 0) return;
  const auto at = static_cast<std::size_t>(k);
  if (clock_) {
    waited_ += clock_->wait_until(ready_[at]);
    return;
  }
  if (copies_ != nullptr) return copies_->hold_computing(marks_[at]);
  if (!moves_) return;
  const Seconds begin = steady_.now();
  std::unique_lock lock(mutex_);
  changed_.wait(lock, [&] { return there_[at]; });
  waited_ += (steady_.now() - begin).v;
}

void WeightStream::after(std::int64_t layer) {
  const std::int64_t k = place_[static_cast<std::size_t>(layer)];
  if (k < 0) return;
  const std::int64_t next = next_streamed(k, count(), rooms_);
  if (next == k) return;
  if (copies_ != nullptr) {
    copies_->follow_computing();  // which still reads the room
  } else if (moves_) {
    const std::lock_guard lock(mutex_);
    there_[static_cast<std::size_t>(k)] = false;
  }
  push(next);
}

Seconds WeightStream::take_waited() { return {std::exchange(waited_, 0.0)}; }

void WeightStream::push(std::int64_t k) {
  const auto at = static_cast<std::size_t>(k);
  if (clock_) {
    const auto bytes = static_cast<double>(streamed_.bytes[at].size());
    ready_[at] = clock_->push(link_.latency_s.value + bytes / link_.bytes_per_s.value);
    return;
  }
  if (!moves_) return;
  if (copies_ != nullptr) {
    const std::span<const std::byte> from = streamed_.bytes[at];
    copies_->copy(room(k), from.data(), Bytes{static_cast<std::int64_t>(from.size())},
                  HostCopy::kToDevice);
    return copies_->set_mark(marks_[at]);
  }
  const std::lock_guard lock(mutex_);
  jobs_.push_back(k);
  changed_.notify_all();
}

void WeightStream::work() {
  std::unique_lock lock(mutex_);
  for (;;) {
    changed_.wait(lock, [&] { return stop_ || !jobs_.empty(); });
    if (stop_) return;
    const std::int64_t k = jobs_.front();
    jobs_.pop_front();
    const std::span<const std::byte> from = streamed_.bytes[static_cast<std::size_t>(k)];
    lock.unlock();
    const Seconds begin = steady_.now();
    std::memcpy(room(k), from.data(), from.size());
    if (Trace* const trace = trace_.load()) {
      const std::int64_t layer = streamed_.layers[static_cast<std::size_t>(k)];
      trace->add({TraceTrack::kWeightStream, false, "layer " + std::to_string(layer), begin,
                  steady_.now(), Bytes{static_cast<std::int64_t>(from.size())}});
    }
    lock.lock();
    there_[static_cast<std::size_t>(k)] = true;
    changed_.notify_all();
  }
}

}  // namespace vramplan
