// Parameters of published configurations: this program's count from config.json against the count
// of transformers' own classes (tests/reference/hf_parameters.py).
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
    for (const char c : node.text())
      out += c == '"' || c == '\\' ? std::string("\\") + c : std::string(1, c);
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

/// A line of a CSV file: config, published, counted, and the rest with its quotes.
struct Total {
  std::string config, explanation;
  std::int64_t published = 0, counted = 0;
};

std::vector<Total> published_totals() {
  std::ifstream file(VRAMPLAN_SOURCE_DIR "/tests/reference/published_totals.csv");
  std::vector<Total> out;
  std::string line, number;
  std::getline(file, line);
  while (std::getline(file, line)) {
    std::istringstream fields(line);
    Total total;
    std::getline(fields, total.config, ',');
    std::getline(fields, number, ',');
    total.published = std::stoll(number);
    std::getline(fields, number, ',');
    total.counted = std::stoll(number);
    std::getline(fields, total.explanation);
    out.push_back(total);
  }
  return out;
}

TEST(PublishedConfigs, TotalsOfCheckpointsAreExactOrExplained) {
  const std::string path = VRAMPLAN_SOURCE_DIR "/tests/reference/hf_configs.json";
  const JsonNode configs = JsonNode::parse(read_text(*open_file(path), 1_MiB), path);
  int exact = 0;
  for (const Total& total : published_totals()) {
    SCOPED_TRACE(total.config);
    const std::string text = text_of(configs.at(total.config).at("config"));
    const ModelCard card = parse_hf_config(text, total.config + "/config.json");
    EXPECT_EQ(decoder_parameters(card), total.counted);
    EXPECT_EQ(total.published == total.counted, total.explanation == "exact");
    EXPECT_FALSE(total.explanation.empty());
    exact += total.published == total.counted ? 1 : 0;
  }
  EXPECT_GE(exact, 27);
}

/// Parameters of the towers a config says, with the projector.
std::int64_t tower_parameters(const std::string& type, std::int64_t hidden,
                              const std::string& vision) {
  const std::string text =
      R"({"model_type":"any","torch_dtype":"bfloat16","vision_config":)" + vision +
      R"(,"text_config":{"model_type":")" + type + R"(","hidden_size":)" + std::to_string(hidden) +
      R"(,"num_hidden_layers":2,"num_attention_heads":8,"num_key_value_heads":4,"vocab_size":100,
      "intermediate_size":64,"intermediate_size_mlp":64,"max_position_embeddings":1024,
      "num_local_experts":2,"num_experts_per_tok":1}})";
  const ModelCard card = parse_hf_config(text, "tower/config.json");
  validate(card);
  return card.extras.empty() ? 0 : card.extras[0].rows * card.extras[0].columns;
}

TEST(PublishedConfigs, TowersAreCountedToTheParameter) {
  // Differences of published totals and their decoders; Gemma's tables are 64 rows longer too.
  const std::string siglip = R"({"model_type":"siglip_vision_model","hidden_size":1152,
      "intermediate_size":4304,"num_hidden_layers":27,"patch_size":14,"image_size":896})";
  EXPECT_EQ(tower_parameters("gemma3_text", 2560, siglip), 419'980'144 - 64 * 2560);
  EXPECT_EQ(tower_parameters("gemma3_text", 5376, siglip), 423'404'400 - 64 * 5376);
  const std::string llama4 = R"({"model_type":"llama4_vision_model","hidden_size":1408,
      "intermediate_size":5632,"num_hidden_layers":34,"patch_size":14,"image_size":336,
      "projector_input_dim":4096,"projector_output_dim":4096,"vision_output_dim":4096})";
  EXPECT_EQ(tower_parameters("llama4_text", 5120, llama4), 871'932'416);
  EXPECT_EQ(tower_parameters("gemma3_text", 2560, R"({"model_type":"unheard_of"})"), 0);
}

TEST(PublishedConfigs, LayersOfFurtherTokensExplainATotalExactly) {
  const std::string path = VRAMPLAN_SOURCE_DIR "/tests/reference/hf_configs.json";
  const JsonNode configs = JsonNode::parse(read_text(*open_file(path), 1_MiB), path);
  const std::string text = text_of(configs.at("Qwen/Qwen3-Next-80B-A3B-Instruct").at("config"));
  ModelCard card = parse_hf_config(text, "qwen3-next/config.json");
  card.mtp_layers = 1;
  card.mtp_loaded = true;
  EXPECT_EQ(count_parameters(card).total.n, 81'324'862'720);
}

// Towers and projectors as transformers builds them: tests/reference/hf_towers.py.
TEST(PublishedConfigs, TowersHaveTheParametersOfTheirClasses) {
  const std::string path = std::string(VRAMPLAN_SOURCE_DIR) + "/tests/reference/hf_towers.json";
  const JsonNode towers = JsonNode::parse(read_text(*open_file(path), 1_MiB), path).at("towers");
  ASSERT_GE(towers.size(), 6u);
  for (const std::string& name : towers.keys()) {
    const JsonNode entry = towers.at(name);
    const ModelCard card = parse_hf_config(text_of(entry.at("config")), name);
    std::int64_t parameters = 0;
    for (const ExtraTensor& extra : card.extras) {
      if (extra.group == "encoder") parameters += extra.rows * extra.columns;
    }
    EXPECT_EQ(parameters, entry.at("parameters").integer(1, INT64_MAX)) << name;
  }
}

}  // namespace
}  // namespace vramplan
