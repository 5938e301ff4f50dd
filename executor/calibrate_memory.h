#pragma once
// Memory that operations are timed on.
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <memory>
#include <new>

#include "executor/rng.h"
#include "executor/tier.h"

namespace vramplan {

/// Memory aligned for any kernel; contents are uninitialised.
class Buffer {
 public:
  explicit Buffer(std::int64_t size)
      : data_(static_cast<std::byte*>(::operator new(static_cast<std::size_t>(size), kAlign))),
        size_(size) {}
  ~Buffer() { ::operator delete(data_, kAlign); }
  Buffer(const Buffer&) = delete;
  Buffer& operator=(const Buffer&) = delete;
  std::byte* data() const { return data_; }
  std::int64_t size() const { return size_; }

 private:
  static constexpr std::align_val_t kAlign{256};
  std::byte* data_;
  std::int64_t size_;
};

/// Memory as a run has it for weights and cache blocks: the same tier, so the same page sizes, on
/// which the reach of the processor's address translation, and with it the speed of scattered
/// reads, depends.
class TierBuffer {
 public:
  explicit TierBuffer(Bytes size)
      : tier_(make_host_tier(TierKind::kDevice, size)), region_(tier_->reserve(size, "timing")) {}
  ~TierBuffer() { tier_->release(region_); }
  TierBuffer(const TierBuffer&) = delete;
  TierBuffer& operator=(const TierBuffer&) = delete;
  std::byte* data() const { return region_.data; }
  std::int64_t size() const { return region_.size.n; }

 private:
  std::unique_ptr<Tier> tier_;
  Region region_;
};

/// Random bytes 0x20..0x2F: in every format we know they decode to small, normal, finite numbers,
/// so that no denormal or NaN slows a kernel.
inline void fill_harmless(std::byte* data, std::int64_t size) {
  SplitMix64 rng(1);
  for (std::int64_t at = 0; at + 8 <= size; at += 8) {
    const std::uint64_t word = (rng.next() & 0x0F0F0F0F0F0F0F0FULL) | 0x2020202020202020ULL;
    std::memcpy(data + at, &word, sizeof word);
  }
}
inline void fill_harmless(const TierBuffer& buffer) { fill_harmless(buffer.data(), buffer.size()); }

}  // namespace vramplan
