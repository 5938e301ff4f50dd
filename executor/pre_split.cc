#define PCRE2_CODE_UNIT_WIDTH 8
#include "executor/pre_split.h"

#include <pcre2.h>

#include <array>

#include "executor/utf8_stream.h"
#include "modelcards/error.h"

namespace vramplan {

namespace {

// The patterns as published in the tokenizer.json of each model (Hugging Face hub), in PCRE2's
// syntax. The last `\s+` matters only for a run before a word, where the look-ahead gives one back.
constexpr const char* kGpt2 =
    R"('s|'t|'re|'ve|'m|'ll|'d| ?\p{L}+| ?\p{N}+| ?[^\s\p{L}\p{N}]+|\s+(?!\S)|\s+)";
constexpr const char* kOneDigit = R"(\p{N})";
constexpr const char* kLlama3 =
    R"((?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}{1,3}|)"
    R"( ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+)";
constexpr const char* kQwen2 = R"((?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}|)"
                               R"( ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+)";
constexpr const char* kO200k =
    R"([^\r\n\p{L}\p{N}]?[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}]*[\p{Ll}\p{Lm}\p{Lo}\p{M}]+)"
    R"((?i:'s|'t|'re|'ve|'m|'ll|'d)?|)"
    R"([^\r\n\p{L}\p{N}]?[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}]+[\p{Ll}\p{Lm}\p{Lo}\p{M}]*)"
    R"((?i:'s|'t|'re|'ve|'m|'ll|'d)?|)"
    R"(\p{N}{1,3}| ?[^\s\p{L}\p{N}]+[\r\n/]*|\s*[\r\n]+|\s+(?!\S)|\s+)";
constexpr const char* kTekken =
    R"([^\r\n\p{L}\p{N}]?[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}]*[\p{Ll}\p{Lm}\p{Lo}\p{M}]+|)"
    R"([^\r\n\p{L}\p{N}]?[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}]+[\p{Ll}\p{Lm}\p{Lo}\p{M}]*|)"
    R"(\p{N}| ?[^\s\p{L}\p{N}]+[\r\n/]*|\s*[\r\n]+|\s+(?!\S)|\s+)";
constexpr const char* kPunctuation = R"([\p{P}$+<=>^~|]+)";
constexpr const char* kPunctuationTick = R"([\p{P}$+<=>^~|`]+)";
constexpr const char* kThreeDigits = R"([0-9][0-9][0-9])";
constexpr const char* kDeepSeek3Words =
    R"([!"#$%&'()*+,\-./:;<=>?@\[\\\]^_`{|}~][A-Za-z]+|[^\r\n\p{L}\p{P}\p{S}]?[\p{L}\p{M}]+|)"
    R"( ?[\p{P}\p{S}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+)";

enum Rule : unsigned { kNone = 0, kWholePieceFirst = 1, kAddsBos = 2 };

struct Known {
  const char* name;
  unsigned rules;
  std::array<const char*, 5> patterns;  // applied in turn; null = no more
};

constexpr Known kKnown[] = {
    {"default", kNone, {kPunctuation, kGpt2, R"(\p{N}+)", kThreeDigits}},
    {"gpt-2", kNone, {kGpt2}},
    {"phi-2", kNone, {kGpt2}},
    {"olmo", kNone, {kGpt2}},
    {"mpt", kNone, {kGpt2}},
    {"trillion", kNone, {kGpt2}},
    {"exaone4", kNone, {kGpt2}},
    {"granite-docling", kNone, {kGpt2}},
    {"smollm", kNone, {kOneDigit, kGpt2}},
    {"starcoder", kNone, {kOneDigit, kGpt2}},
    {"refact", kNone, {kOneDigit, kGpt2}},
    {"command-r", kNone, {kOneDigit, kGpt2}},
    {"codeshell", kNone, {kOneDigit, kGpt2}},
    {"exaone", kNone, {kOneDigit, kGpt2}},
    {"minerva-7b", kNone, {kOneDigit, kGpt2}},
    {"llama-bpe", kWholePieceFirst | kAddsBos, {kLlama3}},
    {"llama3", kWholePieceFirst | kAddsBos, {kLlama3}},
    {"llama-v3", kWholePieceFirst | kAddsBos, {kLlama3}},
    {"falcon3", kWholePieceFirst | kAddsBos, {kLlama3}},
    {"pixtral", kWholePieceFirst | kAddsBos, {kLlama3}},
    {"dbrx", kNone, {kLlama3}},
    {"smaug-bpe", kNone, {kLlama3}},
    {"chatglm-bpe", kNone, {kLlama3}},
    {"glm4", kNone, {kLlama3}},
    {"qwen2", kNone, {kQwen2}},
    {"deepseek-r1-qwen", kNone, {kQwen2}},
    {"stablelm2", kNone, {kQwen2}},
    {"hunyuan", kNone, {kQwen2}},
    {"gpt-4o", kNone, {kO200k}},
    {"llama4", kNone, {kO200k}},
    {"tekken", kWholePieceFirst | kAddsBos, {kTekken}},
    {"falcon", kNone, {kPunctuationTick, kGpt2, kThreeDigits}},
    {"deepseek-coder",
     kNone,
     {R"([\r\n])", R"(\s?\p{L}+)", R"(\s?\p{P}+)",
      R"([\x{4e00}-\x{9fa5}\x{800}-\x{4e00}\x{ac00}-\x{d7ff}]+)", kOneDigit}},
    {"deepseek-v3",
     kNone,
     {R"(\p{N}{1,3})", R"([\x{4e00}-\x{9fa5}\x{3040}-\x{309f}\x{30a0}-\x{30ff}]+)",
      kDeepSeek3Words}},
};

/// `\s` as Unicode's White_Space, as the published tokenizers read it; PCRE2's own counts U+180E.
std::string with_unicode_spaces(const std::string& pattern) {
  std::string out;
  for (std::size_t i = 0; i < pattern.size(); ++i) {
    if (pattern[i] != '\\' || i + 1 == pattern.size()) {
      out += pattern[i];
      continue;
    }
    const char next = pattern[++i];
    if (next == 's') {
      out += R"(\p{White_Space})";
    } else if (next == 'S') {
      out += R"(\P{White_Space})";
    } else {
      out += {'\\', next};
    }
  }
  return out;
}

/// Length of the longest prefix that is valid UTF-8, or of the bytes that are not, never 0.
std::size_t run_length(std::string_view text, bool& valid) {
  std::size_t at = 0;
  valid = utf8_length(text) > 0;
  while (at < text.size()) {
    const int length = utf8_length(text.substr(at));
    if ((length > 0) != valid) break;
    at += valid ? static_cast<std::size_t>(length) : 1;
  }
  return at;
}

}  // namespace

struct PreSplit::Pattern {
  pcre2_code* code = nullptr;

