#pragma once
// Tokenizer: byte-level BPE read from a GGUF; text in, ids out, and back. PCRE2 does the pre-split.
#include <cstdint>
#include <memory>
#include <span>
#include <string>
#include <vector>

#include "modelcards/gguf.h"

namespace vramplan {

struct ChatMessage {
  std::string role, content;
};

class Tokenizer {
 public:
  /// Errors: kUnsupported naming the tokenizer model or pre-split, kBadGguf for broken tables.
  static std::unique_ptr<Tokenizer> from_gguf(const Gguf& gguf);
  ~Tokenizer();

  /// With `parse_special`, control tokens such as <|im_start|> in the text become their ids.
  std::vector<std::int32_t> encode(const std::string& text, bool parse_special) const;
  std::string decode(std::span<const std::int32_t> ids) const;   // raw bytes, control tokens as nothing
  /// The bytes of one token; a stream must hold back an incomplete UTF-8 tail (see Utf8Stream).
  const std::string& piece(std::int32_t id) const;
  bool is_control(std::int32_t id) const;
  bool is_end(std::int32_t id) const;                            // eos, end of turn
  std::int32_t vocab_size() const;
  /// The conversation as the model's chat template writes it, ready for the answer.
  /// Errors: kUnsupported when the template is none of the known shapes.
  std::string apply_chat_template(std::span<const ChatMessage> messages) const;

 private:
  Tokenizer();
  struct Impl;
  std::unique_ptr<Impl> impl_;
};

/// Passes on whole UTF-8 characters only.
class Utf8Stream {
 public:
  std::string push(const std::string& bytes);
  std::string finish();   // what is left, replaced by U+FFFD if incomplete

 private:
  std::string pending_;
};

}  // namespace vramplan
