#include "device_memory.h"

#include <sys/mman.h>
#include <unistd.h>

#include <algorithm>
#include <new>
#include <utility>

namespace simt {
namespace {

constexpr std::byte kPoison{0xFF};
constexpr std::size_t kAlign = 16;     // of the array: kernels use 16-byte loads
constexpr std::size_t kRedzone = 256;  // checked in front of the array

std::vector<DeviceMemory*>& living() {
  static thread_local std::vector<DeviceMemory*> list;
  return list;
}

}  // namespace

DeviceMemory::DeviceMemory(std::size_t bytes) : bytes_(bytes) {
  const auto page = static_cast<std::size_t>(sysconf(_SC_PAGESIZE));
  const std::size_t padded = (bytes + kAlign - 1) / kAlign * kAlign;
  const std::size_t body = (padded + kRedzone + page - 1) / page * page;
  mapping_bytes_ = body + page;
  void* memory =
      mmap(nullptr, mapping_bytes_, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
  if (memory == MAP_FAILED) throw std::bad_alloc();
  mapping_ = static_cast<std::byte*>(memory);
  std::fill_n(mapping_, body, kPoison);
  mprotect(mapping_ + body, page, PROT_NONE);
  data_ = mapping_ + body - padded;
  living().push_back(this);
}

DeviceMemory::DeviceMemory(DeviceMemory&& other) noexcept
    : mapping_(std::exchange(other.mapping_, nullptr)),
      mapping_bytes_(other.mapping_bytes_),
      data_(other.data_),
      bytes_(other.bytes_) {
  std::replace(living().begin(), living().end(), &other, this);
}

DeviceMemory::~DeviceMemory() {
  if (mapping_ == nullptr) return;
  std::erase(living(), this);
  munmap(mapping_, mapping_bytes_);
}

std::string DeviceMemory::own_damage() const {
  const auto page = static_cast<std::size_t>(sysconf(_SC_PAGESIZE));
  const std::byte* end = mapping_ + mapping_bytes_ - page;
  const auto clean = [](std::byte b) { return b == kPoison; };
  if (!std::all_of(data_ + bytes_, const_cast<std::byte*>(end), clean)) {
    return "device memory written past the end of an array of " + std::to_string(bytes_) + " bytes";
  }
  if (!std::all_of(data_ - kRedzone, data_, clean)) {
    return "device memory written before an array of " + std::to_string(bytes_) + " bytes";
  }
  return {};
}

std::string DeviceMemory::damage() {
  for (const DeviceMemory* memory : living()) {
    std::string found = memory->own_damage();
    if (!found.empty()) return found;
  }
  return {};
}

}  // namespace simt
