#include "executor/chat_template.h"

#include <string_view>

#include "modelcards/error.h"

namespace vramplan {

namespace {

using Messages = std::span<const ChatMessage>;

Error unsupported(const std::string& what) {
  return Error(ErrorCode::kUnsupported, what)
      .at({}, "tokenizer.chat_template")
      .help("give the prompt without a chat template");
}

std::string trimmed(std::string_view text) {
  constexpr std::string_view kSpace = " \t\n\r\f\v";
  const std::size_t first = text.find_first_not_of(kSpace);
  if (first == std::string_view::npos) return {};
  return std::string(text.substr(first, text.find_last_not_of(kSpace) - first + 1));
}

/// The Jinja text with "\n" of its string literals turned into line breaks, so that a literal reads
/// the same whether the file stores the escape or the character.
std::string unescaped(std::string_view jinja) {
  std::string out;
  for (std::size_t i = 0; i < jinja.size(); ++i) {
    if (jinja[i] == '\\' && i + 1 < jinja.size()) {
      const char next = jinja[++i];
      if (next == 'n') out += '\n';
      if (next == 't') out += '\t';
      if (next != 'n' && next != 't') out += next;
    } else {
      out += jinja[i];
    }
  }
  return out;
}

class Writer {
 public:
  Writer(const std::string& jinja, const ChatTokens& tokens, Messages messages)
      : text_(unescaped(jinja)), tokens_(tokens), messages_(messages) {}

  std::string write();

 private:
  bool has(std::string_view marker) const { return text_.find(marker) != std::string::npos; }
  bool has_either(std::string_view a, std::string_view b) const { return has(a) || has(b); }
  /// What stands between `before` and `after`, if it holds no quote: a literal without a variable.
  std::string literal(std::string_view before, std::string_view after) const;
  bool trims() const { return has_either("| trim", "|trim") || has("strip()"); }
  std::string content(const ChatMessage& message) const {
    return trims() ? trimmed(message.content) : message.content;
  }
  bool starts_with_system() const { return !messages_.empty() && messages_[0].role == "system"; }
  void check_roles(bool alternate) const;

  void chatml();
  void llama3();
  void llama2();
  void mistral();
  void gemma();
  void phi3();
  void zephyr();

