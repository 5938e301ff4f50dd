#include "modelcards/file.h"

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <utility>

namespace vramplan {
namespace {

/// The range [offset, offset + length) must lie inside the file.
void check_range(const std::string& name, Bytes size, Bytes offset, std::size_t length) {
  const bool inside =
      offset.n >= 0 && offset <= size && length <= static_cast<std::uint64_t>(size.n - offset.n);
  if (inside) return;
  throw Error(ErrorCode::kFile, "a read of " + std::to_string(length) + " bytes at byte " +
                                    std::to_string(offset.n) + " leaves the file of " +
                                    std::to_string(size.n) + " bytes")
      .at(name)
      .help("the file is truncated or its header is wrong; fetch it again");
}

class RegularFile final : public File {
 public:
  RegularFile(std::string name, int descriptor, Bytes size)
      : name_(std::move(name)), descriptor_(descriptor), size_(size) {}
  RegularFile(const RegularFile&) = delete;
  RegularFile& operator=(const RegularFile&) = delete;
  ~RegularFile() override { ::close(descriptor_); }

  const std::string& name() const override { return name_; }
  Bytes size() const override { return size_; }

  void read_at(Bytes offset, std::span<std::byte> out) const override {
    check_range(name_, size_, offset, out.size());
    std::size_t done = 0;
    while (done < out.size()) {
      // One call moves less than 2 GiB on Linux: ask for no more, so that a short read is rare.
      const std::size_t wanted = std::min(out.size() - done, std::size_t{1} << 30);
      const ::ssize_t got = ::pread(descriptor_, out.data() + done, wanted,
                                    static_cast<::off_t>(offset.n) + static_cast<::off_t>(done));
      if (got > 0) {
        done += static_cast<std::size_t>(got);
      } else if (got == 0) {
        throw Error(ErrorCode::kIo, "the file became shorter while it was read")
            .at(name_, "byte " + std::to_string(offset.n + static_cast<std::int64_t>(done)))
            .help("do not write to a model file that is in use");
      } else if (errno != EINTR) {
        throw Error(ErrorCode::kIo, std::string("cannot read: ") + std::strerror(errno))
            .at(name_, "byte " + std::to_string(offset.n + static_cast<std::int64_t>(done)));
      }
    }
  }

 private:
  std::string name_;
  int descriptor_;
  Bytes size_;
};

class MemoryFile final : public File {
 public:
  MemoryFile(std::string name, std::string bytes)
      : name_(std::move(name)), bytes_(std::move(bytes)) {}

  const std::string& name() const override { return name_; }
  Bytes size() const override { return {static_cast<std::int64_t>(bytes_.size())}; }

  void read_at(Bytes offset, std::span<std::byte> out) const override {
    check_range(name_, size(), offset, out.size());
    if (out.empty()) return;
    std::memcpy(out.data(), bytes_.data() + offset.n, out.size());
  }

 private:
  std::string name_, bytes_;
};

[[noreturn]] void fail_to_open(const std::string& path, int error) {
  const char* fix = error == ENOENT ? "check the path" : "check the permissions of the file";
  throw Error(ErrorCode::kFile, std::string("cannot open: ") + std::strerror(error))
      .at(path)
      .help(fix);
}

}  // namespace

std::unique_ptr<File> open_file(const std::string& path) {
  if (path.empty() || path.find('\0') != std::string::npos) {
    throw Error(ErrorCode::kFile, "the path is empty or holds a zero byte").at(path);
  }
  // O_NONBLOCK: opening a FIFO without a writer must not hang; regular files ignore it.
  int descriptor = -1;
  do {
    descriptor = ::open(path.c_str(), O_RDONLY | O_CLOEXEC | O_NONBLOCK | O_NOCTTY);
  } while (descriptor < 0 && errno == EINTR);
  if (descriptor < 0) fail_to_open(path, errno);

  struct ::stat status {};
  const bool known = ::fstat(descriptor, &status) == 0;
  if (known && S_ISREG(status.st_mode)) {
    return std::make_unique<RegularFile>(path, descriptor, Bytes{status.st_size});
  }
  const int error = errno;
  ::close(descriptor);
  if (!known) fail_to_open(path, error);
  const bool directory = S_ISDIR(status.st_mode);
  throw Error(ErrorCode::kFile, directory ? "is a directory, not a file"
                                          : "is not a regular file (a device, pipe or socket)")
      .at(path)
      .help(directory ? "name the file inside it" : "copy its content to a regular file");
}

std::unique_ptr<File> memory_file(std::string name, std::string bytes) {
  return std::make_unique<MemoryFile>(std::move(name), std::move(bytes));
}

std::string read_text(const File& file, Bytes limit) {
  if (file.size() > limit) {
    throw Error(ErrorCode::kFile, "has " + std::to_string(file.size().n) +
                                      " bytes; a text file of this kind may have " +
                                      std::to_string(limit.n))
        .at(file.name())
        .help("check that this is the file you meant");
  }
  std::string text(static_cast<std::size_t>(file.size().n), '\0');
  file.read_at(0_B, std::as_writable_bytes(std::span(text)));
  return text;
}

}  // namespace vramplan
