#include "executor/calibrate_copy.h"

#include <algorithm>
#include <cstring>
#include <memory>
#include <thread>
#include <utility>
#include <vector>

#include "executor/calibrate_memory.h"
#include "executor/cost_fit.h"

namespace vramplan {
namespace {

constexpr std::int64_t kRoom = std::int64_t{2} << 20;  // as the matrices of a layer or so
constexpr std::int64_t kOut = 1536, kIn = 576;
constexpr std::int64_t kCopies = 24;  // a measurement: some ten milliseconds

/// Linears of one token over weights larger than caches.
class DecodeLoad {
 public:
  DecodeLoad(Ops& ops, std::span<std::byte> memory) : ops_(ops), in_(kIn * 4), out_(kOut * 4) {
    const auto size = static_cast<std::int64_t>(memory.size());
    const std::int64_t stride = bytes_of(DType::kQ8_0, kOut, kIn).n;
    if (size < stride) return;
    fill_harmless(memory.data(), size);
    auto* values = reinterpret_cast<float*>(in_.data());
    std::fill(values, values + kIn, 0.5F);
    WeightView first{{memory.data(), DType::kQ8_0, kOut, kIn}, 0};
    ops_.pack(first);
    for (std::int64_t at = 0; at + stride <= size; at += round_up(Bytes{stride}, Bytes{256}).n) {
      views_.push_back(first);
      views_.back().tensor.data = memory.data() + at;
      if (at > 0) std::memcpy(memory.data() + at, memory.data(), static_cast<std::size_t>(stride));
    }
    const Bytes scratch = ops_.linear_workspace(1, kIn, DType::kQ8_0);
    workspace_ = std::make_unique<Buffer>(std::max<std::int64_t>(1, scratch.n));
  }
  bool fits() const { return !views_.empty(); }
  void run(std::int64_t calls) {
    const TensorView in{in_.data(), DType::kF32, 1, kIn}, out{out_.data(), DType::kF32, 1, kOut};
    const TensorView workspace{workspace_->data(), DType::kI8, 1, workspace_->size()};
    for (std::int64_t i = 0; i < calls; ++i) {
      ops_.linear(out, in, views_[next_++ % views_.size()], {}, workspace);
    }
  }

 private:
  Ops& ops_;
  Buffer in_, out_;
  std::unique_ptr<Buffer> workspace_;
  std::vector<WeightView> views_;
  std::size_t next_ = 0;
};

template <class Call>
double timed(const Clock& clock, const Call& call) {
  const double begin = clock.now().v;
  call();
  return clock.now().v - begin;
}

}  // namespace

BesideComputing measure_beside(Ops& ops, const Clock& clock, std::span<std::byte> weights,
                               int rounds, const std::function<void()>& transfer) {
  DecodeLoad load(ops, weights);
  if (!load.fits()) return {};
  load.run(64);
  transfer();
  std::vector<double> alone, overlaps;
  for (int i = 0; i < rounds; ++i) {
    const double d = timed(clock, transfer);
    const double once = timed(clock, [&] { load.run(256); }) / 256;
    if (d <= 0 || once <= 0) return {};
    const auto calls = std::max<std::int64_t>(1, static_cast<std::int64_t>(d / once));
    const double c = timed(clock, [&] { load.run(calls); });
    const double together = timed(clock, [&] {
      std::thread mover(transfer);
      load.run(calls);
      mover.join();
    });
    alone.push_back(d);
    if (c > 0) overlaps.push_back(std::clamp((c + d - together) / c, 0.0, 1.0));
  }
  if (overlaps.empty()) return {};
  return {median_of(std::move(alone)), median_of(std::move(overlaps))};
}

CopySpeed measure_copy(Ops& ops, const Clock& clock, std::span<std::byte> memory, int rounds) {
  const std::int64_t half = static_cast<std::int64_t>(memory.size()) / 2 / kRoom * kRoom;
  if (half < 2 * kRoom) return {};
  std::memset(memory.data(), 1, static_cast<std::size_t>(half));
  Buffer rooms(2 * kRoom);
  std::memset(rooms.data(), 1, static_cast<std::size_t>(2 * kRoom));
  std::int64_t source = 0;
  const auto copy = [&] {
    for (std::int64_t i = 0; i < kCopies; ++i) {
      std::memcpy(rooms.data() + i % 2 * kRoom, memory.data() + source,
                  static_cast<std::size_t>(kRoom));
      source = (source + kRoom) % half;
    }
  };
  const BesideComputing beside =
      measure_beside(ops, clock, memory.subspan(static_cast<std::size_t>(half)), rounds, copy);
  if (beside.seconds <= 0) return {};
  return {static_cast<double>(kCopies * kRoom) / beside.seconds, beside.overlap};
}

}  // namespace vramplan
