#pragma once
// TransferLane: transfers one after another beside a pass that computes and waits for them; while
// both go on each keeps a share of its speed.
#include "modelcards/shared_speeds.h"

namespace vramplan {

class TransferLane {
 public:
  explicit TransferLane(SharedSpeeds speeds) : speeds_(speeds) {}

  /// A transfer that takes `seconds` alone, behind those that began before; what wait takes.
  double begin(double seconds) { return asked_ += seconds; }
  /// Waits until it is done.
  void wait(double transfer);
  void wait_for_all() { wait(asked_); }
  /// Computes what takes `seconds` alone.
  void compute(double seconds);
  /// Seconds since the lane was made, waits and slower computing included.
  double now() const { return now_; }

 private:
  SharedSpeeds speeds_;
  double now_ = 0;
  double asked_ = 0, done_ = 0;  // seconds of transfers: all, and what of them is through
};

}  // namespace vramplan
