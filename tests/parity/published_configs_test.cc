// Parameters of published configurations: this program's count from config.json against the count of
// transformers' own classes (tests/reference/hf_parameters.py).
#include <gtest/gtest.h>

#include <fstream>
#include <map>
#include <sstream>

#include "modelcards/file.h"
#include "modelcards/json.h"
#include "modelcards/model_card.h"
#include "planner/weights.h"

namespace vramplan {
namespace {

/// A JSON value as text again.
std::string text_of(const JsonNode& node) {
  std::string out;
  if (node.is_object()) {
    for (const std::string& key : node.keys()) {
      out += (out.empty() ? "\"" : ",\"") + key + "\":" + text_of(node.at(key));
    }
    return "{" + out + "}";
  }
  if (node.is_array()) {
    for (const JsonNode& item : node.items()) out += (out.empty() ? "" : ",") + text_of(item);
    return "[" + out + "]";
  }
  if (node.is_string()) {
    for (const char c : node.text()) out += c == '"' || c == '\\' ? std::string("\\") + c : std::string(1, c);
    return "\"" + out + "\"";
  }
  if (node.is_boolean()) return node.boolean() ? "true" : "false";
  if (node.is_null()) return "null";
  try {
    return std::to_string(node.integer(INT64_MIN, INT64_MAX));
  } catch (const Error&) {
    std::ostringstream real;
    real.precision(17);
    real << node.real(-1e300, 1e300);
    return real.str().find_first_of(".e") == std::string::npos ? real.str() + ".0" : real.str();
  }
}

std::map<std::string, std::int64_t> counted() {
  std::ifstream file(VRAMPLAN_SOURCE_DIR "/tests/reference/hf_parameters.csv");
  std::map<std::string, std::int64_t> out;
  std::string line;
  std::getline(file, line);
  while (std::getline(file, line)) {
    const std::size_t last = line.rfind(','), first = line.rfind(',', last - 1);
    out[line.substr(0, first)] = std::stoll(line.substr(last + 1));
  }
  return out;
}

/// Without the towers: the reference builds the decoder alone.
std::int64_t decoder_parameters(const ModelCard& card) {
  std::int64_t total = count_parameters(card).total.n;
  for (const ExtraTensor& extra : card.extras) {
    if (extra.group == "encoder") total -= extra.rows * extra.columns;
  }
  return total;
}

TEST(PublishedConfigs, HaveTheParametersThatTransformersCounts) {
  const std::string path = VRAMPLAN_SOURCE_DIR "/tests/reference/hf_configs.json";
  const JsonNode configs = JsonNode::parse(read_text(*open_file(path), 1_MiB), path);
  int compared = 0;
  for (const auto& [name, parameters] : counted()) {
    SCOPED_TRACE(name);
    try {
      const std::string text = text_of(configs.at(name).at("config"));
      const ModelCard card = parse_hf_config(text, name + "/config.json");
      validate(card);
      EXPECT_EQ(decoder_parameters(card), parameters)
          << "off by " << decoder_parameters(card) - parameters;
      ++compared;
    } catch (const Error& error) {
      ADD_FAILURE() << error.what();
    }
  }
  EXPECT_GE(compared, 100);
}

}  // namespace
}  // namespace vramplan
