#pragma once
// SideCopies: transfers between host and device that go on while the device computes: a stream of
// its own, with marks that computing waits for. But for `wait`, nothing here waits on the host.
#include <cstddef>

#include "executor/tier.h"

namespace vramplan {

class SideCopies {
 public:
  virtual ~SideCopies() = default;
  /// Copies from now on begin when what is to be computed so far is done.
  virtual void follow_computing() = 0;
  virtual void copy(void* to, const void* from, Bytes size, HostCopy way) = 0;
  /// A mark that set_mark puts behind the copies so far.
  virtual std::size_t make_mark() = 0;
  virtual void set_mark(std::size_t mark) = 0;
  /// What is to be computed from now on waits until the mark, as it was last set, is reached.
  virtual void hold_computing(std::size_t mark) = 0;
  /// The host waits until the mark, as it was last set, is reached.
  virtual void wait(std::size_t mark) = 0;
};

}  // namespace vramplan
