#pragma once
// Tier: a place for bytes: device, host or disk. It hands out whole regions and says what is free;
// what lives inside a region is the business of Arena and BlockPool.
#include <cstddef>
#include <string>

#include "modelcards/units.h"
#include "planner/ledger.h"

namespace vramplan {

struct Region {
  std::byte* data = nullptr;   // null on the dry tier
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
};

}  // namespace vramplan
