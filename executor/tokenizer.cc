#include "executor/tokenizer.h"

#include <algorithm>
#include <array>
#include <optional>

#include "executor/bpe.h"
#include "executor/pre_split.h"
#include "executor/sentencepiece.h"
#include "executor/token_table.h"

namespace vramplan {

namespace {

constexpr std::string_view kSpaceMark = "\xE2\x96\x81";  // U+2581, SentencePiece's space

/// Texts of control tokens that end an answer, whatever the file calls its end of sequence.
constexpr std::string_view kEndTexts[] = {
    "<|im_end|>",    "<|eot_id|>",    "<|eom_id|>",      "<|end|>",
    "<end_of_turn>", "<|endoftext|>", "<|end_of_text|>", "<|END_OF_TURN_TOKEN|>"};

std::string with_spaces(std::string_view text) {
  std::string out;
  for (std::size_t i = 0; i < text.size();) {
    const bool mark = text.substr(i, kSpaceMark.size()) == kSpaceMark;
    out += mark ? ' ' : text[i];
    i += mark ? kSpaceMark.size() : 1;
  }
  return out;
}

int hex_digit(char c) {
  if (c >= '0' && c <= '9') return c - '0';
  if (c >= 'A' && c <= 'F') return c - 'A' + 10;
  return c >= 'a' && c <= 'f' ? c - 'a' + 10 : -1;
}

/// "<0x0A>" -> the byte 0x0A. Errors: kBadGguf for any other text.
char byte_of(const std::string& text) {
  if (text.size() == 6 && text.rfind("<0x", 0) == 0 && text[5] == '>') {
    const int high = hex_digit(text[3]), low = hex_digit(text[4]);
    if (high >= 0 && low >= 0) return static_cast<char>(high * 16 + low);
  }
  throw Error(ErrorCode::kBadGguf, "byte token \"" + printable(text, 20) + "\" is not <0xNN>")
      .at({}, "tokenizer.ggml.tokens");
}

TokenType type_of(const Vocabulary& tables, std::size_t id) {
  if (tables.types.empty()) return TokenType::kNormal;
  const std::int64_t type = tables.types[id];
  if (type < 1 || type > 6) {
    throw Error(ErrorCode::kBadGguf, "token " + std::to_string(id) + " has type " +
                                         std::to_string(type) + ", outside 1 to 6")
        .at(tables.file, "tokenizer.ggml.token_type");
  }
  return static_cast<TokenType>(type);
}

/// The bytes a stored token stands for.
std::string decoded(const std::string& stored, TokenType type, bool byte_level) {
  std::string bytes;
  const bool plain = type == TokenType::kNormal || type == TokenType::kUnused;
  if (byte_level) {
    if ((plain || type == TokenType::kByte) && bytes_from_alphabet(stored, bytes)) return bytes;
    return stored;  // control and user-defined tokens are stored as they read
  }
  if (type == TokenType::kByte) return std::string(1, byte_of(stored));
  return plain ? with_spaces(stored) : stored;
}

TokenTable build_table(const Vocabulary& tables, bool byte_level) {
  if (tables.tokens.empty()) {
    throw Error(ErrorCode::kBadGguf, "the vocabulary is empty")
        .at(tables.file, "tokenizer.ggml.tokens");
  }
  if (!tables.types.empty() && tables.types.size() != tables.tokens.size()) {
    throw Error(ErrorCode::kBadGguf, "there are " + std::to_string(tables.types.size()) +
                                         " token types for " +
                                         std::to_string(tables.tokens.size()) + " tokens")
        .at(tables.file, "tokenizer.ggml.token_type");
  }
  std::size_t bytes = 0;
  for (const std::string& text : tables.tokens) bytes += text.size();
  TokenTable table;
  table.reserve(tables.tokens.size(), bytes);
  for (std::size_t id = 0; id < tables.tokens.size(); ++id) {
    const TokenType type = type_of(tables, id);
    table.add(decoded(tables.tokens[id], type, byte_level), type);
  }
  table.finish();
  return table;
}

}  // namespace

struct Tokenizer::Impl {
  TokenTable table;
  std::optional<PreSplit> pre_split;  // byte-level BPE
  std::optional<Bpe> bpe;
  std::optional<SentencePiece> sentencepiece;
  std::vector<std::int32_t> specials;  // by first byte, then longest first
  std::array<bool, 256> starts_special{};
  std::vector<std::int32_t> ends;
  std::int32_t bos = -1, eos = -1, unknown = -1;
  bool adds_bos = false, add_space_prefix = false;
  std::string chat_template;

