#include "modelcards/model_source.h"

#include <gtest/gtest.h>
#include <unistd.h>

#include <cstring>
#include <filesystem>
#include <fstream>

#include "modelcards/library.h"
#include "tests/modelcards/gguf_writer.h"

namespace vramplan {
namespace {

namespace fs = std::filesystem;

const char* const kConfig =
    R"({"model_type":"llama","hidden_size":32,"num_hidden_layers":1,"num_attention_heads":4,
        "num_key_value_heads":2,"intermediate_size":64,"vocab_size":16,
        "max_position_embeddings":128,"torch_dtype":"bfloat16","tie_word_embeddings":true)";

class ModelSourceTest : public testing::Test {
 protected:
  ModelSourceTest()
      : root_(testing::TempDir() + "vramplan_source_test_" + std::to_string(::getpid())) {
    fs::create_directories(root_ + "/Model");
  }
  ~ModelSourceTest() override { fs::remove_all(root_); }
  std::string folder() const { return root_ + "/Model"; }
  void write(const std::string& name, const std::string& bytes) const {
    std::ofstream(root_ + "/" + name, std::ios::binary) << bytes;
  }
  /// One F16 matrix [2, 4] a name.
  static std::string shard(const std::vector<std::string>& names) {
    std::string header = "{";
    std::size_t at = 0;
    for (const std::string& name : names) {
      if (at != 0) header += ',';
      header +=
          '"' + name + R"(":{"dtype":"F16","shape":[2,4],"data_offsets":[)" + std::to_string(at);
      header += ',' + std::to_string(at + 16) + "]}";
      at += 16;
    }
    header += '}';
    std::string out(8, '\0');
    const std::uint64_t length = header.size();
    std::memcpy(out.data(), &length, 8);
    return out + header + std::string(at, '\0');
  }
  void expect_error(const std::string& model, ErrorCode code, const std::string& says) const {
    try {
      open_model(model);
      FAIL() << model;
    } catch (const Error& error) {
      EXPECT_EQ(error.code(), code) << error.what();
      EXPECT_NE(std::string(error.what()).find(says), std::string::npos) << error.what();
    }
  }
  std::string root_;
};

TEST_F(ModelSourceTest, AGgufGivesCardAndStoredTensors) {
  write("tiny.gguf", test::tiny_llama().bytes());
  const ModelSource source = open_model(root_ + "/tiny.gguf");
  EXPECT_EQ(source.kind, SourceKind::kGguf);
  EXPECT_EQ(source.path, root_ + "/tiny.gguf");
  ASSERT_EQ(source.stored.size(), 20U);
  EXPECT_EQ(source.stored[0].name, "token_embd.weight");
  EXPECT_EQ(source.stored[0].rows, 16);
  EXPECT_EQ(source.stored[0].columns, 32);
  EXPECT_EQ(source.stored[0].bytes, 544_B);  // 16 rows of one Q8_0 block
  EXPECT_EQ(source.stored[1].rows, 1);
  ASSERT_NE(source.gguf, nullptr);
  EXPECT_NE(source.gguf->find_tensor("output_norm.weight"), nullptr);
}

TEST_F(ModelSourceTest, AFolderMayHoldAConfigAlone) {
  write("Model/config.json", std::string(kConfig) + "}");
  for (const std::string& name : {folder(), folder() + "/", folder() + "/config.json"}) {
    const ModelSource source = open_model(name);
    EXPECT_EQ(source.kind, SourceKind::kFolder);
    EXPECT_EQ(source.card.name, "model");
    EXPECT_EQ(source.card.stored_weights, DType::kBF16);
    EXPECT_TRUE(source.stored.empty());
    EXPECT_EQ(source.gguf, nullptr);
  }
}

TEST_F(ModelSourceTest, SafetensorsHeadersAreTheTruth) {
  write("Model/config.json",
        std::string(kConfig) + R"(,"quantization_config":{"quant_method":"aqlm"}})");
  expect_error(folder(), ErrorCode::kUnsupported, "aqlm");
  write("Model/model.safetensors", shard({"a", "b"}));
  const ModelSource source = open_model(folder());
  ASSERT_EQ(source.stored.size(), 2U);
  EXPECT_EQ(source.stored[1].name, "b");
  EXPECT_EQ(source.stored[1].rows, 2);
  EXPECT_EQ(source.stored[1].columns, 4);
  EXPECT_EQ(source.stored[1].bytes, 16_B);
  EXPECT_EQ(source.card.stored_weights, DType::kF16);
}

// Two of three matrices lie beside the decoder: 16 elements of the header, whatever a config says.
TEST_F(ModelSourceTest, TensorsBesideTheDecoderArePlacedByTheirHeaders) {
  write("Model/config.json", std::string(kConfig) + "}");
  write("Model/model.safetensors", shard({"model.norm.weight", "visual.merger.mlp.0.weight",
                                          "model.multi_modal_projector.linear_1.weight"}));
  const ModelSource source = open_model(folder());
  ASSERT_EQ(source.card.extras.size(), 1U);
  EXPECT_EQ(source.card.extras[0].group, "encoder");
  EXPECT_EQ(source.card.extras[0].columns, 16);
  ASSERT_EQ(source.stored.size(), 2U);
  EXPECT_EQ(source.stored[1].name, source.card.extras[0].name);
  EXPECT_EQ(source.stored[1].dtype, DType::kF16);
  EXPECT_EQ(source.stored[1].bytes, 32_B);
}

TEST_F(ModelSourceTest, ShardsAreReadThroughTheirIndex) {
  write("Model/config.json", std::string(kConfig) + "}");
  write("Model/m-1.safetensors", shard({"a", "tied"}));
  write("Model/m-2.safetensors", shard({"b", "tied"}));
  expect_error(folder(), ErrorCode::kBadSafetensors, "no model.safetensors.index.json");
  const auto index = [&](const std::string& map) {
    write("Model/model.safetensors.index.json",
          R"({"metadata":{"total_size":1},"weight_map":{)" + map + "}}");
  };
  index(R"("a":"m-1.safetensors","tied":"m-1.safetensors","b":"m-2.safetensors")");
  EXPECT_EQ(open_model(folder()).stored.size(), 3U);  // the tied copy counts once
  index(R"("a":"m-1.safetensors","c":"m-2.safetensors")");
  expect_error(folder(), ErrorCode::kBadSafetensors, "c");
  index(R"("a":"m-3.safetensors")");
  expect_error(folder(), ErrorCode::kFile, "m-3.safetensors");
  for (const char* bad :
       {"../m.safetensors", "/etc/m.safetensors", "a\\\\b.safetensors", "m.bin", ".safetensors",
        "a\\u0000.safetensors", "x/../m.safetensors", "a..safetensors", ""}) {
    SCOPED_TRACE(bad);
    index(std::string(R"("a":")") + bad + '"');
    expect_error(folder(), ErrorCode::kBadSafetensors, "plain .safetensors");
  }
  index(R"("a":5)");
  expect_error(folder(), ErrorCode::kBadJson, "weight_map.a");
}

TEST_F(ModelSourceTest, LinksMayNotLeadOutOfTheModel) {
  write("Model/config.json", std::string(kConfig) + "}");
  write("outside.safetensors", shard({"a"}));
  fs::create_symlink(root_ + "/outside.safetensors", folder() + "/model.safetensors");
  expect_error(folder(), ErrorCode::kBadSafetensors, "out of the model");
  // The cache of Hugging Face: snapshots/<commit>/file -> ../../blobs/<hash>.
  const std::string cached = root_ + "/models--x/snapshots/c0ffee";
  fs::create_directories(cached);
  fs::create_directories(root_ + "/models--x/blobs");
  write("models--x/blobs/1", shard({"a"}));
  write("models--x/snapshots/c0ffee/config.json", std::string(kConfig) + "}");
  fs::create_symlink("../../blobs/1", cached + "/model.safetensors");
  EXPECT_EQ(open_model(cached).stored.size(), 1U);
  fs::remove(cached + "/model.safetensors");
  fs::create_symlink("../../../outside.safetensors", cached + "/model.safetensors");
  expect_error(cached, ErrorCode::kBadSafetensors, "out of the model");
}

TEST_F(ModelSourceTest, WhatIsNoModelIsNamed) {
  expect_error(folder(), ErrorCode::kFile, "config.json");
  expect_error(root_ + "/absent.gguf", ErrorCode::kFile, "absent.gguf");
  expect_error(root_ + "/absent", ErrorCode::kFile, "absent");
  expect_error("no-such-card", ErrorCode::kUnknownName, "no-such-card");
  write("text", "hello, this is text");
  expect_error(root_ + "/text", ErrorCode::kBadGguf, "GGUF");
  write("bad.yaml", "a: [");
  expect_error(root_ + "/bad.yaml", ErrorCode::kBadYaml, "bad.yaml");
}

TEST_F(ModelSourceTest, CardNamesComeFromTheLibrary) {
  const auto names = model_card_names();
  if (names.empty()) GTEST_SKIP() << "no card is compiled in";
  const ModelSource source = open_model(names.front());
  EXPECT_EQ(source.kind, SourceKind::kCard);
  EXPECT_EQ(source.card.name, names.front());
  EXPECT_TRUE(source.path.empty() && source.stored.empty());
}

}  // namespace
}  // namespace vramplan
