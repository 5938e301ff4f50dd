// The parser behind Gguf::read. Layout (GGUF specification, v3): magic, version, tensor count, key
// count, key-value pairs, tensor table, padding to the alignment, tensor data.
#include <algorithm>
#include <bit>
#include <limits>
#include <numeric>
#include <span>
#include <utility>

#include "modelcards/gguf.h"
#include "modelcards/header_reader.h"

static_assert(std::endian::native == std::endian::little, "GGUF is read without byte swapping");

namespace vramplan {
namespace {

constexpr std::int64_t kMaxStringBytes = std::int64_t{16} << 20;
constexpr std::int64_t kMaxKeyBytes = 65'535;      // GGUF specification
constexpr std::int64_t kMaxTensorNameBytes = 256;  // the specification says 64
constexpr std::int64_t kMaxKeys = 65'536;
constexpr std::int64_t kMaxTensors = 262'144;
constexpr std::int64_t kMinKeyValueBytes = 13;    // length, type, one byte of value
constexpr std::int64_t kMinTensorInfoBytes = 24;  // length, dims, type, offset
constexpr std::int64_t kMaxAlignment = std::int64_t{1} << 20;
constexpr std::int64_t kMaxRopeFactors = 4096;
const char* const kAlignmentKey = "general.alignment";
constexpr std::uint32_t kMagic = 0x46554747;  // "GGUF"

/// Bytes of one number of this type; 0 for strings, arrays and unknown types.
std::int64_t number_bytes(std::uint32_t type) {
  switch (static_cast<GgufType>(type)) {
    case GgufType::kU8:
    case GgufType::kI8:
    case GgufType::kBool:
      return 1;
    case GgufType::kU16:
    case GgufType::kI16:
      return 2;
    case GgufType::kU32:
    case GgufType::kI32:
    case GgufType::kF32:
      return 4;
    case GgufType::kU64:
    case GgufType::kI64:
    case GgufType::kF64:
      return 8;
    default:
      return 0;
  }
}

}  // namespace

class GgufParser {
 public:
  explicit GgufParser(const File& file) : file_(file), reader_(file) {
    gguf_.file_name_ = file.name();
  }

  Gguf parse() {
    read_preamble();
    for (std::int64_t i = 0; i < key_count_; ++i) read_key_value(i);
    read_alignment();
    read_tensor_table();
    index_names();
    place_tensors();
    check_overlaps();
    read_rope_factors();
    return std::move(gguf_);
  }

 private:
  void read_preamble();
  void read_key_value(std::int64_t index);
  Gguf::Value read_scalar(std::uint32_t type, const std::string& field);
  Gguf::Value read_array(const std::string& field);
  std::vector<std::string> read_strings(std::int64_t count, const std::string& field);
  std::int64_t checked_count(std::uint64_t count, std::int64_t element_bytes,
                             const std::string& field) const;
  void read_alignment();
  void read_tensor_table();
  GgufTensor read_tensor_info(const std::string& field);
  void set_bytes(GgufTensor& tensor, std::uint32_t ggml_type);
  void index_names();
  void place_tensors();
  void check_overlaps() const;
  void read_rope_factors();
  [[noreturn]] void fail_tensor(const GgufTensor& tensor, const std::string& message) const;

