#pragma once
// Chat template: a conversation as one text, the way the model was trained to read it. The file's
// Jinja program is not run; it is recognised by its markers as one of eight known shapes.
#include <span>
#include <string>

namespace vramplan {

struct ChatMessage {
  std::string role, content;
};

/// What a template may write besides the conversation.
struct ChatTokens {
  std::string bos, eos;  // texts of the special tokens, empty = none
};

/// Shapes: ChatML, Llama 3, Llama 2, Mistral (v1, v3, Tekken), Gemma, Phi-3, Zephyr. The result
/// ends where the assistant's answer begins. A default system message that the template itself
/// writes (SmolLM2, Qwen2.5) is written when the first message is no system message. Errors:
/// kUnsupported when the template is no known shape, for a role it does not know, and for a system
/// message where the template takes none.
std::string render_chat(const std::string& jinja, const ChatTokens& tokens,
                        std::span<const ChatMessage> messages);

}  // namespace vramplan
