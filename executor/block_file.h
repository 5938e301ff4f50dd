#pragma once
// BlockFile: records of one size in a file without a name, for what does not fit memory. A record
// is memory of record_bytes: a header of kHeader bytes, the payload, and padding to 4096 B. It can
// be read only after its write is known to have succeeded, and every read checks header and
// payload: what comes back is what was written last, or an error. The file is scratch: it has no
// name, its space is taken before the run, and it is gone with the process.
#include <cstdint>
#include <span>
#include <string>
#include <vector>

#include "executor/disk_queue.h"

namespace vramplan {

class BlockFile {
 public:
  static constexpr std::int64_t kHeader = 64;       // bytes
  static constexpr std::int64_t kAlignment = 4096;  // of records in the file and in memory

  struct Shape {
    std::string directory;  // must exist; refused when others may replace files in it
    Bytes payload;          // of a record
    std::int64_t records = 0;
    std::uint64_t identity = 0;  // of model and layout: a record of another is refused
    Seconds deadline{10};        // of one read or write
  };
  /// Errors: kFile naming the directory; kOutOfPlan with both numbers when the disk has no room;
  /// kIo. `queue` must outlive the file.
  BlockFile(DiskQueue& queue, const Shape& shape);
  ~BlockFile();
  BlockFile(const BlockFile&) = delete;
  BlockFile& operator=(const BlockFile&) = delete;

  /// kHeader + payload, rounded up to kAlignment.
  static Bytes record_bytes(Bytes payload);
  Bytes record_bytes() const { return record_bytes(shape_.payload); }
  Bytes file_bytes() const { return record_bytes() * shape_.records; }
  std::span<std::byte> payload(std::byte* record) const {
    return {record + kHeader, static_cast<std::size_t>(shape_.payload.n)};
  }
  /// False where the file system has no direct I/O (tmpfs): then the page cache is in between.
  bool direct() const { return direct_; }

  // `count` records that follow each other in the file and in memory move in one request; each has
  // its header and is checked by itself.

  /// Starts writing `records` (aligned memory of record_bytes each; headers are filled in) as
  /// numbers `index` and on. Until finish they belong to the file and cannot be read.
  std::uint64_t begin_write(std::int64_t index, std::byte* records, std::int64_t count = 1);
  /// Waits. Errors: kIo; the records stay unreadable.
  void finish_write(std::int64_t index, std::uint64_t ticket, std::int64_t count = 1);
  /// Starts reading. Errors: kInternal unless the records were written.
  std::uint64_t begin_read(std::int64_t index, std::byte* records, std::int64_t count = 1);
  /// Waits and checks. Errors: kIo naming the record and what is wrong with it.
  void finish_read(std::int64_t index, std::uint64_t ticket, const std::byte* records,
                   std::int64_t count = 1);

  void write(std::int64_t index, std::byte* record) {
    finish_write(index, begin_write(index, record));
  }
  void read(std::int64_t index, std::byte* record) {
    finish_read(index, begin_read(index, record), record);
  }
  /// The record's content is of no use any more: reading it is an error again.
  void drop(std::int64_t index) { entry(index).readable = false; }
  bool readable(std::int64_t index) const { return entry(index).readable; }

 private:
  struct Entry {
    std::uint64_t generation = 0;  // of the last write begun
    bool readable = false;
  };
  Entry& entry(std::int64_t index);
  const Entry& entry(std::int64_t index) const;
  DiskRequest request(bool write, std::int64_t index, std::byte* records, std::int64_t count) const;
  void check_moved(std::int64_t index, std::int64_t count, const DiskResult& result,
                   const char* what) const;
  void write_header(std::int64_t index, std::byte* record);
  void check(std::int64_t index, const std::byte* record) const;

  DiskQueue& queue_;
  Shape shape_;
  int fd_ = -1;
  bool direct_ = false;
  std::vector<Entry> entries_;
};

}  // namespace vramplan
