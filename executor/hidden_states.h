#pragma once
// HiddenStates: the hidden states of one prompt in host memory, while prefill goes layer by layer.
// On dry nothing moves, and the waiting is what the card's link makes of it.
#include <utility>

#include "executor/clock.h"
#include "executor/tier.h"
#include "kernels/tensor.h"
#include "modelcards/device_card.h"

namespace vramplan {

class HiddenStates {
 public:
  /// Room for a prompt of `tokens`. `moves` false: a device that computes nothing. Errors:
  /// kOutOfPlan from the tier.
  HiddenStates(Tier& host, std::int64_t tokens, std::int64_t hidden, DType dtype, bool moves);
  ~HiddenStates();
  HiddenStates(const HiddenStates&) = delete;
  HiddenStates& operator=(const HiddenStates&) = delete;

  /// How bytes that move are copied; memcpy until somebody says.
  void copy_by(CopyBytes copy) { copy_ = std::move(copy); }
  /// Without `moves`: a transfer takes what it would on `link`.
  void run_on(VirtualClock& clock, const Link& link);

  /// Rows [first, first + x.rows) of the prompt, from x and into x.
  void store(std::int64_t first, const TensorView& x);
  void fetch(std::int64_t first, const TensorView& x);
  Bytes bytes() const { return region_.size; }
  /// Seconds of transfers since the last call.
  Seconds take_moved();

 private:
  void move(void* to, const void* from, Bytes size, HostCopy way);

  Tier& host_;
  Region region_;
  std::int64_t tokens_;
  Bytes row_;
  bool moves_;
  CopyBytes copy_;
  VirtualClock* clock_ = nullptr;
  Link link_;
  SteadyClock steady_;
  double moved_ = 0;
};

}  // namespace vramplan
