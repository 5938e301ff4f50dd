#include "cli/interrupt.h"

#include <unistd.h>

#include <csignal>

namespace vramplan::cli {
namespace {

volatile std::sig_atomic_t pending_signal = 0;
volatile std::sig_atomic_t cooperative = 0;

// Only async-signal-safe calls here.
void on_signal(int signal) {
  if (cooperative != 0 && pending_signal == 0) {
    pending_signal = signal;
    return;
  }
  _exit(128 + signal);
}

}  // namespace

void install_signal_handlers() {
  struct sigaction action = {};
  action.sa_handler = on_signal;
  sigemptyset(&action.sa_mask);
  action.sa_flags = SA_RESTART;
  sigaction(SIGINT, &action, nullptr);
  sigaction(SIGTERM, &action, nullptr);
}

void check_interrupt() {
  if (pending_signal != 0) throw Interrupted(static_cast<int>(pending_signal));
}

InterruptScope::InterruptScope() {
  pending_signal = 0;
  cooperative = 1;
}

InterruptScope::~InterruptScope() { cooperative = 0; }

}  // namespace vramplan::cli