  void find_specials();
  void find_ends(const Vocabulary& tables);
  std::int32_t special_at(std::string_view text, bool parse_control) const;
  void encode_plain(std::string_view text, bool after_special,
                    std::vector<std::int32_t>& ids) const;
  void check(std::int32_t id) const;
};

void Tokenizer::Impl::find_specials() {
  for (std::int32_t id = 0; id < table.size(); ++id) {
    const TokenType type = table.type(id);
    const bool special = type == TokenType::kControl || type == TokenType::kUserDefined ||
                         type == TokenType::kUnknown;
    if (special && !table.text(id).empty()) specials.push_back(id);
  }
  specials.shrink_to_fit();
  std::sort(specials.begin(), specials.end(), [this](std::int32_t a, std::int32_t b) {
    const std::string_view left = table.text(a), right = table.text(b);
    if (left[0] != right[0]) {
      return static_cast<std::uint8_t>(left[0]) < static_cast<std::uint8_t>(right[0]);
    }
    return left.size() != right.size() ? left.size() > right.size() : a < b;
  });
  for (const std::int32_t id : specials) {
    starts_special[static_cast<std::uint8_t>(table.text(id)[0])] = true;
  }
}

void Tokenizer::Impl::find_ends(const Vocabulary& tables) {
  const auto add = [this](std::int64_t id) {
    if (!table.contains(id)) return;
    const auto end = static_cast<std::int32_t>(id);
    if (std::find(ends.begin(), ends.end(), end) == ends.end()) ends.push_back(end);
  };
  add(tables.eos);
  add(tables.eot);
  add(tables.eom);
  for (const std::int32_t id : specials) {
    const auto* known = std::find(std::begin(kEndTexts), std::end(kEndTexts), table.text(id));
    if (known != std::end(kEndTexts)) add(id);
  }
  ends.shrink_to_fit();
}

/// The longest special token at the start of `text`, -1 when there is none.
std::int32_t Tokenizer::Impl::special_at(std::string_view text, bool parse_control) const {
  const auto first = static_cast<std::uint8_t>(text[0]);
  if (!starts_special[first]) return -1;
  auto it = std::lower_bound(specials.begin(), specials.end(), first,
                             [this](std::int32_t id, std::uint8_t byte) {
                               return static_cast<std::uint8_t>(table.text(id)[0]) < byte;
                             });
  for (; it != specials.end() && static_cast<std::uint8_t>(table.text(*it)[0]) == first; ++it) {
    const bool wanted = parse_control || table.type(*it) == TokenType::kUserDefined;
    if (wanted && text.substr(0, table.text(*it).size()) == table.text(*it)) return *it;
  }
  return -1;
}

void Tokenizer::Impl::encode_plain(std::string_view text, bool after_special,
                                   std::vector<std::int32_t>& ids) const {
  if (text.empty()) return;
  if (sentencepiece) {
    std::string spaced(add_space_prefix && after_special ? 1 : 0, ' ');
    spaced += with_spaces(text);
    sentencepiece->encode(spaced, unknown, ids);
    return;
  }
  for (const std::string_view piece : pre_split->split(text)) {
    if (pre_split->whole_piece_first()) {
      const std::int32_t id = table.find(piece);
      if (id >= 0 && table.type(id) == TokenType::kNormal) {
        ids.push_back(id);
        continue;
      }
    }
    bpe->encode(piece, ids);
  }
}

void Tokenizer::Impl::check(std::int32_t id) const {
  if (table.contains(id)) return;
  throw Error(ErrorCode::kUsage, "token id " + std::to_string(id) +
                                     " is outside the vocabulary of " +
                                     std::to_string(table.size()));
}

Tokenizer::Tokenizer() : impl_(std::make_unique<Impl>()) {}
Tokenizer::~Tokenizer() = default;

std::unique_ptr<Tokenizer> Tokenizer::from_tables(const Vocabulary& tables) {
  const bool byte_level = tables.model == "gpt2";
  if (!byte_level && tables.model != "llama") {
    throw Error(ErrorCode::kUnsupported,
                "tokenizer model \"" + printable(tables.model) + "\" is not supported")
        .at(tables.file, "tokenizer.ggml.model")
        .help("supported: gpt2 (byte-level BPE), llama (SentencePiece); or give token ids");
  }
  std::unique_ptr<Tokenizer> tokenizer(new Tokenizer);
  Impl& impl = *tokenizer->impl_;
  try {
    if (byte_level) impl.pre_split.emplace(tables.pre.empty() ? "default" : tables.pre);
    impl.table = build_table(tables, byte_level);
    if (byte_level) {
      impl.bpe.emplace(impl.table, tables.merges);
    } else {
      impl.sentencepiece.emplace(impl.table, tables.scores);
    }
  } catch (Error& error) {
    error.at(tables.file, error.field());
    throw;
  }
  const auto named = [&](std::int64_t id, const char* key) {
    if (id >= 0 && !impl.table.contains(id)) {
      throw Error(ErrorCode::kBadGguf, "token id " + std::to_string(id) +
                                           " is outside the vocabulary of " +
                                           std::to_string(impl.table.size()))
          .at(tables.file, key);
    }
    return id >= 0 ? static_cast<std::int32_t>(id) : -1;
  };
  impl.bos = named(tables.bos, "tokenizer.ggml.bos_token_id");
  impl.eos = named(tables.eos, "tokenizer.ggml.eos_token_id");
  impl.unknown = named(tables.unknown, "tokenizer.ggml.unknown_token_id");
  const bool rule = byte_level ? impl.pre_split->adds_bos() : true;
  impl.adds_bos = (tables.add_bos < 0 ? rule : tables.add_bos != 0) && impl.bos >= 0;
  impl.add_space_prefix = tables.add_space_prefix;
  impl.chat_template = tables.chat_template;
  impl.chat_template.shrink_to_fit();
  impl.find_specials();
  impl.find_ends(tables);
  return tokenizer;
}

std::vector<std::int32_t> Tokenizer::encode(std::string_view text, bool parse_special) const {
  std::vector<std::int32_t> ids;
  bool after_special = true;  // the start counts as one
  std::size_t plain = 0;
  const auto flush = [&](std::size_t end) {
    if (end > plain) {
      impl_->encode_plain(text.substr(plain, end - plain), after_special, ids);
      after_special = false;
    }
  };
  for (std::size_t at = 0; at < text.size();) {
    const std::int32_t special = impl_->special_at(text.substr(at), parse_special);
    if (special < 0) {
      ++at;
      continue;
    }
    flush(at);
    ids.push_back(special);
    after_special = true;
    at += impl_->table.text(special).size();
    plain = at;
  }
  flush(text.size());
  if (impl_->adds_bos && (ids.empty() || ids.front() != impl_->bos)) {
    ids.insert(ids.begin(), impl_->bos);
  }
  return ids;
}

std::string Tokenizer::decode(std::span<const std::int32_t> ids) const {
  std::string out;
  for (const std::int32_t id : ids) {
    impl_->check(id);
    const TokenType type = impl_->table.type(id);
    if (type == TokenType::kControl || type == TokenType::kUnknown) continue;
    out += impl_->table.text(id);
  }
  return out;
}

std::string_view Tokenizer::piece(std::int32_t id) const {
  impl_->check(id);
  return impl_->table.text(id);
}

bool Tokenizer::is_control(std::int32_t id) const {
  impl_->check(id);
  return impl_->table.type(id) == TokenType::kControl;
}

bool Tokenizer::is_end(std::int32_t id) const {
  return std::find(impl_->ends.begin(), impl_->ends.end(), id) != impl_->ends.end();
}

std::int32_t Tokenizer::bos() const { return impl_->bos; }
std::int32_t Tokenizer::eos() const { return impl_->eos; }
bool Tokenizer::adds_bos() const { return impl_->adds_bos; }
std::int32_t Tokenizer::vocab_size() const { return impl_->table.size(); }

std::string Tokenizer::apply_chat_template(std::span<const ChatMessage> messages) const {
  const auto text = [this](std::int32_t id) {
    return id < 0 ? std::string() : std::string(impl_->table.text(id));
  };
  return render_chat(impl_->chat_template, {text(impl_->bos), text(impl_->eos)}, messages);
}

Bytes Tokenizer::memory_bytes() const {
  Bytes sum = impl_->table.memory_bytes();
  if (impl_->bpe) sum += impl_->bpe->memory_bytes();
  if (impl_->sentencepiece) sum += impl_->sentencepiece->memory_bytes();
  const std::size_t ids = impl_->specials.capacity() + impl_->ends.capacity();
  sum.n += static_cast<std::int64_t>(ids * sizeof(std::int32_t) + sizeof impl_->starts_special +
                                     impl_->chat_template.capacity());
  return sum;
}

}  // namespace vramplan
