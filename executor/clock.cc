#include "executor/clock.h"

#include <chrono>

namespace vramplan {

Seconds SteadyClock::now() const {
  return {
      std::chrono::duration<double>(std::chrono::steady_clock::now().time_since_epoch()).count()};
}

}  // namespace vramplan
