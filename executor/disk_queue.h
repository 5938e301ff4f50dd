#pragma once
// DiskQueue: reads and writes of a file that go on while the caller does something else. io_uring
// where the kernel grants it, else pread and pwrite on a thread.
#include <cstdint>
#include <memory>
#include <string>

#include "modelcards/units.h"

namespace vramplan {

/// `data` belongs to the queue from submit until wait has returned. For direct I/O data, size and
/// offset are multiples of 4096.
struct DiskRequest {
  bool write = false;
  int fd = -1;
  std::byte* data = nullptr;
  std::int64_t size = 0, offset = 0;
};

/// error 0 and all bytes moved, or an errno; `bytes` < the size asked for at the end of the file.
struct DiskResult {
  std::int64_t bytes = 0;
  int error = 0;
};

class DiskQueue {
 public:
  virtual ~DiskQueue() = default;
  virtual const char* name() const = 0;
  /// A ticket for wait; requests may finish in any order.
  virtual std::uint64_t submit(const DiskRequest& request) = 0;
  /// Once for each ticket. A request that the kernel cut short is continued. error is ETIMEDOUT
  /// when nothing came within `deadline`: the request is lost, and its memory may still be written
  /// until the queue is destroyed.
  virtual DiskResult wait(std::uint64_t ticket, Seconds deadline) = 0;
};

/// `depth`: requests in flight at most; submit waits for room.
std::unique_ptr<DiskQueue> make_thread_queue(int depth);
/// Null where the kernel refuses io_uring (a container's filter, an old kernel) or the program was
/// built without liburing.
std::unique_ptr<DiskQueue> make_uring_queue(int depth);
/// The second, or where it is refused the first.
std::unique_ptr<DiskQueue> make_disk_queue(int depth);

}  // namespace vramplan
