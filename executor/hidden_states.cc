#include "executor/hidden_states.h"

#include <cstring>
#include <utility>

namespace vramplan {

HiddenStates::HiddenStates(Tier& host, std::int64_t tokens, std::int64_t hidden, DType dtype,
                           bool moves)
    : host_(host), tokens_(tokens), row_(bytes_of(dtype, 1, hidden)), moves_(moves) {
  region_ = host.reserve(row_ * tokens, "the hidden states of a prompt");
  if (moves) host.commit(region_.data, region_.size);
}

HiddenStates::~HiddenStates() { host_.release(region_); }

void HiddenStates::run_on(VirtualClock& clock, const Link& link) {
  clock_ = &clock;
  link_ = link;
}

void HiddenStates::store(std::int64_t first, const TensorView& x) {
  VRAMPLAN_CHECK(first >= 0 && first + x.rows <= tokens_);
  move(region_.data + (row_ * first).n, x.data, row_ * x.rows, HostCopy::kToHost);
}

void HiddenStates::fetch(std::int64_t first, const TensorView& x) {
  VRAMPLAN_CHECK(first >= 0 && first + x.rows <= tokens_);
  move(x.data, region_.data + (row_ * first).n, row_ * x.rows, HostCopy::kToDevice);
}

Seconds HiddenStates::take_moved() { return {std::exchange(moved_, 0.0)}; }

void HiddenStates::move(void* to, const void* from, Bytes size, HostCopy way) {
  if (clock_ != nullptr) {
    const double seconds = static_cast<double>(size.n) / link_.bytes_per_s.value;
    clock_->advance({seconds});
    moved_ += seconds;
    return;
  }
  if (!moves_) return;
  const Seconds begin = steady_.now();
  if (copy_) {
    copy_(to, from, size, way);
  } else {
    std::memcpy(to, from, static_cast<std::size_t>(size.n));
  }
  moved_ += (steady_.now() - begin).v;
}

}  // namespace vramplan
