#include <algorithm>

#include "modelcards/hf_config.h"

namespace vramplan {

bool HfFields::is(std::initializer_list<const char*> families) const {
  return std::any_of(families.begin(), families.end(),
                     [this](const char* known) { return name == known; });
}

const char* HfFields::spelling(std::initializer_list<const char*> names) const {
  for (const char* known : names) {
    if (config.has(known)) return known;
  }
  return *names.begin();
}

std::int64_t HfFields::required(std::initializer_list<const char*> names, std::int64_t high) const {
  const JsonNode field = config.at(spelling(names));
  if (field.is_null()) field.fail(ErrorCode::kBadConfig, "the field is null");
  return field.integer(1, high);
}

std::int64_t HfFields::optional(std::initializer_list<const char*> names, std::int64_t fallback,
                                std::int64_t high) const {
  return config.integer_or(spelling(names), fallback, 1, high);
}

std::int64_t HfFields::count(std::initializer_list<const char*> names,
                             std::int64_t fallback) const {
  return config.integer_or(spelling(names), fallback, 0, std::int64_t{1} << 28);
}

double HfFields::real(const char* field, double fallback) const {
  return config.real_or(field, fallback, -1e9, 1e9);
}

void HfFields::refuse_unless(bool fine, const char* field) const {
  if (fine) return;
  config.at(field).fail(ErrorCode::kUnsupported,
                        "this value in the family " + name + " cannot be said in a card");
}

std::vector<std::string> HfFields::layer_words(const char* field, std::int64_t layer_count) const {
  std::vector<std::string> words;
  if (!config.has(field)) return words;
  const JsonNode list = config.at(field);
  for (const JsonNode& item : list.items()) words.push_back(item.text());
  if (static_cast<std::int64_t>(words.size()) != layer_count) {
    list.fail(ErrorCode::kBadConfig, "has " + std::to_string(words.size()) + " entries for " +
                                         std::to_string(layer_count) + " layers");
  }
  return words;
}

}  // namespace vramplan
