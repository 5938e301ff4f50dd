#include "executor/arena.h"

#include <algorithm>
#include <utility>

namespace vramplan {

Arena::Arena(Tier& tier, Bytes size, std::string purpose)
    : tier_(tier), purpose_(std::move(purpose)), region_(tier.reserve(size, purpose_)) {}

Arena::~Arena() { tier_.release(region_); }

TensorView Arena::take(DType dtype, std::int64_t rows, std::int64_t columns,
                       std::string_view name) {
  const Bytes bytes = bytes_of(dtype, rows, columns);
  if (bytes.n == 0) return {nullptr, dtype, rows, columns};
  const std::int64_t size = round_up(bytes, Bytes{kAlignment}).n;

  // First fit: walk the tensors in address order and stop at the first gap that is large enough.
  std::size_t at = packed_;
  std::int64_t offset = at == 0 ? 0 : used_[at - 1].offset + used_[at - 1].size;
  const std::size_t first_gap = at;
  while (at < used_.size() && used_[at].offset - offset < size) {
    offset = used_[at].offset + used_[at].size;
    ++at;
  }
  if (size > region_.size.n - offset) out_of_plan({size}, name);
  used_.insert(used_.begin() + static_cast<std::ptrdiff_t>(at), Used{offset, size, bytes});
  if (at == first_gap) {
    packed_ = at + 1;
    std::int64_t end = offset + size;
    while (packed_ < used_.size() && used_[packed_].offset == end) {
      end += used_[packed_].size;
      ++packed_;
    }
  }
  live_ += Bytes{size};
  exact_ += bytes;
  high_water_ = std::max(high_water_, live_);
  extent_ = std::max(extent_, Bytes{offset + size});
  return {region_.data + offset, dtype, rows, columns};
}

TensorView Arena::retake(const TensorView& tensor) {
  const std::int64_t offset = offset_of(tensor.data);
  const std::int64_t size = round_up(tensor.bytes(), Bytes{kAlignment}).n;
  const auto at = std::lower_bound(used_.begin(), used_.end(), offset,
                                   [](const Used& u, std::int64_t o) { return u.offset < o; });
  VRAMPLAN_CHECK(offset >= 0 && size <= region_.size.n - offset);
  VRAMPLAN_CHECK(at == used_.end() || at->offset - offset >= size);
  VRAMPLAN_CHECK(at == used_.begin() || std::prev(at)->offset + std::prev(at)->size <= offset);
  packed_ = std::min(packed_, static_cast<std::size_t>(at - used_.begin()));
  used_.insert(at, Used{offset, size, tensor.bytes()});
  live_ += Bytes{size};
  exact_ += tensor.bytes();
  high_water_ = std::max(high_water_, live_);
  extent_ = std::max(extent_, Bytes{offset + size});
  return tensor;
}

void Arena::give_back(TensorView& tensor) {
  if (tensor.data == nullptr) {
    VRAMPLAN_CHECK(tensor.bytes() == Bytes{0});
    tensor = {};
    return;
  }
  const std::int64_t offset = offset_of(tensor.data);
  const auto found = std::lower_bound(used_.begin(), used_.end(), offset,
                                      [](const Used& u, std::int64_t o) { return u.offset < o; });
  VRAMPLAN_CHECK(found != used_.end() && found->offset == offset);
  live_ -= Bytes{found->size};
  exact_ -= found->bytes;
  packed_ = std::min(packed_, static_cast<std::size_t>(found - used_.begin()));
  used_.erase(found);
  tensor = {};
}

std::int64_t Arena::offset_of(const void* data) const {
  return static_cast<const std::byte*>(data) - region_.data;
}

void Arena::out_of_plan(Bytes needed, std::string_view name) const {
  std::int64_t largest = 0;
  std::int64_t end = 0;
  for (const Used& used : used_) {
    largest = std::max(largest, used.offset - end);
    end = used.offset + used.size;
  }
  largest = std::max(largest, region_.size.n - end);
  throw Error(ErrorCode::kOutOfPlan, "tensor " + std::string(name) + " needs " +
                                         std::to_string(needed.n) + " B of " + purpose_ + ": " +
                                         std::to_string(needed.n - largest) + " B are missing (" +
                                         std::to_string(live_.n) + " B of " +
                                         std::to_string(region_.size.n) + " B are taken)")
      .help("plan again with more capacity, or with a smaller context, batch or prefill chunk");
}

void Arena::check_integrity() const {
  std::int64_t end = 0;
  Bytes live, exact;
  for (std::size_t i = 0; i < used_.size(); ++i) {
    VRAMPLAN_CHECK(used_[i].offset >= end && used_[i].offset % kAlignment == 0);
    VRAMPLAN_CHECK(i >= packed_ || used_[i].offset == end);
    VRAMPLAN_CHECK(used_[i].size == round_up(used_[i].bytes, Bytes{kAlignment}).n);
    end = used_[i].offset + used_[i].size;
    live += Bytes{used_[i].size};
    exact += used_[i].bytes;
  }
  VRAMPLAN_CHECK(end <= region_.size.n && live == live_ && exact == exact_);
  VRAMPLAN_CHECK(high_water_ >= live_ && extent_ >= high_water_);
}

}  // namespace vramplan
