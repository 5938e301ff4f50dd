#pragma once
// JsonReader: one value of a parsed document that knows its path, so that every complaint names
// file and field. Types are strict: 1.0 is no integer, "1" is no number. Unknown fields are
// ignored: schemas grow within a major version.
#include <cstdint>
#include <nlohmann/json.hpp>
#include <string>
#include <vector>

#include "modelcards/units.h"

namespace vramplan {

/// Text to a document. Errors: kBadJson with the byte offset.
nlohmann::json parse_json(const std::string& text, const std::string& file_name);
/// A document to text: sorted keys, two spaces, bytes that are no UTF-8 replaced, newline at the
/// end.
std::string write_json(const nlohmann::json& document);
/// A finite number, or null: JSON has no NaN.
nlohmann::json finite(double value);

class JsonReader {
 public:
  JsonReader(const nlohmann::json& value, std::string file, std::string path = "")
      : value_(value), file_(std::move(file)), path_(std::move(path)) {}

  bool has(const char* name) const { return value_.is_object() && value_.contains(name); }
  bool is_null() const { return value_.is_null(); }
  /// Errors, here and below: kBadJson naming file and path.
  JsonReader at(const char* name) const;
  std::vector<JsonReader> items() const;
  std::string text() const;
  bool boolean() const;
  std::int64_t integer() const;
  std::int64_t count() const;  // an integer >= 0
  std::uint64_t unsigned_integer() const;
  double number() const;  // null = NaN was written: reads as 0
  Bytes bytes() const { return {integer()}; }
  std::vector<std::string> texts() const;
  [[noreturn]] void fail(const std::string& why) const;

  /// One of the `size` words that name_of gives to 0, 1 ... as an enum.
  template <class Enum>
  Enum word(int size) const {
    const std::string found = text();
    std::string known;
    for (int i = 0; i < size; ++i) {
      if (found == name_of(static_cast<Enum>(i))) return static_cast<Enum>(i);
      known += std::string(i == 0 ? "" : ", ") + name_of(static_cast<Enum>(i));
    }
    fail("'" + found + "' is none of " + known);
  }

 private:
  const nlohmann::json& value_;
  std::string file_, path_;
};

}  // namespace vramplan
