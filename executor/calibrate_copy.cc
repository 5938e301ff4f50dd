#include "executor/calibrate_copy.h"

#include <algorithm>
#include <cstring>
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

class CopyBench {
 public:
  CopyBench(Ops& ops, const Clock& clock, std::span<std::byte> memory)
      : ops_(ops),
        clock_(clock),
        half_(static_cast<std::int64_t>(memory.size()) / 2 / kRoom * kRoom),
        from_(memory.data()),
        weights_(memory.data() + half_),
        rooms_(2 * kRoom),
        in_(kIn * 4),
        out_(kOut * 4) {
    fill_harmless(weights_, half_);
    std::memset(from_, 1, static_cast<std::size_t>(half_));
    std::memset(rooms_.data(), 1, static_cast<std::size_t>(2 * kRoom));
    auto* values = reinterpret_cast<float*>(in_.data());
    std::fill(values, values + kIn, 0.5F);
    const std::int64_t stride = bytes_of(DType::kQ8_0, kOut, kIn).n;
    WeightView first{{weights_, DType::kQ8_0, kOut, kIn}, 0};
    ops_.pack(first);
    for (std::int64_t at = 0; at + stride <= half_; at += round_up(Bytes{stride}, Bytes{256}).n) {
      views_.push_back(first);
      views_.back().tensor.data = weights_ + at;
      if (at > 0) std::memcpy(weights_ + at, weights_, static_cast<std::size_t>(stride));
    }
    const Bytes scratch = ops_.linear_workspace(1, kIn, DType::kQ8_0);
    workspace_ = std::make_unique<Buffer>(std::max<std::int64_t>(1, scratch.n));
  }
  bool fits() const { return half_ >= 2 * kRoom && !views_.empty(); }

  CopySpeed run(int rounds) {
    compute(64);
    copy();
    std::vector<double> rates, overlaps;
    for (int i = 0; i < rounds; ++i) {
      const double d = timed([&] { copy(); });
      const double once = timed([&] { compute(256); }) / 256;
      if (d <= 0 || once <= 0) return {};
      const auto calls = std::max<std::int64_t>(1, static_cast<std::int64_t>(d / once));
      const double c = timed([&] { compute(calls); });
      const double together = timed([&] {
        std::thread copier([&] { copy(); });
        compute(calls);
        copier.join();
      });
      rates.push_back(static_cast<double>(kCopies * kRoom) / d);
      if (c > 0) overlaps.push_back(std::clamp((c + d - together) / c, 0.0, 1.0));
    }
    if (overlaps.empty()) return {};
    return {median_of(std::move(rates)), median_of(std::move(overlaps))};
  }

 private:
  template <class Call>
  double timed(const Call& call) {
    const double begin = clock_.now().v;
    call();
    return clock_.now().v - begin;
  }
  void copy() {
    for (std::int64_t i = 0; i < kCopies; ++i) {
      std::memcpy(rooms_.data() + i % 2 * kRoom, from_ + source_, static_cast<std::size_t>(kRoom));
      source_ = (source_ + kRoom) % half_;
    }
  }
  void compute(std::int64_t calls) {
    const TensorView in{in_.data(), DType::kF32, 1, kIn}, out{out_.data(), DType::kF32, 1, kOut};
    const TensorView workspace{workspace_->data(), DType::kI8, 1, workspace_->size()};
    for (std::int64_t i = 0; i < calls; ++i) {
      ops_.linear(out, in, views_[next_++ % views_.size()], {}, workspace);
    }
  }

  Ops& ops_;
  const Clock& clock_;
  std::int64_t half_;
  std::byte* from_;
  std::byte* weights_;
  Buffer rooms_, in_, out_;
  std::unique_ptr<Buffer> workspace_;
  std::vector<WeightView> views_;
  std::size_t next_ = 0;
  std::int64_t source_ = 0;
};

}  // namespace

CopySpeed measure_copy(Ops& ops, const Clock& clock, std::span<std::byte> memory, int rounds) {
  if (static_cast<std::int64_t>(memory.size()) < 4 * kRoom) return {};
  CopyBench bench(ops, clock, memory);
  return bench.fits() ? bench.run(rounds) : CopySpeed{};
}

}  // namespace vramplan
