#pragma once
// GgufWriter: the bytes of a small GGUF file (version 3) of f32 tensors.
#include <cstdint>
#include <cstring>
#include <string>
#include <vector>

namespace vramplan {

struct FileTensor {
  std::string name;
  std::vector<std::uint64_t> dims;  // innermost first
  std::string bytes;
};

class GgufWriter {
 public:
  void number(const std::string& key, std::uint32_t value) { pair(key, 4).append(raw(value)); }
  void real(const std::string& key, float value) { pair(key, 6).append(raw(value)); }
  void text(const std::string& key, const std::string& value) { append_text(pair(key, 8), value); }

  std::string file(const std::vector<FileTensor>& tensors) const {
    std::string out = "GGUF";
    out += raw(std::uint32_t{3}) + raw(std::uint64_t{tensors.size()}) + raw(pairs_) + metadata_;
    std::uint64_t offset = 0;
    for (const FileTensor& t : tensors) {
      append_text(out, t.name);
      out += raw(static_cast<std::uint32_t>(t.dims.size()));
      for (const std::uint64_t dim : t.dims) out += raw(dim);
      out += raw(std::uint32_t{0}) + raw(offset);
      offset += (t.bytes.size() + 31) / 32 * 32;
    }
    out.resize((out.size() + 31) / 32 * 32, '\0');
    for (const FileTensor& t : tensors) {
      out += t.bytes;
      out.resize((out.size() + 31) / 32 * 32, '\0');
    }
    return out;
  }

 private:
  template <class T>
  static std::string raw(T value) {
    std::string bytes(sizeof value, '\0');
    std::memcpy(bytes.data(), &value, sizeof value);
    return bytes;
  }
  static void append_text(std::string& out, const std::string& value) {
    out += raw(std::uint64_t{value.size()}) + value;
  }
  std::string& pair(const std::string& key, std::uint32_t type) {
    ++pairs_;
    append_text(metadata_, key);
    return metadata_ += raw(type);
  }

  std::string metadata_;
  std::uint64_t pairs_ = 0;
};

}  // namespace vramplan
