#pragma once
// LiveSet: the tensors of a pass as the arena would hold them: each rounded up, each at the lowest
// address where it fits.
#include <algorithm>

#include "planner/activations.h"

namespace vramplan {

/// Every tensor begins at a multiple of it. kernels and planner/README.md say the same.
inline constexpr Bytes kTensorAlignment{256};

/// Tensors taken and given back; remembers the fullest moment. `keep_tensors` also remembers what
/// was live.
class LiveSet {
 public:
  explicit LiveSet(bool keep_tensors) : keep_(keep_tensors) {}

  void enter(const char* where) { where_ = where; }
  void take(const char* name, Bytes bytes) {
    if (bytes.n == 0) return;
    const Bytes rounded = round_up(bytes, kTensorAlignment);
    VRAMPLAN_CHECK(count_ < kMost);
    begins_[count_] = first_fit(rounded);
    extent_ = std::max(extent_, begins_[count_] + rounded);
    live_ += rounded;
    tensors_[count_] = {name, rounded};
    ++count_;
    if (live_ > peak_.live) remember();
  }
  void drop(const char* name) {
    for (std::size_t i = count_; i-- > 0;) {
      if (tensors_[i].name != name) continue;
      live_ -= tensors_[i].bytes;
      std::copy(tensors_ + i + 1, tensors_ + count_, tensors_ + i);
      std::copy(begins_ + i + 1, begins_ + count_, begins_ + i);
      --count_;
      return;
    }
  }
  /// Where the tensor ends; 0 when it is not live.
  Bytes end_of(const char* name) const {
    for (std::size_t i = 0; i < count_; ++i) {
      if (tensors_[i].name == name) return begins_[i] + tensors_[i].bytes;
    }
    return {};
  }
  const Moment& peak() const { return peak_; }
  Bytes extent() const { return extent_; }

 private:
  /// The lowest address where no live tensor is in the way.
  Bytes first_fit(Bytes size) const {
    Bytes at;
    for (bool moved = true; moved;) {
      moved = false;
      for (std::size_t i = 0; i < count_; ++i) {
        const Bytes end = begins_[i] + tensors_[i].bytes;
        if (at >= end || begins_[i] >= at + size) continue;
        at = end;
        moved = true;
      }
    }
    return at;
  }
  void remember() {
    peak_.live = live_;
    if (!keep_) return;
    peak_.where = where_;
    peak_.tensors.assign(tensors_, tensors_ + count_);
  }

  static constexpr std::size_t kMost = 16;
  bool keep_;
  const char* where_ = "";
  Bytes live_, extent_;
  LiveTensor tensors_[kMost];
  Bytes begins_[kMost];
  std::size_t count_ = 0;
  Moment peak_;
};

}  // namespace vramplan
