#pragma once
// Tier: a place for bytes: device, host or disk. It hands out whole regions and says what is free;
// what lives inside a region is the business of Arena and BlockPool.
#include <cstddef>
#include <cstdint>
#include <functional>
#include <memory>
#include <string>

#include "modelcards/units.h"
#include "planner/ledger.h"

namespace vramplan {

struct Region {
  std::byte* data = nullptr;  // on a dry tier an address no program can read or write
  Bytes size;
  int id = -1;
};

class Tier {
 public:
  virtual ~Tier() = default;
  virtual TierKind kind() const = 0;
  virtual Bytes capacity() const = 0;
  virtual Bytes free_now() const = 0;
  /// Errors: kOutOfPlan naming `purpose` and the missing bytes.
  virtual Region reserve(Bytes size, const std::string& purpose) = 0;
  virtual void release(Region& region) = 0;
  /// Part of a region is about to be used: a tier whose memory comes page by page (host) brings the
  /// pages now, so that no operation is timed with it. Contents stay.
  virtual void commit(std::byte*, Bytes) {}
};

/// Which way bytes go between a device and its host.
enum class HostCopy : std::uint8_t { kToHost, kToDevice };
using CopyBytes = std::function<void(void* to, const void* from, Bytes size, HostCopy way)>;

/// This machine's memory, anonymous and not touched before use; never more than `capacity` in all.
/// A capacity below the need is how tests run it out of memory.
std::unique_ptr<Tier> make_host_tier(TierKind kind, Bytes capacity);
/// Memory that does not exist, of any capacity: addresses are distinct and not readable.
std::unique_ptr<Tier> make_dry_tier(TierKind kind, Bytes capacity);

}  // namespace vramplan
