// Of FakeRuntime: a device that several processes use: what each holds, and memory that one of them
// made and the others open.
#include <fcntl.h>
#include <sys/mman.h>
#include <unistd.h>

#include <array>
#include <atomic>
#include <csignal>
#include <cstring>

#include "tests/fake_cuda/fake_stream.h"

namespace vramplan::cuda {
namespace {

constexpr std::size_t kProcesses = 64;

/// A handle's bytes: whose file it is.
struct FileOfProcess {
  pid_t pid;
  int file;
};

bool is_there(pid_t pid) { return pid > 0 && kill(pid, 0) == 0; }

}  // namespace

struct SharedAccount::Entry {
  std::atomic<pid_t> pid;
  std::atomic<std::int64_t> used;
};

SharedAccount::SharedAccount() {
  void* const pages = mmap(nullptr, kProcesses * sizeof(Entry), PROT_READ | PROT_WRITE,
                           MAP_SHARED | MAP_ANONYMOUS, -1, 0);  // zeros: nobody
  VRAMPLAN_CHECK(pages != MAP_FAILED);
  entries_ = static_cast<Entry*>(pages);
}

SharedAccount::~SharedAccount() { munmap(entries_, kProcesses * sizeof(Entry)); }

void SharedAccount::set_own(Bytes used) {
  for (std::size_t i = 0; i < kProcesses; ++i) {
    pid_t holder = entries_[i].pid;
    const bool free = holder == 0 || !is_there(holder);
    if (holder != getpid() &&
        !(free && entries_[i].pid.compare_exchange_strong(holder, getpid()))) {
      continue;
    }
    entries_[i].used = used.n;
    return;
  }
  VRAMPLAN_CHECK(false);  // more processes than entries
}

Bytes SharedAccount::of_others() const {
  Bytes sum;
  for (const DeviceProcess& other : others()) sum += other.bytes.value_or(Bytes{});
  return sum;
}

std::vector<DeviceProcess> SharedAccount::others() const {
  std::vector<DeviceProcess> found;
  for (std::size_t i = 0; i < kProcesses; ++i) {
    const pid_t pid = entries_[i].pid;
    if (pid == getpid() || !is_there(pid) || entries_[i].used == 0) continue;
    found.push_back({pid, "another process", Bytes{entries_[i].used}, false});
  }
  return found;
}

/// From now on its pages are those of a file, at the same address.
MemoryHandle FakeRuntime::export_memory(void* data) {
  enter("cudaIpcGetMemHandle");
  const auto found = allocations_.find(static_cast<std::byte*>(data));
  if (found == allocations_.end() || found->second.pinned) {
    call_failed("cudaIpcGetMemHandle", Status::kInvalidValue, "not an allocation of the device");
  }
  while (step()) {
  }
  Allocation& allocation = found->second;
  if (allocation.file < 0) {
    const auto length = static_cast<std::size_t>(allocation.size.n);
    allocation.file = memfd_create("device-memory", MFD_CLOEXEC);
    VRAMPLAN_CHECK(allocation.file >= 0 && ftruncate(allocation.file, allocation.size.n) == 0);
    const std::vector<std::byte> content(found->first, found->first + length);
    void* const pages =
        mmap(data, length, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_FIXED, allocation.file, 0);
    VRAMPLAN_CHECK(pages == data);
    std::memcpy(data, content.data(), length);
  }
  MemoryHandle handle;
  const FileOfProcess file{getpid(), allocation.file};
  std::memcpy(handle.bytes.data(), &file, sizeof file);
  return handle;
}

void* FakeRuntime::open_memory(const MemoryHandle& handle, Bytes size) {
  enter("cudaIpcOpenMemHandle");
  device();
  FileOfProcess named{};
  std::memcpy(&named, handle.bytes.data(), sizeof named);
  const std::string path =
      "/proc/" + std::to_string(named.pid) + "/fd/" + std::to_string(named.file);
  const int file = named.pid == getpid() ? -1 : open(path.c_str(), O_RDWR | O_CLOEXEC);
  if (file < 0) {  // a process cannot open its own
    call_failed("cudaIpcOpenMemHandle", Status::kInvalidValue, "no such memory");
  }
  void* const data =
      mmap(nullptr, static_cast<std::size_t>(size.n), PROT_READ | PROT_WRITE, MAP_SHARED, file, 0);
  close(file);
  VRAMPLAN_CHECK(data != MAP_FAILED);
  allocations_[static_cast<std::byte*>(data)] = {size, {}, current_, false, -1};
  return data;
}

void FakeRuntime::close_memory(void* data) noexcept { release(data); }

}  // namespace vramplan::cuda
