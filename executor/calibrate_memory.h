#pragma once
// Memory that operations are timed on.
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <new>

#include "executor/rng.h"

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

/// Random bytes 0x20..0x2F: in every format we know they decode to small, normal, finite numbers,
/// so that no denormal or NaN slows a kernel.
inline void fill_harmless(std::byte* data, std::int64_t size) {
  SplitMix64 rng(1);
  for (std::int64_t at = 0; at + 8 <= size; at += 8) {
    const std::uint64_t word = (rng.next() & 0x0F0F0F0F0F0F0F0FULL) | 0x2020202020202020ULL;
    std::memcpy(data + at, &word, sizeof word);
  }
}
inline void fill_harmless(const Buffer& buffer) { fill_harmless(buffer.data(), buffer.size()); }

}  // namespace vramplan
