#include "reports/json_reader.h"

#include <cmath>

namespace vramplan {

nlohmann::json parse_json(const std::string& text, const std::string& file_name) {
  try {
    return nlohmann::json::parse(text);
  } catch (const nlohmann::json::parse_error& error) {
    throw Error(ErrorCode::kBadJson, "this is no JSON document")
        .at(file_name, "byte " + std::to_string(error.byte))
        .help("give a file written with --json");
  } catch (const nlohmann::json::exception& error) {  // a number beyond every range
    throw Error(ErrorCode::kBadJson, error.what()).at(file_name);
  }
}

std::string write_json(const nlohmann::json& document) {
  return document.dump(2, ' ', false, nlohmann::json::error_handler_t::replace) + "\n";
}

nlohmann::json finite(double value) {
  if (!std::isfinite(value)) return nullptr;
  return value;
}

void JsonReader::fail(const std::string& why) const {
  throw Error(ErrorCode::kBadJson, why)
      .at(file_, path_.empty() ? "top level" : path_)
      .help("give a file written with --json by this major version");
}

JsonReader JsonReader::at(const char* name) const {
  if (!value_.is_object()) fail("an object is needed here");
  const auto found = value_.find(name);
  if (found == value_.end()) fail(std::string("the field '") + name + "' is missing");
  return {*found, file_, path_.empty() ? name : path_ + "." + name};
}

std::vector<JsonReader> JsonReader::items() const {
  if (!value_.is_array()) fail("a list is needed here");
  std::vector<JsonReader> out;
  out.reserve(value_.size());
  for (std::size_t i = 0; i < value_.size(); ++i) {
    out.emplace_back(value_[i], file_, path_ + "[" + std::to_string(i) + "]");
  }
  return out;
}

std::string JsonReader::text() const {
  if (!value_.is_string()) fail("a text is needed here");
  return value_.get<std::string>();
}

bool JsonReader::boolean() const {
  if (!value_.is_boolean()) fail("true or false is needed here");
  return value_.get<bool>();
}

std::int64_t JsonReader::integer() const {
  if (!value_.is_number_integer()) fail("an integer is needed here");
  if (value_.is_number_unsigned() &&
      value_.get<std::uint64_t>() > static_cast<std::uint64_t>(INT64_MAX)) {
    fail("the integer leaves 64 bits");
  }
  return value_.get<std::int64_t>();
}

std::int64_t JsonReader::count() const {
  const std::int64_t value = integer();
  if (value < 0) fail("a count is never negative");
  return value;
}

std::uint64_t JsonReader::unsigned_integer() const {
  if (!value_.is_number_unsigned()) fail("an integer that is not negative is needed here");
  return value_.get<std::uint64_t>();
}

double JsonReader::number() const {
  if (value_.is_null()) return 0;
  if (!value_.is_number()) fail("a number is needed here");
  return value_.get<double>();
}

std::vector<std::string> JsonReader::texts() const {
  std::vector<std::string> out;
  for (const JsonReader& item : items()) out.push_back(item.text());
  return out;
}

}  // namespace vramplan
