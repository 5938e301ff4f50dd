#pragma once
// Interrupt: SIGINT ends with 130, SIGTERM with 143. While an InterruptScope lives the first signal
// only raises a flag, so that a run can give back what it holds; a second one ends at once.
#include <exception>

namespace vramplan::cli {

/// Thrown by check_interrupt; caught in main only.
class Interrupted final : public std::exception {
 public:
  explicit Interrupted(int signal) : signal_(signal) {}
  const char* what() const noexcept override { return "interrupted"; }
  int exit_code() const { return 128 + signal_; }

 private:
  int signal_;
};

void install_signal_handlers();
/// Throws Interrupted when a signal came since the scope began.
void check_interrupt();

class InterruptScope {
 public:
  InterruptScope();
  ~InterruptScope();
  InterruptScope(const InterruptScope&) = delete;
  InterruptScope& operator=(const InterruptScope&) = delete;
};

}  // namespace vramplan::cli
