#pragma once
// YamlNode: strict reading of YAML. Anchors, aliases, duplicate and unknown keys are errors;
// numbers are checked; every error names file, line and field. Keeps yaml-cpp out of every other
// header.
#include <cstdint>
#include <memory>
#include <string>
#include <vector>

namespace vramplan {

class YamlNode {
 public:
  /// One document. Errors: kBadYaml (file() is "name:line", field() the path). Limits: 1 MiB, depth
  /// 32, 100,000 events, all checked while the text is read. Refused: anchors,
  /// aliases, tags, duplicate keys, keys that are no scalar, control bytes, invalid UTF-8.
  static YamlNode parse(const std::string& text, const std::string& file_name);

  bool is_map() const;
  bool is_list() const;
  bool is_scalar() const;
  bool has(const std::string& key) const;
  /// A child; missing is kBadYaml naming the field.
  YamlNode at(const std::string& key) const;
  YamlNode at(std::size_t index) const;
  std::size_t size() const;
  std::vector<std::string> keys() const;

  /// Scalars. A key without a value is an error in all of them. Numbers and booleans are unquoted;
  /// integers are decimal digits only (no 010, 0x10, 1_000, 1e3, +1), reals are JSON numbers.
  std::string text() const;
  std::int64_t integer(std::int64_t low, std::int64_t high) const;
  double real(double low, double high) const;  // NaN and infinity are errors
  bool boolean() const;

  std::string text_or(const std::string& key, const std::string& fallback) const;
  std::int64_t integer_or(const std::string& key, std::int64_t fallback, std::int64_t low,
                          std::int64_t high) const;
  double real_or(const std::string& key, double fallback, double low, double high) const;
  bool boolean_or(const std::string& key, bool fallback) const;

  /// Throws kBadYaml for the first key that is not in the list, with the nearest allowed one.
  void allow_only(const std::vector<std::string>& allowed) const;
  /// kBadYaml (or kBadCard) at this node's file, line and path.
  [[noreturn]] void fail(const std::string& message, const std::string& help = {}) const;
  std::string path() const;

 private:
  struct Impl;
  std::shared_ptr<const Impl> impl_;
};

/// A scalar as YAML text, quoted whenever a YAML tool could read it as something else.
std::string yaml_quoted(const std::string& text);

}  // namespace vramplan
