#pragma once
// WeightUpload: how bytes come into tensors that the CPU cannot write. A buffer is filled while the
// one before is still on its way.
#include <cstdint>
#include <span>
#include <string>

#include "executor/rank_weights.h"

namespace vramplan {

class WeightUpload {
 public:
  virtual ~WeightUpload() = default;
  /// Room for the next bytes: at most `wanted`, at least one. Valid until send.
  virtual std::span<std::byte> buffer(std::int64_t wanted) = 0;
  /// Starts the way of the first `size` bytes of the buffer to `to`.
  virtual void send(void* to, std::int64_t size) = 0;
  /// Makes the values of a random matrix where it lies. False: the caller makes them and sends
  /// them.
  virtual bool fill_random(const TensorView& tensor, const std::string& name,
                           std::uint64_t seed) = 0;

  /// Sends all of `from`.
  void send_all(void* to, std::span<const std::byte> from);
};

}  // namespace vramplan