  explicit Pattern(const std::string& published) {
    const std::string text = with_unicode_spaces(published);
    int error = 0;
    PCRE2_SIZE offset = 0;
    code = pcre2_compile(reinterpret_cast<PCRE2_SPTR>(text.data()), text.size(),
                         PCRE2_UTF | PCRE2_UCP, &error, &offset, nullptr);
    VRAMPLAN_CHECK(code != nullptr);
    // Without a just-in-time compiler pcre2_match interprets: slower, the same pieces.
    pcre2_jit_compile(code, PCRE2_JIT_COMPLETE);
  }
  ~Pattern() { pcre2_code_free(code); }
  Pattern(const Pattern&) = delete;
  Pattern& operator=(const Pattern&) = delete;

  /// Appends matches and the stretches between them. `text` is valid UTF-8.
  void cut(std::string_view text, pcre2_match_data* data,
           std::vector<std::string_view>& out) const {
    const auto* subject = reinterpret_cast<PCRE2_SPTR>(text.data());
    std::size_t done = 0, from = 0;
    while (from < text.size()) {
      std::uint32_t options = PCRE2_NO_UTF_CHECK | PCRE2_NOTEMPTY;
      int found = pcre2_match(code, subject, text.size(), from, options, data, nullptr);
      if (found == PCRE2_ERROR_JIT_STACKLIMIT) {
        options |= PCRE2_NO_JIT;
        found = pcre2_match(code, subject, text.size(), from, options, data, nullptr);
      }
      if (found == PCRE2_ERROR_NOMATCH) break;
      if (found < 0) {
        throw Error(ErrorCode::kUnsupported, "the text needs too much backtracking to be split")
            .help("shorten the text");
      }
      const PCRE2_SIZE* range = pcre2_get_ovector_pointer(data);
      if (range[0] > done) out.push_back(text.substr(done, range[0] - done));
      out.push_back(text.substr(range[0], range[1] - range[0]));
      done = from = range[1];
    }
    if (done < text.size()) out.push_back(text.substr(done));
  }
};

PreSplit::PreSplit(const std::string& name) {
  for (const Known& known : kKnown) {
    if (name != known.name) continue;
    whole_piece_first_ = (known.rules & kWholePieceFirst) != 0;
    adds_bos_ = (known.rules & kAddsBos) != 0;
    for (const char* pattern : known.patterns) {
      if (pattern != nullptr) patterns_.push_back(std::make_unique<Pattern>(pattern));
    }
    return;
  }
  std::string list;
  for (const std::string& each : names()) list += (list.empty() ? "" : " ") + each;
  throw Error(ErrorCode::kUnsupported, "pre-split \"" + printable(name) + "\" is not known")
      .at({}, "tokenizer.ggml.pre")
      .help("known: " + list);
}

PreSplit::~PreSplit() = default;

std::vector<std::string> PreSplit::names() {
  std::vector<std::string> out;
  for (const Known& known : kKnown) out.emplace_back(known.name);
  return out;
}

std::vector<std::string_view> PreSplit::split(std::string_view text) const {
  // Match data belongs to the call, so that one PreSplit serves many threads.
  struct MatchData {
    pcre2_match_data* data = pcre2_match_data_create(1, nullptr);
    ~MatchData() { pcre2_match_data_free(data); }
  } match;
  VRAMPLAN_CHECK(match.data != nullptr);
  std::vector<std::string_view> out, valid, cut;
  while (!text.empty()) {
    bool is_valid = false;
    const std::size_t length = run_length(text, is_valid);
    valid.assign(1, text.substr(0, length));
    for (std::size_t i = 0; is_valid && i < patterns_.size(); ++i) {
      cut.clear();
      for (const std::string_view piece : valid) patterns_[i]->cut(piece, match.data, cut);
      valid.swap(cut);
    }
    out.insert(out.end(), valid.begin(), valid.end());
    text.remove_prefix(length);
  }
  return out;
}

}  // namespace vramplan