  const File& file_;
  HeaderReader reader_;
  Gguf gguf_;
  std::int64_t key_count_ = 0, tensor_count_ = 0, alignment_ = 32;
};

[[noreturn]] static void refuse(const File& file, const std::string& what, const std::string& fix) {
  throw Error(ErrorCode::kUnsupported, what).at(file.name(), "byte 0: magic and version").help(fix);
}

void GgufParser::read_preamble() {
  const auto magic = reader_.number<std::uint32_t>("magic");
  if (magic == 0x67676d6c || magic == 0x67676d66 || magic == 0x67676a74 || magic == 0x67676c61) {
    refuse(file_, "a model file from before GGUF (ggml, ggmf, ggjt, ggla)",
           "convert it to GGUF v3 with the converter of its project");
  }
  if (magic != kMagic && magic != 0x47475546) reader_.fail("the magic is not GGUF", "magic");
  const auto version = reader_.number<std::uint32_t>("version");
  if (magic != kMagic || ((version & 0xffffU) == 0 && version != 0)) {
    refuse(file_, "a big-endian GGUF file", "convert it to little-endian");
  }
  if (version == 1) refuse(file_, "GGUF version 1", "convert the model to GGUF v3");
  if (version != 2 && version != 3) {
    reader_.fail("GGUF version " + std::to_string(version) + " is not known", "version");
  }
  gguf_.version_ = version;
  const auto tensors = reader_.number<std::uint64_t>("tensor count");
  const auto keys = reader_.number<std::uint64_t>("key count");
  key_count_ = checked_count(keys, kMinKeyValueBytes, "key count");
  tensor_count_ = checked_count(tensors, kMinTensorInfoBytes, "tensor count");
  if (key_count_ > kMaxKeys) reader_.fail("more than 65536 metadata keys", "key count");
  if (tensor_count_ > kMaxTensors) reader_.fail("more than 262144 tensors", "tensor count");
}

std::int64_t GgufParser::checked_count(std::uint64_t count, std::int64_t element_bytes,
                                       const std::string& field) const {
  if (count > static_cast<std::uint64_t>(reader_.remaining() / element_bytes)) {
    reader_.fail("declares " + std::to_string(count) + " entries of at least " +
                     std::to_string(element_bytes) + " bytes, " +
                     std::to_string(reader_.remaining()) + " bytes remain",
                 field);
  }
  return static_cast<std::int64_t>(count);
}

void GgufParser::read_key_value(std::int64_t index) {
  std::string key = reader_.string(kMaxKeyBytes, "key " + std::to_string(index));
  if (key.empty()) reader_.fail("an empty metadata key", "key " + std::to_string(index));
  const auto type = reader_.number<std::uint32_t>(key);
  if (key == kAlignmentKey && static_cast<GgufType>(type) != GgufType::kU32) {
    reader_.fail("the alignment is not a u32", key);
  }
  Gguf::Value value =
      static_cast<GgufType>(type) == GgufType::kArray ? read_array(key) : read_scalar(type, key);
  const auto [where, inserted] = gguf_.metadata_.try_emplace(std::move(key), std::move(value));
  if (!inserted) reader_.fail("the metadata key occurs twice", where->first);
}

Gguf::Value GgufParser::read_scalar(std::uint32_t type, const std::string& field) {
  const auto u = [](auto v) { return Gguf::Value(static_cast<std::uint64_t>(v)); };
  const auto i = [](auto v) { return Gguf::Value(static_cast<std::int64_t>(v)); };
  switch (static_cast<GgufType>(type)) {
    case GgufType::kU8:
      return u(reader_.number<std::uint8_t>(field));
    case GgufType::kU16:
      return u(reader_.number<std::uint16_t>(field));
    case GgufType::kU32:
      return u(reader_.number<std::uint32_t>(field));
    case GgufType::kU64:
      return u(reader_.number<std::uint64_t>(field));
    case GgufType::kI8:
      return i(reader_.number<std::int8_t>(field));
    case GgufType::kI16:
      return i(reader_.number<std::int16_t>(field));
    case GgufType::kI32:
      return i(reader_.number<std::int32_t>(field));
    case GgufType::kI64:
      return i(reader_.number<std::int64_t>(field));
    case GgufType::kF32:
      return static_cast<double>(reader_.number<float>(field));
    case GgufType::kF64:
      return reader_.number<double>(field);
    case GgufType::kString:
      return reader_.string(kMaxStringBytes, field);
    case GgufType::kBool: {
      const auto byte = reader_.number<std::uint8_t>(field);
      if (byte > 1) reader_.fail("a boolean is neither 0 nor 1", field);
      return byte == 1;
    }
    default:
      reader_.fail("unknown value type " + std::to_string(type), field);
  }
}

Gguf::Value GgufParser::read_array(const std::string& field) {
  const auto type = reader_.number<std::uint32_t>(field);
  const auto declared = reader_.number<std::uint64_t>(field);
  if (static_cast<GgufType>(type) == GgufType::kArray) {
    reader_.fail("an array of arrays, which no reader supports", field);
  }
  if (static_cast<GgufType>(type) == GgufType::kString) {
    return read_strings(checked_count(declared, 8, field), field);
  }
  const std::int64_t element_bytes = number_bytes(type);
  if (element_bytes == 0) reader_.fail("unknown array type " + std::to_string(type), field);
  const std::int64_t count = checked_count(declared, element_bytes, field);
  Gguf::Numbers numbers{static_cast<GgufType>(type),
                        std::vector<std::byte>(static_cast<std::size_t>(count * element_bytes))};
  reader_.bytes(numbers.raw, field);
  const auto no_boolean = [](std::byte b) { return b > std::byte{1}; };
  if (numbers.type == GgufType::kBool &&
      std::any_of(numbers.raw.begin(), numbers.raw.end(), no_boolean)) {
    reader_.fail("a boolean is neither 0 nor 1", field);
  }
  return numbers;
}

/// Two passes: the first checks every length without keeping anything, so that memory is taken for
/// strings that exist and not for a count that was only declared.
std::vector<std::string> GgufParser::read_strings(std::int64_t count, const std::string& field) {
  const std::int64_t begin = reader_.position();
  for (std::int64_t i = 0; i < count; ++i) {
    reader_.skip(reader_.string_length(kMaxStringBytes, field), field);
  }
  reader_.seek(begin);
  std::vector<std::string> strings;
  strings.reserve(static_cast<std::size_t>(count));
  for (std::int64_t i = 0; i < count; ++i) {
    strings.push_back(reader_.string(kMaxStringBytes, field));
  }
  return strings;
}

void GgufParser::read_alignment() {
  if (!gguf_.has(kAlignmentKey)) return;
  alignment_ = gguf_.integer(kAlignmentKey);
  const bool power_of_two = std::has_single_bit(static_cast<std::uint64_t>(alignment_));
  if (!power_of_two || alignment_ > kMaxAlignment) {
    reader_.fail("the alignment " + std::to_string(alignment_) +
                     " is not a power of two between 1 and 1048576",
                 kAlignmentKey);
  }
}

void GgufParser::read_tensor_table() {
  gguf_.tensors_.reserve(static_cast<std::size_t>(tensor_count_));
  for (std::int64_t i = 0; i < tensor_count_; ++i) {
    gguf_.tensors_.push_back(read_tensor_info("tensor " + std::to_string(i)));
  }
}

GgufTensor GgufParser::read_tensor_info(const std::string& field) {
  GgufTensor tensor;
  tensor.name = reader_.string(kMaxTensorNameBytes, field + " name");
  if (tensor.name.empty()) reader_.fail("an empty tensor name", field);
  const auto dims = reader_.number<std::uint32_t>(tensor.name);
  if (dims < 1 || dims > 4) {
    reader_.fail(std::to_string(dims) + " dimensions; 1 to 4 are possible", tensor.name);
  }
  tensor.shape.resize(dims);
  for (std::uint32_t d = 0; d < dims; ++d) {
    const auto length = reader_.number<std::uint64_t>(tensor.name);
    if (length == 0 || length > static_cast<std::uint64_t>(std::numeric_limits<int64_t>::max())) {
      reader_.fail("a dimension of " + std::to_string(length) + " elements", tensor.name);
    }
    tensor.shape[dims - 1 - d] = static_cast<std::int64_t>(length);
  }
  const auto type = reader_.number<std::uint32_t>(tensor.name);
  const auto offset = reader_.number<std::uint64_t>(tensor.name);
  if (offset > static_cast<std::uint64_t>(file_.size().n)) {
    reader_.fail("the tensor starts " + std::to_string(offset) +
                     " bytes into the data of a file of " + std::to_string(file_.size().n),
                 tensor.name);
  }
  tensor.offset = {static_cast<std::int64_t>(offset)};  // of the data section, until placed
  set_bytes(tensor, type);
  return tensor;
}

/// bytes = block_bytes * (columns / block_elements) * rows, every product checked.
void GgufParser::set_bytes(GgufTensor& tensor, std::uint32_t ggml_type) {
  const auto dtype = dtype_from_ggml(ggml_type);
  if (!dtype) {
    throw Error(ErrorCode::kUnsupported,
                "tensor type " + std::to_string(ggml_type) + " of ggml is unknown or was withdrawn")
        .at(file_.name(), tensor.name)
        .help("convert the model again with a current converter");
  }
  tensor.dtype = *dtype;
  const DTypeInfo& format = info(*dtype);
  if (tensor.columns() % format.block_elements != 0) {
    fail_tensor(tensor, "rows of " + std::to_string(tensor.columns()) + " elements, but " +
                            format.name + " has blocks of " +
                            std::to_string(format.block_elements));
  }
  std::int64_t bytes = tensor.columns() / format.block_elements;
  bool overflow = __builtin_mul_overflow(bytes, format.block_bytes, &bytes);
  std::int64_t elements = tensor.columns();
  for (std::size_t d = 0; d + 1 < tensor.shape.size(); ++d) {
    overflow = __builtin_mul_overflow(bytes, tensor.shape[d], &bytes) || overflow;
    overflow = __builtin_mul_overflow(elements, tensor.shape[d], &elements) || overflow;
  }
  if (overflow) fail_tensor(tensor, "the size of the tensor does not fit 64 bits");
  tensor.bytes = {bytes};
}

void GgufParser::fail_tensor(const GgufTensor& tensor, const std::string& message) const {
  throw Error(ErrorCode::kBadGguf, message)
      .at(file_.name(), "byte " + std::to_string(reader_.position()) + ": tensor " + tensor.name)
      .help("the file is truncated or damaged; fetch it again");
}

void GgufParser::index_names() {
  auto& order = gguf_.by_name_;
  const auto& tensors = gguf_.tensors_;
  order.resize(tensors.size());
  std::iota(order.begin(), order.end(), 0U);
  std::sort(order.begin(), order.end(),
            [&](std::uint32_t a, std::uint32_t b) { return tensors[a].name < tensors[b].name; });
  for (std::size_t i = 1; i < order.size(); ++i) {
    if (tensors[order[i - 1]].name == tensors[order[i]].name) {
      fail_tensor(tensors[order[i]], "the tensor name occurs twice");
    }
  }
}

/// Offsets become offsets into the file; each tensor must lie inside it.
void GgufParser::place_tensors() {
  const std::int64_t data = round_up({reader_.position()}, {alignment_}).n;
  gguf_.header_bytes_ = {std::min(data, file_.size().n)};
  for (GgufTensor& tensor : gguf_.tensors_) {
    if (tensor.offset.n % alignment_ != 0) {
      fail_tensor(tensor, "the offset " + std::to_string(tensor.offset.n) +
                              " is no multiple of the alignment " + std::to_string(alignment_));
    }
    std::int64_t end = 0;
    tensor.offset = tensor.offset + Bytes{data};  // both at most a little over the file's size
    if (__builtin_add_overflow(tensor.offset.n, tensor.bytes.n, &end) || end > file_.size().n) {
      fail_tensor(tensor, "the tensor has " + std::to_string(tensor.bytes.n) + " bytes from byte " +
                              std::to_string(tensor.offset.n) + " on, the file ends at " +
                              std::to_string(file_.size().n));
    }
  }
}

void GgufParser::check_overlaps() const {
  std::vector<const GgufTensor*> order;
  order.reserve(gguf_.tensors_.size());
  for (const GgufTensor& tensor : gguf_.tensors_) order.push_back(&tensor);
  std::sort(order.begin(), order.end(),
            [](const GgufTensor* a, const GgufTensor* b) { return a->offset < b->offset; });
  for (std::size_t i = 1; i < order.size(); ++i) {
    if (order[i - 1]->offset + order[i - 1]->bytes > order[i]->offset) {
      fail_tensor(*order[i], "the tensor overlaps " + order[i - 1]->name);
    }
  }
}

void GgufParser::read_rope_factors() {
  const GgufTensor* tensor = gguf_.find_tensor("rope_freqs.weight");
  if (tensor == nullptr) return;
  if (tensor->dtype != DType::kF32 || tensor->rows() != 1 || tensor->columns() > kMaxRopeFactors) {
    fail_tensor(*tensor, "the table of rotary factors is not a short row of f32");
  }
  std::vector<float> factors(static_cast<std::size_t>(tensor->columns()));
  file_.read_at(tensor->offset, std::as_writable_bytes(std::span(factors)));
  gguf_.rope_factors_.assign(factors.begin(), factors.end());
}

Gguf Gguf::read(const File& file) { return GgufParser(file).parse(); }

}  // namespace vramplan
