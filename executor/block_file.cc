#include "executor/block_file.h"

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>
#include <xxhash.h>

#include <cerrno>
#include <cstdlib>
#include <cstring>

#include "modelcards/error.h"

namespace vramplan {
namespace {

constexpr std::uint64_t kMagic = 0x314B4C4256524D50ULL;  // "PMRVBLK1"
constexpr std::uint64_t kVersion = 1;

/// In this order at the begin of a record. `header` is the hash of the seven before it.
struct Header {
  std::uint64_t magic, version, identity, index, generation, length, payload, header;
};
static_assert(sizeof(Header) == BlockFile::kHeader);

std::uint64_t hash_of(const void* data, std::size_t size) { return XXH3_64bits(data, size); }

std::uint64_t hash_of(const Header& header) { return hash_of(&header, offsetof(Header, header)); }

[[noreturn]] void refuse_directory(const std::string& directory, const std::string& why) {
  throw Error(ErrorCode::kFile, "no place for offloaded memory: " + why)
      .at(directory, "--offload-dir")
      .help("name a directory on a local disk that only you can write to");
}

void check_directory(const std::string& directory) {
  struct stat info {};
  if (stat(directory.c_str(), &info) != 0) refuse_directory(directory, std::strerror(errno));
  if (!S_ISDIR(info.st_mode)) refuse_directory(directory, "it is no directory");
  const bool others_write = (info.st_mode & S_IWOTH) != 0, sticky = (info.st_mode & S_ISVTX) != 0;
  if (others_write && !sticky) {
    refuse_directory(directory, "everyone may replace files in it (no sticky bit)");
  }
}

/// A file without a name; -1 and errno.
int open_unnamed(const std::string& directory, int flags) {
  const int fd = open(directory.c_str(), O_TMPFILE | O_RDWR | O_CLOEXEC | flags, 0600);
  if (fd >= 0 || (errno != EOPNOTSUPP && errno != EISDIR && errno != ENOENT)) return fd;
  std::string name = directory + "/vramplan-XXXXXX";
  const int named = mkostemp(name.data(), O_CLOEXEC | flags);
  if (named >= 0) unlink(name.c_str());
  return named;
}

void take_space(int fd, Bytes size, const std::string& directory) {
  if (size.n == 0) return;
  const int rc = posix_fallocate(fd, 0, size.n);
  if (rc == 0) return;
  if (rc == ENOSPC || rc == EFBIG || rc == EDQUOT) {
    throw Error(ErrorCode::kOutOfPlan, "the disk has no " + to_text(size) + " (" +
                                           std::to_string(size.n) +
                                           " B) for offloaded memory: " + std::strerror(rc))
        .at(directory, "--offload-dir")
        .help("name a directory on a disk with more room, or offload less");
  }
  throw Error(ErrorCode::kIo, std::string("taking disk space: ") + std::strerror(rc))
      .at(directory, "--offload-dir");
}

}  // namespace

BlockFile::BlockFile(DiskQueue& queue, const Shape& shape) : queue_(queue), shape_(shape) {
  VRAMPLAN_CHECK(shape.payload.n > 0 && shape.records > 0);
  check_directory(shape.directory);
  fd_ = open_unnamed(shape.directory, O_DIRECT);
  direct_ = fd_ >= 0;
  if (fd_ < 0 && errno == EINVAL) fd_ = open_unnamed(shape.directory, 0);
  if (fd_ < 0) refuse_directory(shape.directory, std::strerror(errno));
  entries_.resize(static_cast<std::size_t>(shape.records));
  try {
    take_space(fd_, file_bytes(), shape.directory);
  } catch (...) {
    close(fd_);
    throw;
  }
}

BlockFile::~BlockFile() { close(fd_); }

Bytes BlockFile::record_bytes(Bytes payload) {
  return round_up(payload + Bytes{kHeader}, Bytes{kAlignment});
}

const BlockFile::Entry& BlockFile::entry(std::int64_t index) const {
  VRAMPLAN_CHECK(index >= 0 && index < shape_.records);
  return entries_[static_cast<std::size_t>(index)];
}

BlockFile::Entry& BlockFile::entry(std::int64_t index) {
  VRAMPLAN_CHECK(index >= 0 && index < shape_.records);
  return entries_[static_cast<std::size_t>(index)];
}

DiskRequest BlockFile::request(bool write, std::int64_t index, std::byte* records,
                               std::int64_t count) const {
  VRAMPLAN_CHECK(reinterpret_cast<std::uintptr_t>(records) % kAlignment == 0 && count > 0);
  const Bytes record = record_bytes();
  return {write, fd_, records, (record * count).n, (record * index).n};
}

void BlockFile::check_moved(std::int64_t index, std::int64_t count, const DiskResult& result,
                            const char* what) const {
  if (result.error == 0 && result.bytes == (record_bytes() * count).n) return;
  const std::string why = result.error == ETIMEDOUT ? "no answer from the disk in time"
                          : result.error != 0
                              ? std::strerror(result.error)
                              : "it ended after " + std::to_string(result.bytes) + " B";
  const std::string last = count > 1 ? " to " + std::to_string(index + count - 1) : "";
  throw Error(ErrorCode::kIo, std::string(what) + " record " + std::to_string(index) + last +
                                  " of the offload file: " + why)
      .at(shape_.directory, "--offload-dir");
}

void BlockFile::write_header(std::int64_t index, std::byte* record) {
  Entry& e = entry(index);
  e.readable = false;
  ++e.generation;
  const std::span<std::byte> data = payload(record);
  Header header{kMagic,
                kVersion,
                shape_.identity,
                static_cast<std::uint64_t>(index),
                e.generation,
                static_cast<std::uint64_t>(data.size()),
                hash_of(data.data(), data.size()),
                0};
  header.header = hash_of(header);
  std::memcpy(record, &header, sizeof header);
}

std::uint64_t BlockFile::begin_write(std::int64_t index, std::byte* records, std::int64_t count) {
  for (std::int64_t i = 0; i < count; ++i) {
    write_header(index + i, records + record_bytes().n * i);
  }
  return queue_.submit(request(true, index, records, count));
}

void BlockFile::finish_write(std::int64_t index, std::uint64_t ticket, std::int64_t count) {
  check_moved(index, count, queue_.wait(ticket, shape_.deadline), "writing");
  for (std::int64_t i = 0; i < count; ++i) entry(index + i).readable = true;
}

std::uint64_t BlockFile::begin_read(std::int64_t index, std::byte* records, std::int64_t count) {
  for (std::int64_t i = 0; i < count; ++i) VRAMPLAN_CHECK(readable(index + i));
  return queue_.submit(request(false, index, records, count));
}

void BlockFile::finish_read(std::int64_t index, std::uint64_t ticket, const std::byte* records,
                            std::int64_t count) {
  check_moved(index, count, queue_.wait(ticket, shape_.deadline), "reading");
  for (std::int64_t i = 0; i < count; ++i) check(index + i, records + record_bytes().n * i);
}

void BlockFile::check(std::int64_t index, const std::byte* record) const {
  Header header{};
  std::memcpy(&header, record, sizeof header);
  const char* wrong = nullptr;
  if (header.header != hash_of(header))
    wrong = "its header is damaged";
  else if (header.magic != kMagic || header.version != kVersion)
    wrong = "it is of another format";
  else if (header.identity != shape_.identity)
    wrong = "it is of another model or layout";
  else if (header.index != static_cast<std::uint64_t>(index))
    wrong = "it is another record";
  else if (header.generation != entry(index).generation)
    wrong = "it is an older write";
  else if (header.length != static_cast<std::uint64_t>(shape_.payload.n))
    wrong = "its length differs";
  else if (header.payload != hash_of(record + kHeader, static_cast<std::size_t>(shape_.payload.n)))
    wrong = "its content is damaged";
  if (wrong == nullptr) return;
  throw Error(ErrorCode::kIo, "record " + std::to_string(index) + " of the offload file: " + wrong)
      .at(shape_.directory, "--offload-dir")
      .help("the disk or its driver returned something else than was written; use another disk");
}

}  // namespace vramplan
