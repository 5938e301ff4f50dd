#pragma once
// Backend: Ops + tiers + clock + synchronise. Three of them: cpu, cuda, dry.
#include <memory>

#include "executor/clock.h"
#include "executor/tier.h"
#include "executor/timed_ops.h"
#include "kernels/ops.h"
#include "modelcards/device_card.h"
#include "planner/decisions.h"

namespace vramplan {

class Backend {
 public:
  virtual ~Backend() = default;
  virtual const char* name() const = 0;
  virtual Ops& ops() = 0;
  virtual Tier& tier(TierKind kind) = 0;
  virtual Clock& clock() = 0;
  virtual void synchronize() = 0;
  /// True when tensors have memory and values (cpu, cuda), false on dry.
  virtual bool computes() const = 0;
  /// What the operations took since the last call; empty where a call does not wait for its result.
  virtual OpTimings take_timings() { return {}; }
};

/// The host's memory, Eigen and our SIMD kernels, `threads` threads; capacity caps the device tier.
/// `linear_inputs`: see Decisions.
std::unique_ptr<Backend> make_cpu_backend(int threads, Bytes capacity,
                                          DType linear_inputs = DType::kI8);
/// Computes nothing; a device of any capacity and a clock driven by the card's op costs.
std::unique_ptr<Backend> make_dry_backend(const DeviceCard& card, const Decisions& decisions);

}  // namespace vramplan
