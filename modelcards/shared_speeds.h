#pragma once
// SharedSpeeds: what a transfer and a computation leave of each other.

namespace vramplan {

/// Shares of their own speed that both keep while both go on.
struct SharedSpeeds {
  double transfer = 1, computing = 1;
};

}  // namespace vramplan
