#include <sys/mman.h>
#include <unistd.h>

#include <algorithm>
#include <cstdint>
#include <cstring>

#include "executor/process_memory.h"
#include "executor/tier.h"

namespace vramplan {
namespace {

constexpr Bytes kHugePage{2 * 1024 * 1024};

/// Anonymous mappings: a page costs memory when it is first written, so what is reserved and what
/// is used stay two numbers.
class HostTier final : public Tier {
 public:
  HostTier(TierKind kind, Bytes capacity) : kind_(kind), capacity_(capacity) {}
  ~HostTier() override { VRAMPLAN_CHECK(reserved_ == Bytes{0}); }

  TierKind kind() const override { return kind_; }
  Bytes capacity() const override { return capacity_; }

  Bytes free_now() const override {
    const Bytes machine = machine_available();
    const Bytes left = capacity_ - reserved_;
    return machine.n > 0 ? std::min(left, machine) : left;
  }

  Region reserve(Bytes size, const std::string& purpose) override {
    VRAMPLAN_CHECK(size.n >= 0);
    const Bytes left = capacity_ - reserved_;
    if (size > left) {
      throw Error(ErrorCode::kOutOfPlan,
                  purpose + " needs " + to_text(size) + " (" + std::to_string(size.n) + " B) of " +
                      name_of(kind_) + " memory, " + std::to_string(left.n) +
                      " B are left: " + std::to_string((size - left).n) + " B are missing");
    }
    Region region{nullptr, size, next_id_++};
    if (size.n > 0) region.data = map(size, purpose);
    reserved_ += size;
    return region;
  }

  void release(Region& region) override {
    if (region.id < 0) return;
    if (region.data != nullptr) munmap(region.data, static_cast<std::size_t>(region.size.n));
    reserved_ -= region.size;
    region = {};
  }

  void commit(std::byte* data, Bytes size) override {
    const auto page = static_cast<std::uintptr_t>(sysconf(_SC_PAGESIZE));
    const auto begin = reinterpret_cast<std::uintptr_t>(data) / page * page;
    const auto end = reinterpret_cast<std::uintptr_t>(data) + static_cast<std::uintptr_t>(size.n);
#if defined(MADV_POPULATE_WRITE)
    if (madvise(reinterpret_cast<void*>(begin), end - begin, MADV_POPULATE_WRITE) == 0) return;
#endif
    // An older kernel: every page is written where it is ours, with what it holds.
    for (std::uintptr_t at = std::max(begin, reinterpret_cast<std::uintptr_t>(data)); at < end;
         at = at / page * page + page) {
      auto* byte = reinterpret_cast<volatile std::byte*>(at);
      *byte = *byte;
    }
  }

 private:
  static std::byte* map(Bytes size, const std::string& purpose) {
    const auto length = static_cast<std::size_t>(size.n);
    void* const data = mmap(nullptr, length, PROT_READ | PROT_WRITE,
                            MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
    if (data == MAP_FAILED) {
      throw Error(ErrorCode::kOutOfPlan, "the operating system refuses " + to_text(size) + " for " +
                                             purpose + ": " + std::strerror(errno))
          .help("lower the context or the batch, or raise the address space limit (ulimit -v)");
    }
    if (size >= kHugePage * 4) madvise(data, length, MADV_HUGEPAGE);  // a wish: may be refused
    return static_cast<std::byte*>(data);
  }

  TierKind kind_;
  Bytes capacity_, reserved_;
  int next_id_ = 0;
};

}  // namespace

std::unique_ptr<Tier> make_host_tier(TierKind kind, Bytes capacity) {
  return std::make_unique<HostTier>(kind, capacity);
}

}  // namespace vramplan
