#include "shared_arena.h"

#include <algorithm>
#include <cstdint>
#include <cstring>
#include <new>

#if defined(__SANITIZE_ADDRESS__)
#include <sanitizer/asan_interface.h>
#else
#define ASAN_POISON_MEMORY_REGION(address, size) ((void)(address), (void)(size))
#define ASAN_UNPOISON_MEMORY_REGION(address, size) ((void)(address), (void)(size))
#endif

namespace simt {
namespace {

constexpr std::size_t kBytes = 512 * 1024, kRedzone = 128, kAlign = 128;
constexpr int kPoison = 0xFF;

}  // namespace

SharedArena::SharedArena()
    : memory_(new std::byte[kBytes + kAlign]), base_(memory_.get()), dirty_(kBytes) {
  const auto address = reinterpret_cast<std::uintptr_t>(base_);
  base_ += (kAlign - address % kAlign) % kAlign;
}

SharedArena::~SharedArena() { ASAN_UNPOISON_MEMORY_REGION(base_, kBytes); }

void SharedArena::reset() {
  ASAN_UNPOISON_MEMORY_REGION(base_, kBytes);
  std::memset(base_, kPoison, std::max(dirty_, used_));
  dirty_ = 0;
  used_ = taken_ = 0;
  arrays_.clear();
}

void* SharedArena::take(const void* key, std::size_t bytes, const std::string& name) {
  for (const Array& array : arrays_) {
    if (array.key == key) return base_ + array.begin;
  }
  const std::size_t begin = used_ + kRedzone;
  const std::size_t end = (begin + bytes + kRedzone + kAlign - 1) / kAlign * kAlign;
  if (end > kBytes) throw std::bad_alloc();
  ASAN_POISON_MEMORY_REGION(base_ + used_, kRedzone);
  ASAN_POISON_MEMORY_REGION(base_ + begin + bytes, end - begin - bytes);
  arrays_.push_back({key, begin, bytes, name});
  used_ = end;
  taken_ += bytes;
  return base_ + begin;
}

std::string SharedArena::damage() const {
  ASAN_UNPOISON_MEMORY_REGION(base_, used_);
  std::size_t at = 0;
  for (const Array& array : arrays_) {
    for (; at < array.begin; ++at) {
      if (base_[at] != std::byte{kPoison}) return "shared memory written before " + array.name;
    }
    at = array.begin + array.bytes;
    for (; at < used_ && at < array.begin + array.bytes + kRedzone; ++at) {
      if (base_[at] != std::byte{kPoison}) {
        return "shared memory written past the end of " + array.name + " (" +
               std::to_string(array.bytes) + " bytes)";
      }
    }
  }
  return {};
}

}  // namespace simt
