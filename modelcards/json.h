#pragma once
// JsonNode: strict reading of JSON. Depth and node count are capped while the text is read,
// duplicate keys are errors, and numbers are only handed out through a checked range; every error
// names file and field. Keeps the JSON library out of every other header.
#include <cstdint>
#include <memory>
#include <string>
#include <vector>

#include "modelcards/error.h"

namespace vramplan {

class JsonNode {
 public:
  static constexpr std::size_t kMaxDepth = 64;
  static constexpr std::size_t kMaxNodes = 1'000'000;

  /// Errors: kBadJson (syntax with its byte, duplicate keys, a number outside double, the caps).
  static JsonNode parse(const std::string& text, const std::string& file_name);

  bool is_object() const;
  bool is_array() const;
  bool is_string() const;
  bool is_number() const;
  bool is_boolean() const;
  bool is_null() const;

  /// Present and not null: Hugging Face writes null for "not set".
  bool has(const std::string& key) const;
  bool contains(const std::string& key) const;  // present, perhaps null
  /// A child. Errors: kBadConfig when the key is missing, kBadJson when this is no object or array.
  JsonNode at(const std::string& key) const;
  JsonNode at(std::size_t index) const;
  std::size_t size() const;               // of an array or object
  std::vector<std::string> keys() const;  // in file order
  std::vector<JsonNode> items() const;    // of an array or object, in file order

  /// Scalars; another type or a value out of range is kBadJson. An integer has no point or
  /// exponent.
  const std::string& text() const;
  std::int64_t integer(std::int64_t low, std::int64_t high) const;
  double real(double low, double high) const;
  bool boolean() const;

  std::string text_or(const std::string& key, const std::string& fallback) const;
  std::int64_t integer_or(const std::string& key, std::int64_t fallback, std::int64_t low,
                          std::int64_t high) const;
  double real_or(const std::string& key, double fallback, double low, double high) const;
  bool boolean_or(const std::string& key, bool fallback) const;

  [[noreturn]] void fail(ErrorCode code, const std::string& message,
                         const std::string& help = {}) const;
  const std::string& path() const { return path_; }
  const std::string& file_name() const;

 private:
  struct Document;
  JsonNode(std::shared_ptr<const Document> document, std::uint32_t index, std::string path);
  std::uint32_t find(const std::string& key) const;  // 0 = absent: the root is nobody's child

  std::shared_ptr<const Document> document_;
  std::uint32_t index_ = 0;
  std::string path_;
};

}  // namespace vramplan
