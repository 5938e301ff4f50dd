#include "executor/chat_template.h"

#include <gtest/gtest.h>

#include "modelcards/error.h"
#include "tests/reference/fixture.h"

namespace vramplan {
namespace {

std::vector<ChatMessage> messages_of(const nlohmann::json& json) {
  std::vector<ChatMessage> messages;
  for (const auto& message : json) {
    messages.push_back(
        {message.at("role").get<std::string>(), message.at("content").get<std::string>()});
  }
  return messages;
}

ErrorCode refusal(const std::string& jinja, const std::vector<ChatMessage>& messages) {
  try {
    render_chat(jinja, {"<s>", "</s>"}, messages);
  } catch (const Error& error) {
    return error.code();
  }
  return ErrorCode::kInternal;
}

TEST(ChatTemplate, EveryShapeReadsAsJinjaRendersIt) {
  const auto fixture = reference::read_json("chat_templates.json");
  int rendered = 0, refused = 0;
  for (const auto& one : fixture.at("cases")) {
    const auto& shape = fixture.at("templates").at(one.at("name").get<std::string>());
    const ChatTokens tokens{shape.at("bos").get<std::string>(), shape.at("eos").get<std::string>()};
    const auto jinja = shape.at("jinja").get<std::string>();
    const auto messages = messages_of(one.at("messages"));
    SCOPED_TRACE(one.dump());
    if (one.contains("drops_system") || one.at("text").is_null()) {
      EXPECT_THROW(render_chat(jinja, tokens, messages), Error);
      ++refused;
    } else {
      EXPECT_EQ(render_chat(jinja, tokens, messages), one.at("text").get<std::string>());
      ++rendered;
    }
  }
  EXPECT_GT(rendered, 80);
  EXPECT_GT(refused, 5);
}

TEST(ChatTemplate, UnknownShapesAreRefusedByName) {
  const std::vector<ChatMessage> hello = {{"user", "Hello"}};
  for (const char* jinja :
       {"", "{{ messages }}", "<|im_start|>user<|im_sep|>", "[SYSTEM_PROMPT][INST]",
        "<|im_start|> Knowledge Cutoff Date", "[gMASK]<|user|><|assistant|> eos_token",
        "<|user|><|assistant|><|channel|><|end|>"}) {
    EXPECT_EQ(refusal(jinja, hello), ErrorCode::kUnsupported) << jinja;
  }
}

TEST(ChatTemplate, RolesAndReasoningThatATemplateWouldLoseAreRefused) {
  const std::string gemma = "<start_of_turn> <end_of_turn> must alternate";
  EXPECT_EQ(refusal(gemma, {{"tool", "x"}}), ErrorCode::kUnsupported);
  EXPECT_EQ(refusal(gemma, {{"user", "x"}, {"system", "y"}}), ErrorCode::kUnsupported);
  EXPECT_EQ(refusal(gemma, {{"assistant", "x"}}), ErrorCode::kUsage);
  EXPECT_EQ(refusal("<|im_start|> </think>", {{"assistant", "<think>a</think>b"}}),
            ErrorCode::kUnsupported);
}

}  // namespace
}  // namespace vramplan
