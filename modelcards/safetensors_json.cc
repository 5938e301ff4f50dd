#include "modelcards/safetensors.h"

#include <algorithm>
#include <cstring>
#include <limits>
#include <map>
#include <nlohmann/json.hpp>
#include <optional>
#include <span>
#include <utility>

namespace vramplan {
namespace {

constexpr std::uint64_t kMaxHeaderBytes = 100'000'000;  // the reference implementation's cap
constexpr std::size_t kMaxDims = 16;
constexpr std::int64_t kLengthBytes = 8;

struct Format {
  DType dtype;
  std::int64_t bits;
};

/// Null: no such dtype, or one whose bytes no DType has.
std::optional<Format> format_of(const std::string& name) {
  static const std::map<std::string, Format> kFormats = {
      {"F64", {DType::kF64, 64}},       {"F32", {DType::kF32, 32}},
      {"F16", {DType::kF16, 16}},       {"BF16", {DType::kBF16, 16}},
      {"F8_E4M3", {DType::kF8E4M3, 8}}, {"F8_E5M2", {DType::kF8E5M2, 8}},
      {"F8_E8M0", {DType::kF8E8M0, 8}}, {"F4", {DType::kF4, 4}},
      {"I64", {DType::kI64, 64}},       {"U64", {DType::kI64, 64}},
      {"I32", {DType::kI32, 32}},       {"U32", {DType::kI32, 32}},
      {"I16", {DType::kI16, 16}},       {"U16", {DType::kI16, 16}},
      {"I8", {DType::kI8, 8}},          {"U8", {DType::kI8, 8}},
      {"BOOL", {DType::kI8, 8}}};
  const auto found = kFormats.find(name);
  if (found == kFormats.end()) return std::nullopt;
  return found->second;
}

bool is_known_elsewhere(const std::string& name) {
  return name == "C64" || name == "F6_E2M3" || name == "F6_E3M2" || name == "F8_E4M3FNUZ" ||
         name == "F8_E5M2FNUZ";
}

/// Follows the events of the header's JSON; accepts exactly {name: {dtype, shape, data_offsets}}
/// and
/// "__metadata__": {text: text}. No tree is built.
class HeaderEvents {
 public:
  HeaderEvents(const std::string& file_name, std::vector<SafetensorsTensor>& out)
      : file_name_(file_name), out_(out) {}

  bool null() { fail("null has no place in the header"); }
  bool boolean(bool) { fail("a boolean has no place in the header"); }
  bool number_integer(std::int64_t) { fail("a negative number"); }
  bool number_float(double, const std::string& text) {
    fail("the number " + text + " is no count");
  }
  bool binary(std::vector<std::uint8_t>&) { return false; }

  bool number_unsigned(std::uint64_t value) {
    if (place_ != Place::kArray) fail("a number where none belongs");
    if (value > static_cast<std::uint64_t>(std::numeric_limits<std::int64_t>::max())) {
      fail("the number " + std::to_string(value) + " does not fit 63 bits");
    }
    if (numbers_.size() >= kMaxDims) fail("a list of more than 16 numbers");
    numbers_.push_back(static_cast<std::int64_t>(value));
    return true;
  }

  bool string(std::string& value) {
    if (place_ == Place::kMetadata) return true;
    if (place_ != Place::kTensor || field_ != "dtype") fail("a text where none belongs");
    const auto format = format_of(value);
    if (!format) {
      Error error(is_known_elsewhere(value) ? ErrorCode::kUnsupported : ErrorCode::kBadSafetensors,
                  "the dtype " + printable(value) + " is not supported");
      throw error.at(file_name_, tensor_.name);
    }
    tensor_.dtype = format->dtype;
    bits_ = format->bits;
    return true;
  }

  bool key(std::string& value) {
    if (place_ == Place::kRoot) {
      tensor_ = {};
      tensor_.name = std::move(value);
      seen_ = 0;
    } else if (place_ == Place::kTensor) {
      const unsigned bit = value == "dtype"          ? 1U
                           : value == "shape"        ? 2U
                           : value == "data_offsets" ? 4U
                                                     : 0U;
      if (bit == 0) fail("the unknown field " + printable(value));
      if ((seen_ & bit) != 0) fail("the field " + value + " occurs twice");
      seen_ |= bit;
      field_ = std::move(value);
    }
    return true;
  }

  bool start_object(std::size_t) {
    if (place_ == Place::kOutside) {
      place_ = Place::kRoot;
    } else if (place_ == Place::kRoot) {
      const bool metadata = tensor_.name == "__metadata__";
      if (metadata && std::exchange(has_metadata_, true)) fail("__metadata__ occurs twice");
      place_ = metadata ? Place::kMetadata : Place::kTensor;
    } else {
      fail("an object where none belongs");
    }
    return true;
  }

  bool end_object() {
    if (place_ == Place::kTensor) finish_tensor();
    place_ = place_ == Place::kRoot ? Place::kOutside : Place::kRoot;
    return true;
  }

  bool start_array(std::size_t) {
    if (place_ != Place::kTensor || field_ == "dtype") fail("a list where none belongs");
    place_ = Place::kArray;
    numbers_.clear();
    return true;
  }

