#pragma once
// GgufWriter: builds GGUF files in memory, good ones and ones that lie. Not the way the program
// writes anything: only tests use it.
#include <cstdint>
#include <cstring>
#include <optional>
#include <string>
#include <vector>

#include "modelcards/gguf.h"

namespace vramplan::test {

template <class T>
std::string packed(T value) {
  std::string out(sizeof(T), '\0');
  std::memcpy(out.data(), &value, sizeof(T));
  return out;
}

inline std::string packed_string(const std::string& text) {
  return packed<std::uint64_t>(text.size()) + text;
}

class GgufWriter {
 public:
  std::uint32_t magic = 0x46554747, version = 3;
  std::int64_t alignment = 32;
  std::optional<std::uint64_t> key_count, tensor_count;  // lies, when set
  std::string tail;                                      // after the last tensor

  struct Tensor {
    std::string name;
    std::vector<std::uint64_t> dims;  // innermost first, as in the file
    std::uint32_t type = 0;
    std::string data;
    std::optional<std::uint64_t> offset;  // a lie, when set
    std::optional<std::uint32_t> n_dims;
  };

  /// A key with any type number and any bytes as its value.
  GgufWriter& raw(const std::string& key, std::uint32_t type, const std::string& value) {
    keys_ += packed_string(key) + packed(type) + value;
    ++keys_written_;
    return *this;
  }
  GgufWriter& raw(const std::string& key, GgufType type, const std::string& value) {
    return raw(key, static_cast<std::uint32_t>(type), value);
  }
  GgufWriter& u32(const std::string& key, std::uint32_t value) {
    return raw(key, GgufType::kU32, packed(value));
  }
  GgufWriter& f32(const std::string& key, float value) {
    return raw(key, GgufType::kF32, packed(value));
  }
  GgufWriter& boolean(const std::string& key, bool value) {
    return raw(key, GgufType::kBool, packed<std::uint8_t>(value ? 1 : 0));
  }
  GgufWriter& text(const std::string& key, const std::string& value) {
    return raw(key, GgufType::kString, packed_string(value));
  }
  GgufWriter& texts(const std::string& key, const std::vector<std::string>& values) {
    std::string body;
    for (const std::string& value : values) body += packed_string(value);
    return array(key, GgufType::kString, values.size(), body);
  }
  template <class T>
  GgufWriter& numbers(const std::string& key, GgufType type, const std::vector<T>& values) {
    std::string body;
    for (const T value : values) body += packed(value);
    return array(key, type, values.size(), body);
  }
  GgufWriter& array(const std::string& key, GgufType type, std::uint64_t count,
                    const std::string& body) {
    return raw(key, GgufType::kArray,
               packed(static_cast<std::uint32_t>(type)) + packed(count) + body);
  }

  /// Shape outermost first, zeros as data. Bytes of whole rows, as dtype.h counts them.
  Tensor& tensor(const std::string& name, const std::vector<std::int64_t>& shape,
                 DType dtype = DType::kF32) {
    Tensor out{name, {}, static_cast<std::uint32_t>(info(dtype).ggml_type), "", {}, {}};
    std::int64_t rows = 1;
    for (std::size_t i = 0; i + 1 < shape.size(); ++i) rows *= shape[i];
    for (std::size_t i = shape.size(); i-- > 0;)
      out.dims.push_back(static_cast<std::uint64_t>(shape[i]));
    out.data.assign(static_cast<std::size_t>(bytes_of(dtype, rows, shape.back()).n), '\0');
    tensors_.push_back(out);
    return tensors_.back();
  }
  Tensor& find(const std::string& name) {
    for (Tensor& tensor : tensors_) {
      if (tensor.name == name) return tensor;
    }
    return tensors_.at(tensors_.size());  // throws
  }
  void drop(const std::string& name) {
    std::erase_if(tensors_, [&](const Tensor& t) { return t.name == name; });
  }

  std::string header() const {
    std::string out = packed(magic) + packed(version) +
                      packed<std::uint64_t>(tensor_count.value_or(tensors_.size())) +
                      packed<std::uint64_t>(key_count.value_or(keys_written_)) + keys_;
    std::uint64_t offset = 0;
    for (const Tensor& tensor : tensors_) {
      out += packed_string(tensor.name);
      out += packed(tensor.n_dims.value_or(static_cast<std::uint32_t>(tensor.dims.size())));
      for (const std::uint64_t dim : tensor.dims) out += packed(dim);
      out += packed(tensor.type) + packed(tensor.offset.value_or(offset));
      offset = padded(offset + tensor.data.size());
    }
    return out;
  }

  /// The file ends with the last tensor's last byte.
  std::string bytes() const {
    std::string out = header();
    for (const Tensor& tensor : tensors_) {
      out.resize(padded(out.size()), '\0');
      out += tensor.data;
    }
    return out + tail;
  }

 private:
  std::uint64_t padded(std::uint64_t size) const {
    const auto a = static_cast<std::uint64_t>(alignment);
    return (size + a - 1) / a * a;
  }
  std::string keys_;
  std::uint64_t keys_written_ = 0;
  std::vector<Tensor> tensors_;
};

/// A small decoder of the llama kind: hidden 32, 4 heads, 2 KV heads, width 64, 16 tokens.
inline GgufWriter tiny_llama(std::int64_t layers = 2, const std::string& arch = "llama") {
  GgufWriter w;
  w.text("general.architecture", arch).text("general.name", "Tiny");
  w.u32(arch + ".context_length", 128).u32(arch + ".embedding_length", 32);
  w.u32(arch + ".block_count", static_cast<std::uint32_t>(layers));
  w.u32(arch + ".feed_forward_length", 64).u32(arch + ".attention.head_count", 4);
  w.u32(arch + ".attention.head_count_kv", 2);
  w.f32(arch + ".attention.layer_norm_rms_epsilon", 1e-5F);
  w.texts("tokenizer.ggml.tokens", {"<s>", "a", "b", "", "long enough to leave the small buffer"});
  w.tensor("token_embd.weight", {16, 32}, DType::kQ8_0);
  for (std::int64_t i = 0; i < layers; ++i) {
    const std::string block = "blk." + std::to_string(i) + ".";
    w.tensor(block + "attn_norm.weight", {32});
    w.tensor(block + "attn_q.weight", {32, 32}, DType::kQ4_1);
    w.tensor(block + "attn_k.weight", {16, 32}, DType::kQ4_1);
    w.tensor(block + "attn_v.weight", {16, 32}, DType::kQ4_1);
    w.tensor(block + "attn_output.weight", {32, 32}, DType::kQ4_1);
    w.tensor(block + "ffn_norm.weight", {32});
    w.tensor(block + "ffn_gate.weight", {64, 32}, DType::kQ4_1);
    w.tensor(block + "ffn_up.weight", {64, 32}, DType::kQ4_1);
    w.tensor(block + "ffn_down.weight", {32, 64}, DType::kQ4_1);
  }
  w.tensor("output_norm.weight", {32});
  return w;
}

inline Gguf read_gguf(const std::string& bytes, const std::string& name = "tiny.gguf") {
  return Gguf::read(*memory_file(name, bytes));
}

}  // namespace vramplan::test
