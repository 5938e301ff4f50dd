#pragma once
// Clock: the seam to time. Real on cpu and cuda; virtual on dry, driven by the latency model.
#include "modelcards/units.h"

namespace vramplan {

class Clock {
 public:
  virtual ~Clock() = default;
  virtual Seconds now() const = 0;  // monotonic, from an arbitrary start
};

class SteadyClock final : public Clock {
 public:
  Seconds now() const override;
};

/// Moves only when told.
class VirtualClock final : public Clock {
 public:
  Seconds now() const override { return now_; }
  void advance(Seconds by) { now_ += by; }

 private:
  Seconds now_;
};

}  // namespace vramplan
