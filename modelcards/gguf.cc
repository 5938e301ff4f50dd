#include "modelcards/gguf.h"

#include <algorithm>
#include <cmath>
#include <cstring>
#include <limits>

namespace vramplan {
namespace {

/// Applies `take` to each element of a raw array, widened from T.
template <class T, class Take>
void decode(const Gguf::Numbers& numbers, Take take) {
  for (std::size_t at = 0; at + sizeof(T) <= numbers.raw.size(); at += sizeof(T)) {
    T element{};
    std::memcpy(&element, numbers.raw.data() + at, sizeof(T));
    take(element);
  }
}

}  // namespace

std::int64_t GgufTensor::rows() const {
  std::int64_t rows = 1;
  for (std::size_t i = 0; i + 1 < shape.size(); ++i) rows = detail::checked_mul(rows, shape[i]);
  return rows;
}

const GgufTensor* Gguf::find_tensor(const std::string& name) const {
  const auto less = [&](std::uint32_t index, const std::string& wanted) {
    return tensors_[index].name < wanted;
  };
  const auto found = std::lower_bound(by_name_.begin(), by_name_.end(), name, less);
  if (found == by_name_.end() || tensors_[*found].name != name) return nullptr;
  return &tensors_[*found];
}

bool Gguf::has(const std::string& key) const { return metadata_.count(key) != 0; }

bool Gguf::is_array(const std::string& key) const {
  const auto found = metadata_.find(key);
  return found != metadata_.end() &&
         (std::holds_alternative<Numbers>(found->second) ||
          std::holds_alternative<std::vector<std::string>>(found->second));
}

void Gguf::fail(const std::string& key, const std::string& message) const {
  throw Error(ErrorCode::kBadGguf, message)
      .at(file_name_, key)
      .help("the file is damaged or was written by a broken converter; convert or fetch it again");
}

const Gguf::Value& Gguf::value(const std::string& key) const {
  const auto found = metadata_.find(key);
  if (found == metadata_.end()) fail(key, "the metadata key is missing");
  return found->second;
}

std::int64_t Gguf::integer(const std::string& key) const {
  const Value& v = value(key);
  if (const auto* i = std::get_if<std::int64_t>(&v)) return *i;
  const auto* u = std::get_if<std::uint64_t>(&v);
  if (u == nullptr) fail(key, "the metadata value is not an integer");
  if (*u > static_cast<std::uint64_t>(std::numeric_limits<std::int64_t>::max())) {
    fail(key, "the metadata value " + std::to_string(*u) + " does not fit 63 bits");
  }
  return static_cast<std::int64_t>(*u);
}

std::int64_t Gguf::integer_or(const std::string& key, std::int64_t fallback) const {
  return has(key) ? integer(key) : fallback;
}

double Gguf::real_or(const std::string& key, double fallback) const {
  if (!has(key)) return fallback;
  const auto* d = std::get_if<double>(&value(key));
  if (d == nullptr) fail(key, "the metadata value is not a real number");
  if (!std::isfinite(*d)) fail(key, "the metadata value is not finite");
  return *d;
}

bool Gguf::boolean_or(const std::string& key, bool fallback) const {
  if (!has(key)) return fallback;
  const auto* b = std::get_if<bool>(&value(key));
  if (b == nullptr) fail(key, "the metadata value is not a boolean");
  return *b;
}

const std::string& Gguf::text(const std::string& key) const {
  const auto* s = std::get_if<std::string>(&value(key));
  if (s == nullptr) fail(key, "the metadata value is not a string");
  return *s;
}

std::string Gguf::text_or(const std::string& key, const std::string& fallback) const {
  return has(key) ? text(key) : fallback;
}

const std::vector<std::string>& Gguf::texts(const std::string& key) const {
  const auto* list = std::get_if<std::vector<std::string>>(&value(key));
  if (list == nullptr) fail(key, "the metadata value is not an array of strings");
  return *list;
}

std::vector<std::int64_t> Gguf::integers(const std::string& key) const {
  const auto* numbers = std::get_if<Numbers>(&value(key));
  if (numbers == nullptr) fail(key, "the metadata value is not an array of integers");
  std::vector<std::int64_t> out;
  const auto keep = [&](auto element) { out.push_back(static_cast<std::int64_t>(element)); };
  switch (numbers->type) {
    case GgufType::kU8:
    case GgufType::kBool:
      decode<std::uint8_t>(*numbers, keep);
      break;
    case GgufType::kI8:
      decode<std::int8_t>(*numbers, keep);
      break;
    case GgufType::kU16:
      decode<std::uint16_t>(*numbers, keep);
      break;
    case GgufType::kI16:
      decode<std::int16_t>(*numbers, keep);
      break;
    case GgufType::kU32:
      decode<std::uint32_t>(*numbers, keep);
      break;
    case GgufType::kI32:
      decode<std::int32_t>(*numbers, keep);
      break;
    case GgufType::kI64:
      decode<std::int64_t>(*numbers, keep);
      break;
    case GgufType::kU64:
      decode<std::uint64_t>(*numbers, [&](std::uint64_t element) {
        if (element > static_cast<std::uint64_t>(std::numeric_limits<std::int64_t>::max())) {
          fail(key, "an element does not fit 63 bits");
        }
        keep(element);
      });
      break;
    default:
      fail(key, "the metadata value is not an array of integers");
  }
  return out;
}

std::vector<double> Gguf::reals(const std::string& key) const {
  const auto* numbers = std::get_if<Numbers>(&value(key));
  std::vector<double> out;
  const auto keep = [&](double element) {
    if (!std::isfinite(element)) fail(key, "an element is not finite");
    out.push_back(element);
  };
  if (numbers != nullptr && numbers->type == GgufType::kF32) {
    decode<float>(*numbers, [&](float element) { keep(static_cast<double>(element)); });
  } else if (numbers != nullptr && numbers->type == GgufType::kF64) {
    decode<double>(*numbers, keep);
  } else {
    fail(key, "the metadata value is not an array of real numbers");
  }
  return out;
}

}  // namespace vramplan
