#pragma once
// HeaderReader: reads the head of a binary file forwards, in large pieces, and never past a limit.
#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <span>
#include <string>
#include <vector>

#include "modelcards/file.h"

namespace vramplan {

/// A forward reader over the first 256 MiB of a file through one window, so that a header is read
/// in large pieces and memory does not depend on what the file declares.
class HeaderReader {
 public:
  static constexpr std::int64_t kWindowBytes = std::int64_t{1} << 20;
  static constexpr std::int64_t kMaxHeaderBytes = std::int64_t{256} << 20;

  explicit HeaderReader(const File& file)
      : file_(file),
        limit_(std::min(file.size().n, kMaxHeaderBytes)),
        window_(static_cast<std::size_t>(std::min(limit_, kWindowBytes))) {}

  std::int64_t position() const { return position_; }
  std::int64_t remaining() const { return limit_ - position_; }
  void seek(std::int64_t position) { position_ = position; }

  [[noreturn]] void fail(const std::string& message, const std::string& field) const {
    throw Error(ErrorCode::kBadGguf, message)
        .at(file_.name(), "byte " + std::to_string(position_) + ": " + field)
        .help("the file is truncated or damaged; fetch it again");
  }

  void require(std::int64_t bytes, const std::string& field) const {
    if (bytes <= remaining()) return;
    if (file_.size().n > limit_ && bytes <= file_.size().n - position_) {
      fail("the header is larger than 256 MiB", field);
    }
    fail("needs " + std::to_string(bytes) + " bytes, " +
             std::to_string(file_.size().n - position_) + " remain",
         field);
  }

  template <class T>
  T number(const std::string& field) {
    T out{};
    std::memcpy(&out, view(sizeof(T), field), sizeof(T));
    position_ += static_cast<std::int64_t>(sizeof(T));
    return out;
  }

  /// A length-prefixed string's length, checked against `most` and the bytes that remain.
  std::int64_t string_length(std::int64_t most, const std::string& field) {
    const auto length = number<std::uint64_t>(field);
    if (length > static_cast<std::uint64_t>(remaining())) {
      position_ -= 8;
      fail("a string declares " + std::to_string(length) + " bytes, " +
               std::to_string(remaining() - 8) + " remain",
           field);
    }
    if (static_cast<std::int64_t>(length) > most) {
      position_ -= 8;
      fail("a string of " + std::to_string(length) + " bytes; at most " + std::to_string(most) +
               " are allowed",
           field);
    }
    return static_cast<std::int64_t>(length);
  }

  std::string string(std::int64_t most, const std::string& field) {
    const std::int64_t length = string_length(most, field);
    if (length <= static_cast<std::int64_t>(window_.size())) {
      const char* text = reinterpret_cast<const char*>(view(length, field));
      position_ += length;
      return {text, static_cast<std::size_t>(length)};
    }
    std::string out(static_cast<std::size_t>(length), '\0');
    bytes(std::as_writable_bytes(std::span(out)), field);
    return out;
  }

  /// Straight into `out`, past the window.
  void bytes(std::span<std::byte> out, const std::string& field) {
    require(static_cast<std::int64_t>(out.size()), field);
    file_.read_at({position_}, out);
    position_ += static_cast<std::int64_t>(out.size());
  }

  void skip(std::int64_t bytes_to_skip, const std::string& field) {
    require(bytes_to_skip, field);
    position_ += bytes_to_skip;
  }

 private:
  /// The next `length` bytes (no more than the window holds), not consumed.
  const std::byte* view(std::size_t length, const std::string& field) {
    return view(static_cast<std::int64_t>(length), field);
  }
  const std::byte* view(std::int64_t length, const std::string& field) {
    require(length, field);
    if (position_ < window_begin_ || position_ + length > window_end_) {
      const std::int64_t wanted = std::min(static_cast<std::int64_t>(window_.size()), remaining());
      file_.read_at({position_}, std::span(window_.data(), static_cast<std::size_t>(wanted)));
      window_begin_ = position_;
      window_end_ = position_ + wanted;
    }
    return window_.data() + (position_ - window_begin_);
  }

  const File& file_;
  std::int64_t limit_;
  std::vector<std::byte> window_;
  std::int64_t window_begin_ = 0, window_end_ = 0, position_ = 0;
};

}  // namespace vramplan
