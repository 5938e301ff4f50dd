#pragma once
// File: the seam to the file system. Readers take a File, never a path, so that tests can hand them
// short, lying or failing files.
#include <cstddef>
#include <memory>
#include <span>
#include <string>

#include "modelcards/units.h"

namespace vramplan {

class File {
 public:
  virtual ~File() = default;
  virtual const std::string& name() const = 0;  // for messages
  virtual Bytes size() const = 0;
  /// Fills `out` from `offset`. Errors: kFile when the range leaves the file, kIo when the read
  /// fails.
  virtual void read_at(Bytes offset, std::span<std::byte> out) const = 0;
};

/// A regular file, opened once, read with pread. Errors: kFile naming the path.
std::unique_ptr<File> open_file(const std::string& path);
/// Bytes in memory under a name.
std::unique_ptr<File> memory_file(std::string name, std::string bytes);
/// The whole file as text. Errors: kFile when larger than `limit`.
std::string read_text(const File& file, Bytes limit);

}  // namespace vramplan