  const std::string text_;
  const ChatTokens& tokens_;
  const Messages messages_;
  std::string out_;
};

std::string Writer::literal(std::string_view before, std::string_view after) const {
  for (std::size_t at = text_.find(before); at != std::string::npos;
       at = text_.find(before, at + 1)) {
    const std::size_t begin = at + before.size();
    const std::size_t end = text_.find(after, begin);
    if (end == std::string::npos) break;
    const std::string found = text_.substr(begin, end - begin);
    if (found.find_first_of("'\"{}") == std::string::npos) return found;
  }
  return {};
}

/// A system message may only come first; user and assistant take turns when the template says so.
void Writer::check_roles(bool alternate) const {
  bool user_next = true;
  for (std::size_t i = 0; i < messages_.size(); ++i) {
    const std::string& role = messages_[i].role;
    if (role == "system" && i == 0) continue;
    if (role != "user" && role != "assistant") {
      throw unsupported("message " + std::to_string(i) + " has role \"" + printable(role) +
                        "\"; the template takes system (first), user and assistant");
    }
    if (alternate && (role == "user") != user_next) {
      throw Error(ErrorCode::kUsage,
                  "message " + std::to_string(i) + " breaks the turns user, assistant, user, ...")
          .help("let user and assistant alternate, the user first");
    }
    user_next = role != "user";
  }
}

// <|im_start|>role LF content <|im_end|> LF
void Writer::chatml() {
  if (has("<|im_sep|>")) throw unsupported("the chat template of Phi-4 (<|im_sep|>) is not known");
  if (has("Knowledge Cutoff Date")) {
    throw unsupported("a ChatML template that writes today's date (SmolLM3) is not known");
  }
  if (has("bos_token")) out_ += tokens_.bos;
  const std::string system = literal("<|im_start|>system\n", "<|im_end|>");
  if (!starts_with_system() && !system.empty()) {
    out_ += "<|im_start|>system\n" + system + "<|im_end|>\n";
  }
  for (const ChatMessage& message : messages_) {
    if (has("</think>") && message.content.find("</think>") != std::string::npos) {
      throw unsupported("a message with reasoning, which this template cuts, is not supported");
    }
    out_ += "<|im_start|>";
    out_ += message.role + "\n" + content(message) + "<|im_end|>\n";
  }
  out_ += "<|im_start|>assistant\n";
}

// <|start_header_id|>role<|end_header_id|> LF LF content <|eot_id|>. Llama 3.1 and later open with
// their dates; the date in the template's own text stands for today.
void Writer::llama3() {
  const auto header = [](const std::string& role) {
    return "<|start_header_id|>" + role + "<|end_header_id|>\n\n";
  };
  if (has("bos_token")) out_ += tokens_.bos;
  Messages rest = messages_;
  if (const std::string cutoff = literal("Cutting Knowledge Date: ", "\n"); !cutoff.empty()) {
    const std::string today = literal("set date_string = \"", "\"");
    if (today.empty()) throw unsupported("the Llama 3 template writes today's date only");
    out_ +=
        header("system") + "Cutting Knowledge Date: " + cutoff + "\nToday Date: " + today + "\n\n";
    if (starts_with_system()) {
      out_ += content(messages_[0]);
      rest = rest.subspan(1);
    }
    out_ += "<|eot_id|>";
  }
  for (const ChatMessage& message : rest) {
    out_ += header(message.role) + content(message) + "<|eot_id|>";
  }
  out_ += header("assistant");
}

// [INST] <<SYS>> LF system LF <</SYS>> LF LF user [/INST] answer </s>
void Writer::llama2() {
  check_roles(has("must alternate"));
  const bool bos_each = has("bos_token + '[INST]");
  if (!bos_each && has("bos_token")) out_ += tokens_.bos;
  std::string system = literal("set system_message = '", "'");
  Messages rest = messages_;
  if (starts_with_system()) {
    system = messages_[0].content;
    rest = rest.subspan(1);
  }
  for (std::size_t i = 0; i < rest.size(); ++i) {
    if (rest[i].role == "assistant") {
      out_ += ' ';
      out_ += content(rest[i]);
      out_ += ' ';
      out_ += tokens_.eos;
      continue;
    }
    std::string user = rest[i].content;
    if (i == 0 && !system.empty()) user = "<<SYS>>\n" + system + "\n<</SYS>>\n\n" + user;
    if (bos_each) out_ += tokens_.bos;
    out_ += "[INST] ";
    out_ += trims() ? trimmed(user) : user;
    out_ += " [/INST]";
  }
}

// [INST] user [/INST] answer </s>, with the spaces of the template's version.
void Writer::mistral() {
  check_roles(has("must alternate"));
  const bool system_last = has("loop.last and system_message");
  const bool takes_system = system_last || has("loop.first and system_message");
  if (starts_with_system() && !takes_system) {
    throw unsupported("this Mistral template takes no system message");
  }
  const std::string open = has_either("' [INST] '", "\" [INST] \"") ? " [INST] "
                           : has("[INST] ")                         ? "[INST] "
                                                                    : "[INST]";
  const std::string close = has(" [/INST]") ? " [/INST]" : "[/INST]";
  const std::string before = has_either("' ' + message", "\" \" + message") ? " " : "";
  const std::string after = has("eos_token + ' '") ? " " : "";
  if (has("bos_token")) out_ += tokens_.bos;
  const Messages rest = messages_.subspan(starts_with_system() ? 1 : 0);
  for (std::size_t i = 0; i < rest.size(); ++i) {
    if (rest[i].role == "assistant") {
      out_ += before + content(rest[i]) + tokens_.eos + after;
      continue;
    }
    const bool here = starts_with_system() && (system_last ? i + 1 == rest.size() : i == 0);
    out_ += open;
    if (here) out_ += messages_[0].content + "\n\n";
    out_ += rest[i].content + close;
  }
}

// <start_of_turn>user LF content <end_of_turn> LF; Gemma 3 puts the system message into the first.
void Writer::gemma() {
  check_roles(has("must alternate"));
  if (starts_with_system() && !has("first_user_prefix")) {
    throw unsupported("this Gemma template takes no system message");
  }
  if (has("bos_token")) out_ += tokens_.bos;
  const Messages rest = messages_.subspan(starts_with_system() ? 1 : 0);
  for (std::size_t i = 0; i < rest.size(); ++i) {
    out_ += rest[i].role == "assistant" ? "<start_of_turn>model\n" : "<start_of_turn>user\n";
    if (i == 0 && starts_with_system()) out_ += messages_[0].content + "\n\n";
    out_ += content(rest[i]) + "<end_of_turn>\n";
  }
  out_ += "<start_of_turn>model\n";
}

// <|role|> LF content <|end|> LF; Phi-4-mini the same without line breaks. Phi-3-medium opens the
// answer with every user message.
void Writer::phi3() {
  check_roles(false);
  if (starts_with_system() && !has_either("'system'", "message['role'] + '|>'")) {
    throw unsupported("this Phi-3 template takes no system message");
  }
  const bool breaks = has_either("<|assistant|>\n", "<|assistant|>' + '\n");
  const std::string line = breaks ? "\n" : "";
  if (has("bos_token")) out_ += tokens_.bos;
  const bool user_opens = has("<|end|>' + '\n' + '<|assistant|>'");
  for (const ChatMessage& message : messages_) {
    if (!user_opens || message.role == "user") out_ += "<|" + message.role + "|>" + line;
    out_ += content(message) + "<|end|>" + line;
    if (user_opens && message.role == "user") out_ += "<|assistant|>" + line;
  }
  if (!user_opens) out_ += "<|assistant|>" + line;
}

// <|role|> LF content </s> LF
void Writer::zephyr() {
  check_roles(false);
  if (has("bos_token")) out_ += tokens_.bos;
  for (const ChatMessage& message : messages_) {
    out_ += "<|" + message.role + "|>\n" + content(message) + tokens_.eos + "\n";
  }
  out_ += "<|assistant|>\n";
}

std::string Writer::write() {
  if (text_.empty()) throw unsupported("the model has no chat template");
  const bool turns = has_either("<|user|>", "'<|' + message['role'] + '|>'") &&
                     has("<|assistant|>") && !has("[gMASK]") && !has("<|channel|>");
  if (has("<|im_start|>")) {
    chatml();
  } else if (has("<|start_header_id|>") && has("<|eot_id|>")) {
    llama3();
  } else if (has("[INST]") && has("<<SYS>>")) {
    llama2();
  } else if (has("[INST]") && !has("[SYSTEM_PROMPT]")) {
    mistral();
  } else if (has("<start_of_turn>") && has("<end_of_turn>")) {
    gemma();
  } else if (turns && has("<|end|>")) {
    phi3();
  } else if (turns && has("eos_token")) {
    zephyr();
  } else {
    throw unsupported(
        "the chat template is none of the known shapes (ChatML, Llama 3, Llama 2, "
        "Mistral up to v3, Gemma, Phi-3, Zephyr)");
  }
  return out_;
}

}  // namespace

std::string render_chat(const std::string& jinja, const ChatTokens& tokens, Messages messages) {
  return Writer(jinja, tokens, messages).write();
}

}  // namespace vramplan
