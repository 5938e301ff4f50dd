#include "executor/tier.h"

namespace vramplan {
namespace {

// Not canonical on any 64-bit machine in use: reading there stops the program at once.
constexpr std::uintptr_t kFirstAddress = std::uintptr_t{1} << 56;

class DryTier final : public Tier {
 public:
  DryTier(TierKind kind, Bytes capacity) : kind_(kind), capacity_(capacity) {}
  ~DryTier() override { VRAMPLAN_CHECK(reserved_ == Bytes{0}); }

  TierKind kind() const override { return kind_; }
  Bytes capacity() const override { return capacity_; }
  Bytes free_now() const override { return capacity_ - reserved_; }

  Region reserve(Bytes size, const std::string& purpose) override {
    VRAMPLAN_CHECK(size.n >= 0);
    if (size > free_now()) {
      throw Error(ErrorCode::kOutOfPlan,
                  purpose + " needs " + std::to_string(size.n) + " B of " + name_of(kind_) +
                      " memory, " + std::to_string(free_now().n) +
                      " B are left: " + std::to_string((size - free_now()).n) + " B are missing");
    }
    Region region{reinterpret_cast<std::byte*>(next_address_), size, next_id_++};
    next_address_ += static_cast<std::uintptr_t>(round_up(size, Bytes{1 << 21}).n);
    reserved_ += size;
    return region;
  }

  void release(Region& region) override {
    if (region.id < 0) return;
    reserved_ -= region.size;
    region = {};
  }

 private:
  TierKind kind_;
  Bytes capacity_, reserved_;
  std::uintptr_t next_address_ = kFirstAddress;
  int next_id_ = 0;
};

}  // namespace

std::unique_ptr<Tier> make_dry_tier(TierKind kind, Bytes capacity) {
  return std::make_unique<DryTier>(kind, capacity);
}

}  // namespace vramplan
