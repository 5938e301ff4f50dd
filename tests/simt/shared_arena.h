#pragma once
// SharedArena: the shared memory of one block. Every array is poisoned and stands between redzones.
#include <cstddef>
#include <memory>
#include <string>
#include <vector>

namespace simt {

class SharedArena {
 public:
  SharedArena();
  ~SharedArena();
  SharedArena(const SharedArena&) = delete;
  SharedArena& operator=(const SharedArena&) = delete;

  /// A new block: forgets all arrays and poisons what they used.
  void reset();
  /// The array of `key`, made on the first call. `name` appears in damage().
  void* take(const void* key, std::size_t bytes, const std::string& name);
  std::size_t bytes_taken() const { return taken_; }
  /// Empty, or which redzone was written.
  std::string damage() const;

 private:
  struct Array {
    const void* key;
    std::size_t begin, bytes;
    std::string name;
  };
  std::unique_ptr<std::byte[]> memory_;
  std::byte* base_ = nullptr;
  std::vector<Array> arrays_;
  std::size_t used_ = 0, taken_ = 0, dirty_ = 0;
};

}  // namespace simt
