#pragma once
// DeviceMemory: guarded memory for kernels in tests. It starts as 0xFF bytes (NaN), ends at a page
// that cannot be touched, and the bytes around the array are checked after every launch.
#include <cstddef>
#include <cstring>
#include <string>
#include <vector>

namespace simt {

class DeviceMemory {
 public:
  explicit DeviceMemory(std::size_t bytes);
  ~DeviceMemory();
  DeviceMemory(DeviceMemory&& other) noexcept;
  DeviceMemory& operator=(DeviceMemory&&) = delete;
  DeviceMemory(const DeviceMemory&) = delete;

  void* data() const { return data_; }
  std::size_t bytes() const { return bytes_; }

  /// Empty, or what is wrong with some living array. Called after every launch.
  static std::string damage();

 private:
  std::string own_damage() const;
  std::byte* mapping_ = nullptr;
  std::size_t mapping_bytes_ = 0;
  std::byte* data_ = nullptr;
  std::size_t bytes_ = 0;
};

}  // namespace simt
