// The tokenizer of a real file against llama.cpp and Jinja. Needs the file the fixture was made
// with: VRAMPLAN_TEST_MODEL=.../SmolLM2-135M-Instruct.Q4_1.gguf.
#include <gtest/gtest.h>

#include "executor/tokenizer.h"
#include "tests/reference/fixture.h"

namespace vramplan {
namespace {

class RealTokenizer : public ::testing::Test {
 protected:
  void SetUp() override {
    const std::string path = reference::model_path("VRAMPLAN_TEST_MODEL");
    if (path.empty()) GTEST_SKIP() << "VRAMPLAN_TEST_MODEL names no SmolLM2-135M-Instruct GGUF";
    tokenizer = Tokenizer::from_gguf(Gguf::read(*open_file(path)));
    fixture = reference::read_json("tokenizer_smollm2.json");
  }
  std::unique_ptr<Tokenizer> tokenizer;
  nlohmann::json fixture;
};

TEST_F(RealTokenizer, IdsAreThoseOfLlamaCppAndHuggingFace) {
  ASSERT_GT(fixture.at("cases").size(), 200u);
  for (const auto& one : fixture.at("cases")) {
    const auto text = one.at("text").get<std::string>();
    SCOPED_TRACE(nlohmann::json(text).dump());
    const auto ids = one.at("ids").get<std::vector<std::int32_t>>();
    EXPECT_EQ(tokenizer->encode(text, true), ids);
    EXPECT_EQ(tokenizer->encode(text, false),
              one.value("plain_ids", nlohmann::json(ids)).get<std::vector<std::int32_t>>());
  }
}

TEST_F(RealTokenizer, ConversationsReadAsTheTemplateWritesThem) {
  for (const auto& chat : fixture.at("chats")) {
    std::vector<ChatMessage> messages;
    for (const auto& message : chat.at("messages")) {
      messages.push_back(
          {message.at("role").get<std::string>(), message.at("content").get<std::string>()});
    }
    const std::string text = tokenizer->apply_chat_template(messages);
    EXPECT_EQ(text, chat.at("text").get<std::string>());
    EXPECT_EQ(tokenizer->encode(text, true), chat.at("ids").get<std::vector<std::int32_t>>());
  }
}

TEST_F(RealTokenizer, KnowsItsEndsAndItsSize) {
  EXPECT_EQ(tokenizer->vocab_size(), 49152);
  EXPECT_TRUE(tokenizer->is_end(2));   // <|im_end|>
  EXPECT_TRUE(tokenizer->is_end(0));   // <|endoftext|>
  EXPECT_FALSE(tokenizer->is_end(1));  // <|im_start|>
  EXPECT_FALSE(tokenizer->adds_bos());
  // By the formula of the header: V = 49152, M = 48900, T = 332367, S = 17, E = 2, C = 368.
  EXPECT_EQ(tokenizer->memory_bytes().n, 2'048'387);
}

}  // namespace
}  // namespace vramplan
