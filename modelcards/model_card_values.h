#pragma once
// One YAML scalar -> one field of a card, by the field's type. Not for other folders.
#include <cstdint>
#include <string>
#include <type_traits>
#include <vector>

#include "modelcards/dtype.h"
#include "modelcards/model_card_fields.h"
#include "modelcards/nearest_names.h"
#include "modelcards/yaml.h"
#include "modelcards/yaml_text.h"

namespace vramplan::card_fields {

inline void read_value(const YamlNode& node, std::int64_t& out, std::int64_t low,
                       std::int64_t high) {
  out = node.integer(low, high);
}
inline void read_value(const YamlNode& node, double& out, double low, double high) {
  out = node.real(low, high);
}
inline void read_value(const YamlNode& node, bool& out) { out = node.boolean(); }
inline void read_value(const YamlNode& node, std::string& out) { out = node.text(); }
inline void read_value(const YamlNode& node, DType& out) {
  const auto dtype = dtype_from_name(node.text());
  if (!dtype) node.fail(in_quotes(node.text()) + " is no format", "such as bf16, f16, q4_k");
  out = *dtype;
}
template <class Kind>
requires std::is_enum_v<Kind>
void read_value(const YamlNode& node, Kind& out) {
  const std::string word = node.text();
  const std::vector<std::string>& known = words(Kind{});
  for (std::size_t i = 0; i < known.size(); ++i) {
    if (known[i] == word) {
      out = static_cast<Kind>(i);
      return;
    }
  }
  node.fail(in_quotes(word) + " is unknown", did_you_mean(word, known));
}

}  // namespace vramplan::card_fields
