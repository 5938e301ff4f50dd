#include "modelcards/library.h"

#include <gtest/gtest.h>
#include <unistd.h>

#include <algorithm>
#include <filesystem>
#include <fstream>
#include <map>
#include <set>
#include <sstream>

#include "modelcards/error.h"
#include "modelcards/yaml.h"

namespace vramplan {
namespace {

namespace fs = std::filesystem;

std::string read_file(const fs::path& path) {
  std::ifstream file(path);
  std::stringstream text;
  text << file.rdbuf();
  return text.str();
}

std::set<std::string> stems(const fs::path& folder) {
  std::set<std::string> out;
  for (const auto& entry : fs::directory_iterator(folder)) {
    if (entry.path().extension() == ".yaml") out.insert(entry.path().stem().string());
  }
  return out;
}

TEST(Library, ModelCardsAreNamedAfterTheirFilesAndValid) {
  const std::vector<std::string> names = model_card_names();
  EXPECT_GE(names.size(), 20U);
  EXPECT_TRUE(std::is_sorted(names.begin(), names.end()));
  EXPECT_EQ(std::set<std::string>(names.begin(), names.end()),
            stems(fs::path(VRAMPLAN_SOURCE_DIR) / "modelcards/models"));
  for (const std::string& name : names) {
    SCOPED_TRACE(name);
    const ModelCard card = model_card(name);
    EXPECT_EQ(card.name, name);
    EXPECT_NO_THROW(validate(card));
    EXPECT_FALSE(card.title.empty());
    EXPECT_FALSE(card.family.empty());
    EXPECT_NE(card.source.find(':'), std::string::npos) << "repository@commit:path";
  }
}

TEST(Library, DeviceCardsAreNamedAfterTheirFilesAndEveryNumberHasASource) {
  const std::vector<std::string> names = device_card_names();
  EXPECT_GE(names.size(), 20U);
  EXPECT_TRUE(std::is_sorted(names.begin(), names.end()));
  EXPECT_EQ(std::set<std::string>(names.begin(), names.end()),
            stems(fs::path(VRAMPLAN_SOURCE_DIR) / "modelcards/devices"));
  for (const std::string& name : names) {
    SCOPED_TRACE(name);
    const DeviceCard card = device_card(name);
    EXPECT_EQ(card.name, name);
    EXPECT_NO_THROW(validate(card));
    // Every "value:" in the file is followed by its own source on the same line.
    std::istringstream lines(
        read_file(fs::path(VRAMPLAN_SOURCE_DIR) / "modelcards/devices" / (name + ".yaml")));
    for (std::string line; std::getline(lines, line);) {
      if (line.find("value:") == std::string::npos) continue;
      EXPECT_NE(line.find("source: \""), std::string::npos) << line;
      EXPECT_EQ(line.find("source: \"\""), std::string::npos) << line;
    }
  }
}

/// The number of a name such as h100-sxm-80gb; 0 when there is none.
double gigabytes_in(const std::string& name) {
  const std::size_t dash = name.rfind('-');
  if (dash == std::string::npos || name.substr(name.size() - 2) != "gb") return 0;
  return std::stod(name.substr(dash + 1));
}

TEST(Library, CapacitiesAreBelowTheBoxAndNearIt) {
  int checked = 0;
  for (const std::string& name : device_card_names()) {
    const double box = gigabytes_in(name);
    if (box == 0) continue;
    ++checked;
    const auto capacity = static_cast<double>(device_card(name).capacity_bytes.value);
    EXPECT_LE(capacity, box * 1024 * 1024 * 1024 * 1.001) << name;
    EXPECT_GE(capacity, box * 1e9 * 0.95) << name;
  }
  EXPECT_GE(checked, 20);
}

TEST(Library, TheHbmLinkIsTheMemory) {
  for (const std::string& name : device_card_names()) {
    const DeviceCard card = device_card(name);
    bool has_hbm = false;
    for (const Link& link : card.links) {
      if (link.kind != LinkKind::kHbm) continue;
      has_hbm = true;
      EXPECT_EQ(link.bytes_per_s.value, card.memory_bytes_per_s.value) << name;
    }
    EXPECT_EQ(has_hbm, card.kind == DeviceKind::kGpu) << name;
  }
}

TEST(Library, UnknownNamesOfferTheNearest) {
  try {
    model_card("llama-3-70");
    FAIL();
  } catch (const Error& error) {
    EXPECT_EQ(error.code(), ErrorCode::kUnknownName);
    EXPECT_NE(error.fix().find("llama-3-70b"), std::string::npos);
  }
  try {
    device_card("h100-sxm-80");
    FAIL();
  } catch (const Error& error) {
    EXPECT_EQ(error.code(), ErrorCode::kUnknownName);
    EXPECT_NE(error.fix().find("h100-sxm-80gb"), std::string::npos);
  }
  EXPECT_THROW(model_card(""), Error);
  EXPECT_THROW(model_card("../models/gpt2"), Error);
}

TEST(Library, ADeviceCardMayBeAPath) {
  const fs::path path =
      fs::temp_directory_path() / ("vramplan_card_" + std::to_string(::getpid()) + ".yaml");
  DeviceCard card = device_card("cpu-generic");
  card.name = "my-machine";
  card.op_costs = {{"linear", "q4_1", 1e-6, 2e10, 0.1}};
  std::ofstream(path) << write_device_card(card);
  const DeviceCard read = device_card(path.string());
  EXPECT_EQ(read.name, "my-machine");
  ASSERT_EQ(read.op_costs.size(), 1U);
  EXPECT_EQ(read.op_costs[0].flops_per_s, 0.1);
  fs::remove(path);
  EXPECT_THROW(device_card(path.string()), Error);
}

TEST(Library, TheReferenceCountsCoverEveryCard) {
  std::istringstream lines(
      read_file(fs::path(VRAMPLAN_SOURCE_DIR) / "tests/reference/parameters.csv"));
  std::set<std::string> counted;
  std::string line;
  std::getline(lines, line);
  EXPECT_EQ(line, "card,transformers_version,parameters");
  while (std::getline(lines, line)) counted.insert(line.substr(0, line.find(',')));
  const std::vector<std::string> names = model_card_names();
  EXPECT_EQ(counted, std::set<std::string>(names.begin(), names.end()));
}

const std::map<std::string, std::string> kPublished{
    {"meta-llama/Llama-3.1-8B", "llama-3.1-8b"},
    {"meta-llama/Llama-3.1-70B", "llama-3.1-70b"},
    {"meta-llama/Meta-Llama-3-70B", "llama-3-70b"},
    {"meta-llama/Llama-3.2-3B", "llama-3.2-3b"},
    {"meta-llama/Llama-2-7b-hf", "llama-2-7b"},
    {"meta-llama/Llama-2-13b-hf", "llama-2-13b"},
    {"meta-llama/Llama-2-70b-hf", "llama-2-70b"},
    {"mistralai/Mistral-7B-Instruct-v0.3", "mistral-7b-v0.3"},
    {"mistralai/Mistral-Nemo-Instruct-2407", "mistral-nemo-12b"},
    {"mistralai/Mistral-Small-24B-Instruct-2501", "mistral-small-24b"},
    {"Qwen/Qwen2.5-0.5B", "qwen2.5-0.5b"},
    {"Qwen/Qwen2.5-1.5B", "qwen2.5-1.5b"},
    {"Qwen/Qwen2.5-3B", "qwen2.5-3b"},
    {"Qwen/Qwen2.5-7B", "qwen2.5-7b"},
    {"Qwen/Qwen2.5-14B", "qwen2.5-14b"},
    {"Qwen/Qwen2.5-32B", "qwen2.5-32b"},
    {"Qwen/Qwen2.5-72B", "qwen2.5-72b"},
    {"Qwen/Qwen3-0.6B", "qwen3-0.6b"},
    {"Qwen/Qwen3-1.7B", "qwen3-1.7b"},
    {"Qwen/Qwen3-4B", "qwen3-4b"},
    {"Qwen/Qwen3-32B", "qwen3-32b"},
    {"google/gemma-2-2b", "gemma-2-2b"},
    {"google/gemma-2-27b", "gemma-2-27b"},
    {"google/gemma-3-1b-it", "gemma-3-1b"},
    {"google/gemma-3-4b-it", "gemma-3-4b"},
    {"google/gemma-3-27b-it", "gemma-3-27b"},
    {"microsoft/Phi-3-mini-4k-instruct", "phi-3-mini"},
    {"microsoft/phi-4", "phi-4"},
    {"tiiuae/falcon-40b", "falcon-40b"},
    {"HuggingFaceTB/SmolLM2-135M", "smollm2-135m"},
    {"HuggingFaceTB/SmolLM2-360M", "smollm2-360m"},
    {"TinyLlama/TinyLlama-1.1B-Chat-v1.0", "tinyllama-1.1b"},
    {"EleutherAI/pythia-2.8b", "pythia-2.8b"},
};

TEST(Library, CardsAgreeWithPublishedConfigurations) {
  const fs::path path = fs::path(VRAMPLAN_SOURCE_DIR) / "../shared/truth/models.yaml";
  if (!fs::exists(path)) GTEST_SKIP() << "the collection of published configurations is not here";
  const YamlNode models = YamlNode::parse(read_file(path), "models.yaml").at("models");
  constexpr std::int64_t kMost = std::int64_t{1} << 40;
  for (const auto& [published, name] : kPublished) {
    SCOPED_TRACE(name);
    const YamlNode config = models.at(published).at("config");
    const ModelCard card = model_card(name);
    const Layer& layer = card.layers.front();
    EXPECT_EQ(card.hidden, config.at("hidden_size").integer(1, kMost));
    EXPECT_EQ(card.layer_count(), config.at("num_hidden_layers").integer(1, kMost));
    EXPECT_EQ(layer.mixer.heads, config.at("num_attention_heads").integer(1, kMost));
    EXPECT_EQ(layer.mixer.kv_heads, config.at("num_key_value_heads").integer(1, kMost));
    EXPECT_EQ(layer.feed_forward.intermediate, config.at("intermediate_size").integer(1, kMost));
    EXPECT_EQ(layer.mixer.head_dim,
              config.integer_or("head_dim", card.hidden / layer.mixer.heads, 1, kMost));
    if (config.has("rope_theta")) {
      // The last layer of Gemma 3 1B and 4B is local, the sixth is global in all of them.
      const Layer& global = card.layers[std::min<std::size_t>(5, card.layers.size() - 1)];
      EXPECT_EQ(global.mixer.rope.theta, config.at("rope_theta").real(1, 1e12));
    }
    EXPECT_EQ(card.tied_head, config.boolean_or("tie_word_embeddings", card.tied_head));
    // The collection pads the vocabulary of Gemma 3 4B and 27B differently; the cards say why.
    const bool padded = name == "gemma-3-4b" || name == "gemma-3-27b";
    EXPECT_EQ(card.vocab, config.at("vocab_size").integer(1, kMost) + (padded ? 64 : 0));
  }
}

}  // namespace
}  // namespace vramplan
