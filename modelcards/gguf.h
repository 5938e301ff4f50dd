#pragma once
// Gguf: the header of a GGUF file: typed metadata and the tensor table. Bounded by the file's size:
// no count, length or offset is believed before it is checked against the bytes that remain.
#include <cstddef>
#include <cstdint>
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <variant>
#include <vector>

#include "modelcards/file.h"
#include "modelcards/model_card.h"

namespace vramplan {

struct GgufTensor {
  std::string name;
  DType dtype = DType::kF32;
  std::vector<std::int64_t> shape;  // outermost first: [rows, columns]; GGUF stores the reverse
  Bytes offset;                     // from the start of the file
  Bytes bytes;

  std::int64_t columns() const { return shape.back(); }
  std::int64_t rows() const;  // product of all but the last; a vector is 1 row
};

/// Type numbers of metadata values (GGUF specification).
enum class GgufType : std::uint32_t {
  kU8 = 0,
  kI8 = 1,
  kU16 = 2,
  kI16 = 3,
  kU32 = 4,
  kI32 = 5,
  kF32 = 6,
  kBool = 7,
  kString = 8,
  kArray = 9,
  kU64 = 10,
  kI64 = 11,
  kF64 = 12,
};

class Gguf {
 public:
  /// An array of numbers or booleans as the file stores it; decoded when asked for, so that a
  /// header never takes more memory than a small multiple of its bytes.
  struct Numbers {
    GgufType type = GgufType::kU8;
    std::vector<std::byte> raw;
  };
  using Value = std::variant<std::uint64_t, std::int64_t, double, bool, std::string, Numbers,
                             std::vector<std::string>>;

  /// GGUF v2 and v3, little-endian. Reads no tensor data, except the small table of rotary
  /// frequency factors (see rope_factors). Errors: kBadGguf with the byte offset and the field;
  /// kUnsupported for v1, big-endian files, the formats before GGUF, and tensor types outside
  /// dtype.h; kIo. Limits: metadata 256 MiB, a string 16 MiB, 65,536 keys, 262,144 tensors, no
  /// arrays of arrays.
  static Gguf read(const File& file);

  const std::vector<GgufTensor>& tensors() const { return tensors_; }
  const GgufTensor* find_tensor(const std::string& name) const;  // null when absent
  bool has(const std::string& key) const;
  bool is_array(const std::string& key) const;
  /// Typed access; absent, the wrong type or a value out of range is kBadGguf naming the key.
  /// `_or` takes the fallback only when the key is absent.
  std::int64_t integer(const std::string& key) const;
  std::int64_t integer_or(const std::string& key, std::int64_t fallback) const;
  double real_or(const std::string& key, double fallback) const;  // finite
  bool boolean_or(const std::string& key, bool fallback) const;
  const std::string& text(const std::string& key) const;
  std::string text_or(const std::string& key, const std::string& fallback) const;
  const std::vector<std::string>& texts(const std::string& key) const;
  std::vector<std::int64_t> integers(const std::string& key) const;  // booleans count as 0 and 1
  std::vector<double> reals(const std::string& key) const;           // finite
  /// Values of the tensor rope_freqs.weight (divisors of the rotary frequencies); empty when
  /// absent.
  const std::vector<double>& rope_factors() const { return rope_factors_; }

  const std::string& file_name() const { return file_name_; }
  std::uint32_t version() const { return version_; }
  Bytes header_bytes() const { return header_bytes_; }  // all bytes before the tensor data

 private:
  friend class GgufParser;
  const Value& value(const std::string& key) const;
  [[noreturn]] void fail(const std::string& key, const std::string& message) const;

  std::string file_name_;
  std::uint32_t version_ = 0;
  Bytes header_bytes_;
  std::map<std::string, Value> metadata_;
  std::vector<GgufTensor> tensors_;     // in file order
  std::vector<std::uint32_t> by_name_;  // indices into tensors_, sorted by name
  std::vector<double> rope_factors_;
};

/// Card of the model in the file; the dims come from metadata and are checked against the tensor
/// table. Errors: kUnknownFamily, kUnsupported (by name), kBadGguf naming the key or tensor.
ModelCard model_card_from_gguf(const Gguf& gguf);

}  // namespace vramplan
