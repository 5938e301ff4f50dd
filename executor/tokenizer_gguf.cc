// The tokenizer's tables out of a GGUF's metadata.
#include "executor/tokenizer.h"

namespace vramplan {

std::unique_ptr<Tokenizer> Tokenizer::from_gguf(const Gguf& gguf) {
  const auto key = [](const char* name) { return std::string("tokenizer.ggml.") + name; };
  Vocabulary tables;
  tables.file = gguf.file_name();
  tables.model = gguf.text(key("model"));
  tables.pre = gguf.text_or(key("pre"), "");
  tables.tokens = gguf.texts(key("tokens"));
  if (gguf.has(key("merges"))) tables.merges = gguf.texts(key("merges"));
  if (gguf.has(key("token_type"))) tables.types = gguf.integers(key("token_type"));
  if (gguf.has(key("scores"))) tables.scores = gguf.reals(key("scores"));
  tables.bos = gguf.integer_or(key("bos_token_id"), -1);
  tables.eos = gguf.integer_or(key("eos_token_id"), -1);
  tables.eot = gguf.integer_or(key("eot_token_id"), -1);
  tables.eom = gguf.integer_or(key("eom_token_id"), -1);
  tables.unknown = gguf.integer_or(key("unknown_token_id"), -1);
  if (gguf.has(key("add_bos_token"))) tables.add_bos = gguf.boolean_or(key("add_bos_token"), false);
  tables.add_space_prefix = gguf.boolean_or(key("add_space_prefix"), true);
  tables.chat_template = gguf.text_or("tokenizer.chat_template", "");
  return from_tables(tables);
}

}  // namespace vramplan
