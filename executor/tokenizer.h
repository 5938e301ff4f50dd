#pragma once
// Tokenizer: the vocabulary of a GGUF at work: text to ids and back. Byte-level BPE ("gpt2") and
// SentencePiece ("llama"); what else the file names is refused by name.
#include <cstdint>
#include <memory>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "executor/chat_template.h"
#include "executor/utf8_stream.h"
#include "modelcards/gguf.h"

namespace vramplan {

/// tokenizer.ggml.* as plain vectors, so that a tokenizer can be built without a file. The strings
/// are only read while building. Ids are -1 when the file does not name them.
struct Vocabulary {
  std::string file;                     // for messages
  std::string model;                    // "gpt2" or "llama"
  std::string pre;                      // name of the pre-split (BPE); empty = "default"
  std::span<const std::string> tokens;  // as stored: the byte alphabet of GPT-2, or U+2581 spaces
  std::span<const std::string> merges;  // "left right", best first (BPE)
  std::vector<std::int64_t> types;      // 1 normal 2 unknown 3 control 4 user 5 unused 6 byte
  std::vector<double> scores;           // SentencePiece
  std::int64_t bos = -1, eos = -1, eot = -1, eom = -1, unknown = -1;
  int add_bos = -1;              // 0, 1, or -1: the rule of the model and pre-split
  bool add_space_prefix = true;  // SentencePiece
  std::string chat_template;     // Jinja text, empty = none
};

class Tokenizer {
 public:
  /// Errors: kUnsupported naming the tokenizer model or pre-split, kBadGguf for broken tables.
  static std::unique_ptr<Tokenizer> from_gguf(const Gguf& gguf);
  static std::unique_ptr<Tokenizer> from_tables(const Vocabulary& tables);
  ~Tokenizer();

  /// With `parse_special`, control tokens such as <|im_start|> in the text become their ids;
  /// without it they are ordinary text (user-defined tokens are always found). The beginning token
  /// comes first when the file's rule says so, never twice. Bytes that are not UTF-8 go through as
  /// they are. A byte that no token of the vocabulary holds is left out, as the published
  /// tokenizers do (SmolLM2 has no token for 21 bytes, 0x04 among them).
  std::vector<std::int32_t> encode(std::string_view text, bool parse_special) const;
  /// Raw bytes; control and unknown tokens as nothing. Errors: kUsage for an id out of range.
  std::string decode(std::span<const std::int32_t> ids) const;
  /// The bytes of one token, of a control token its name; valid as long as the tokenizer lives. A
  /// stream must hold back an incomplete UTF-8 tail (see Utf8Stream). Errors: kUsage as above.
  std::string_view piece(std::int32_t id) const;
  bool is_control(std::int32_t id) const;
  bool is_end(std::int32_t id) const;  // end of sequence, of turn or of message
  std::int32_t bos() const;            // -1 = none
  std::int32_t eos() const;
  bool adds_bos() const;
  std::int32_t vocab_size() const;
  /// The conversation as the model's chat template writes it, ready for the answer.
  /// Errors: kUnsupported when the template is none of the known shapes.
  std::string apply_chat_template(std::span<const ChatMessage> messages) const;

  /// Bytes held, by sizes of our own buffers. With V tokens whose decoded texts have T bytes, M
  /// merges, S control, unknown and user-defined tokens, E end tokens and C bytes of chat template:
  ///   gpt2:  T + 5 V + 4 + 4 (V + V/2 + 1) + 16 (M + M/2 + 1) + 4 (S + E) + C + 1280
  ///   llama: T + 9 V + 4 + 4 (V + V/2 + 1)                    + 4 (S + E) + C + 1280
  /// (text blob, offsets and types; hash of texts; hash of merges, or one score a token; specials;
  /// one id and one flag for each byte value). Integer divisions round down. The compiled pre-split
  /// (some 20 to 100 KiB inside PCRE2) is not in it. Example: SmolLM2-135M, V = 49152, M = 48900,
  /// T = 332367, S = 17, E = 2, C = 368: 2,048,387 bytes.
  Bytes memory_bytes() const;

 private:
  Tokenizer();
  struct Impl;
  std::unique_ptr<Impl> impl_;
};

}  // namespace vramplan