  bool end_array() {
    place_ = Place::kTensor;
    if (field_ == "shape") {
      tensor_.shape = numbers_;
    } else if (numbers_.size() == 2) {
      tensor_.begin = {numbers_[0]};
      tensor_.end = {numbers_[1]};
    } else {
      fail("data_offsets has not two numbers");
    }
    return true;
  }

  bool parse_error(std::size_t byte, const std::string&, const nlohmann::detail::exception&) {
    throw Error(ErrorCode::kBadSafetensors, "the header is not JSON")
        .at(file_name_, "byte " + std::to_string(kLengthBytes + static_cast<std::int64_t>(byte)));
  }

  bool finished() const { return place_ == Place::kOutside; }

 private:
  enum class Place { kOutside, kRoot, kMetadata, kTensor, kArray };

  [[noreturn]] void fail(const std::string& message) const {
    throw Error(ErrorCode::kBadSafetensors, message)
        .at(file_name_, tensor_.name.empty() ? "header" : tensor_.name);
  }

  void finish_tensor() {
    if (seen_ != 7U) fail("dtype, shape or data_offsets is missing");
    std::int64_t size_bits = bits_;
    bool overflow = false;
    for (const std::int64_t dim : tensor_.shape) {
      overflow = __builtin_mul_overflow(size_bits, dim, &size_bits) || overflow;
    }
    if (overflow || size_bits % 8 != 0) fail("the size of the shape is no whole count of bytes");
    if (tensor_.end < tensor_.begin || (tensor_.end - tensor_.begin).n != size_bits / 8) {
      fail("data_offsets span " + std::to_string(tensor_.end.n) + " - " +
           std::to_string(tensor_.begin.n) + " bytes, shape and dtype need " +
           std::to_string(size_bits / 8));
    }
    out_.push_back(std::move(tensor_));
    tensor_ = {};
  }

  const std::string& file_name_;
  std::vector<SafetensorsTensor>& out_;
  Place place_ = Place::kOutside;
  SafetensorsTensor tensor_;
  std::string field_;
  std::vector<std::int64_t> numbers_;
  std::int64_t bits_ = 0;
  unsigned seen_ = 0;
  bool has_metadata_ = false;
};

[[noreturn]] void fail(const File& file, const std::string& field, const std::string& message) {
  throw Error(ErrorCode::kBadSafetensors, message)
      .at(file.name(), field)
      .help("the file is truncated or damaged; fetch it again");
}

std::string read_header(const File& file) {
  if (file.size().n < kLengthBytes) fail(file, "header length", "the file is shorter than 8 bytes");
  std::uint64_t length = 0;
  file.read_at(0_B, std::as_writable_bytes(std::span(&length, 1)));
  const auto remaining = static_cast<std::uint64_t>(file.size().n - kLengthBytes);
  if (length > kMaxHeaderBytes || length > remaining || length < 2) {
    fail(file, "header length",
         "a header of " + std::to_string(length) + " bytes; " + std::to_string(remaining) +
             " remain, 100000000 are allowed");
  }
  std::string header(static_cast<std::size_t>(length), '\0');
  file.read_at({kLengthBytes}, std::as_writable_bytes(std::span(header)));
  if (header.front() != '{') fail(file, "header", "the header does not begin with {");
  // The JSON library takes a zero byte for the end of the text and would ignore all that follows.
  if (header.find('\0') != std::string::npos) fail(file, "header", "a zero byte in the header");
  return header;
}

/// No name twice; the tensors cover the data section without gap or overlap.
void check_cover(const File& file, std::int64_t data_bytes,
                 std::vector<SafetensorsTensor>& tensors) {
  std::sort(tensors.begin(), tensors.end(),
            [](const auto& a, const auto& b) { return a.name < b.name; });
  for (std::size_t i = 1; i < tensors.size(); ++i) {
    if (tensors[i - 1].name == tensors[i].name)
      fail(file, tensors[i].name, "the name occurs twice");
  }
  std::sort(tensors.begin(), tensors.end(), [](const auto& a, const auto& b) {
    return std::pair(a.begin, a.end) < std::pair(b.begin, b.end);
  });
  Bytes covered = 0_B;
  for (const SafetensorsTensor& tensor : tensors) {
    if (tensor.begin != covered) {
      fail(file, tensor.name,
           std::string(tensor.begin < covered ? "overlaps its neighbour"
                                              : "leaves a hole before it"));
    }
    covered = tensor.end;
  }
  if (covered.n != data_bytes) {
    fail(file, "data",
         "the tensors need " + std::to_string(covered.n) + " bytes of data, the file has " +
             std::to_string(data_bytes));
  }
}

}  // namespace

std::vector<SafetensorsTensor> read_safetensors(const File& file) {
  const std::string header = read_header(file);
  std::vector<SafetensorsTensor> tensors;
  HeaderEvents events(file.name(), tensors);
  if (!nlohmann::json::sax_parse(header, &events) || !events.finished()) {
    fail(file, "header", "the header is not JSON");
  }
  check_cover(file, file.size().n - kLengthBytes - static_cast<std::int64_t>(header.size()),
              tensors);
  return tensors;
}

}  // namespace vramplan
