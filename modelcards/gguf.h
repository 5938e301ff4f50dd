#pragma once
// Gguf: the header of a GGUF file: typed metadata and the tensor table. Bounded by the file's size:
// no count, length or offset is believed before it is checked against the bytes that remain.
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
  DType dtype;
  std::vector<std::int64_t> shape;   // outermost first: [rows, columns]; GGUF stores the reverse
  Bytes offset;                      // from the start of the file
  Bytes bytes;
};

class Gguf {
 public:
  using Value = std::variant<std::uint64_t, std::int64_t, double, bool, std::string,
                             std::vector<std::uint64_t>, std::vector<std::int64_t>,
                             std::vector<double>, std::vector<bool>, std::vector<std::string>>;

  /// Errors: kBadGguf with the byte offset and the field. Never reads tensor data.
  static Gguf read(const File& file);

  const std::vector<GgufTensor>& tensors() const { return tensors_; }
  const GgufTensor* find_tensor(const std::string& name) const;      // null when absent
  bool has(const std::string& key) const;
  /// Typed access; the wrong type or a value out of range is kBadGguf naming the key.
  std::int64_t integer(const std::string& key) const;
  std::int64_t integer_or(const std::string& key, std::int64_t fallback) const;
  double real_or(const std::string& key, double fallback) const;
  bool boolean_or(const std::string& key, bool fallback) const;
  const std::string& text(const std::string& key) const;
  std::string text_or(const std::string& key, const std::string& fallback) const;
  const std::vector<std::string>& texts(const std::string& key) const;
  std::vector<std::int64_t> integers(const std::string& key) const;
  std::vector<double> reals(const std::string& key) const;
  const std::string& file_name() const { return file_name_; }
  Bytes header_bytes() const { return header_bytes_; }

 private:
  friend class GgufParser;
  std::string file_name_;
  Bytes header_bytes_;
  std::map<std::string, Value> metadata_;
  std::vector<GgufTensor> tensors_;
  std::map<std::string, std::size_t> by_name_;
};

/// Card of the model in the file; the dims come from metadata and are checked against the tensor
/// table. Errors: kUnknownFamily, kBadGguf.
ModelCard model_card_from_gguf(const Gguf& gguf);

}  // namespace vramplan
