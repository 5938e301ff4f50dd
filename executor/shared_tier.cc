#include "executor/shared_tier.h"

#include <fcntl.h>
#include <sys/mman.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstring>

#include "executor/process_memory.h"

namespace vramplan {
namespace {

Error system_error(const std::string& what) {
  return Error(ErrorCode::kIo, what + ": " + std::strerror(errno));
}

std::size_t length_of(Bytes size) { return static_cast<std::size_t>(size.n); }

}  // namespace

SharedTier::~SharedTier() { VRAMPLAN_CHECK(data_ == nullptr && file_ < 0); }

Bytes SharedTier::free_now() const {
  const Bytes machine = machine_available(), left = capacity_ - reserved_;
  return machine.n > 0 ? std::min(left, machine) : left;
}

Region SharedTier::reserve(Bytes size, const std::string& purpose) {
  VRAMPLAN_CHECK(size.n >= 0 && data_ == nullptr);
  if (size > capacity_) {
    throw Error(ErrorCode::kOutOfPlan, purpose + " needs " + to_text(size) + " (" +
                                           std::to_string(size.n) + " B) of memory to share, " +
                                           std::to_string(capacity_.n) + " B are left");
  }
  if (size.n == 0) return {nullptr, size, 0};
  file_ = memfd_create("vramplan-weights", MFD_CLOEXEC | MFD_ALLOW_SEALING);
  if (file_ < 0) throw system_error("memory to share for " + purpose);
  void* data = MAP_FAILED;
  if (ftruncate(file_, size.n) == 0) {
    data = mmap(nullptr, length_of(size), PROT_READ | PROT_WRITE, MAP_SHARED, file_, 0);
  }
  if (data == MAP_FAILED) {
    const Error error = system_error("memory to share for " + purpose);
    close_file();
    throw error;
  }
  data_ = static_cast<std::byte*>(data);
  reserved_ = size;
  return {data_, size, 0};
}

void SharedTier::release(Region& region) {
  if (region.id < 0) return;
  if (data_ != nullptr) munmap(data_, length_of(region.size));
  data_ = nullptr;
  reserved_ = {};
  close_file();
  region = {};
}

void SharedTier::close_file() {
  if (file_ >= 0) close(file_);
  file_ = -1;
}

/// A mapping that was made for writing keeps the file from being sealed, even where its pages are
/// read-only now. So a descriptor that cannot write takes its place.
void SharedTier::seal() {
  sealed_ = true;
  if (data_ == nullptr) return;
  const std::string self = "/proc/self/fd/" + std::to_string(file_);
  const int reader = open(self.c_str(), O_RDONLY | O_CLOEXEC);
  if (reader < 0) throw system_error("shared weights, opened for reading");
  void* const data = mmap(data_, length_of(reserved_), PROT_READ,
                          MAP_SHARED | MAP_FIXED | MAP_POPULATE, reader, 0);
  const bool mapped = data == data_;
  const Error unmapped = system_error("shared weights, mapped for reading");
  close(reader);
  if (!mapped) throw unmapped;
  if (fcntl(file_, F_ADD_SEALS, F_SEAL_SHRINK | F_SEAL_GROW | F_SEAL_WRITE | F_SEAL_SEAL) != 0) {
    throw system_error("shared weights, sealed");
  }
}

}  // namespace vramplan
