#include "executor/tokenizer.h"

#include <gtest/gtest.h>
#include <rapidcheck/gtest.h>

#include "modelcards/error.h"
#include "tests/reference/fixture.h"

namespace vramplan {
namespace {

/// A tokenizer from a fixture's vocabulary; keeps the strings while building.
struct Tiny {
  std::vector<std::string> tokens, merges;
  Vocabulary tables;

  Tiny(const nlohmann::json& json, const std::string& pre)
      : tokens(json.at("tokens").get<std::vector<std::string>>()),
        merges(json.value("merges", std::vector<std::string>())) {
    tables.file = "tiny.gguf";
    tables.model = json.at("model").get<std::string>();
    tables.pre = pre;
    tables.tokens = tokens;
    tables.merges = merges;
    tables.types = json.at("types").get<std::vector<std::int64_t>>();
    tables.scores = json.value("scores", std::vector<double>());
    tables.bos = json.value("bos", -1);
    tables.eos = json.value("eos", -1);
    tables.unknown = json.value("unknown", -1);
    tables.add_bos = 0;
  }
  Tiny(const Tiny&) = delete;
};

const nlohmann::json& fixture() {
  static const nlohmann::json json = reference::read_json("tokenizer_tiny.json");
  return json;
}

void expect_reference_ids(const nlohmann::json& vocabulary) {
  for (const auto& [pre, cases] : vocabulary.at("cases").items()) {
    const Tiny tiny(vocabulary, pre);
    const auto tokenizer = Tokenizer::from_tables(tiny.tables);
    EXPECT_GT(cases.size(), 190u);
    for (const auto& one : cases) {
      const auto text =
          fixture().at("texts").at(one.at("text").get<std::size_t>()).get<std::string>();
      SCOPED_TRACE(pre + ": " + nlohmann::json(text).dump());
      const auto ids = one.at("ids").get<std::vector<std::int32_t>>();
      EXPECT_EQ(tokenizer->encode(text, true), ids);
      EXPECT_EQ(tokenizer->encode(text, false),
                one.value("plain_ids", nlohmann::json(ids)).get<std::vector<std::int32_t>>());
    }
  }
}

ErrorCode refusal(const Vocabulary& tables, std::string* words = nullptr) {
  try {
    Tokenizer::from_tables(tables);
  } catch (const Error& error) {
    if (words != nullptr) *words = error.what();
    return error.code();
  }
  return ErrorCode::kInternal;
}

TEST(Tokenizer, ByteLevelIdsAreLlamaCppsForEachPreSplit) {
  expect_reference_ids(fixture().at("bpe"));
}

TEST(Tokenizer, SentencePieceIdsAreLlamaCpps) {
  expect_reference_ids(fixture().at("sentencepiece"));
}

RC_GTEST_PROP(Tokenizer, DecodeOfEncodeIsTheTextForAnyBytes, (const std::string& text)) {
  static const Tiny tiny(fixture().at("bpe"), "llama-bpe");
  static const auto tokenizer = Tokenizer::from_tables(tiny.tables);
  RC_ASSERT(tokenizer->decode(tokenizer->encode(text, false)) == text);
}

RC_GTEST_PROP(Tokenizer, SentencePieceGivesAnyBytesBackAfterItsSpace, (const std::string& text)) {
  static const Tiny tiny(fixture().at("sentencepiece"), "");
  static const auto tokenizer = Tokenizer::from_tables(tiny.tables);
  const std::string back = tokenizer->decode(tokenizer->encode(text, false));
  RC_ASSERT(back == (text.empty() ? "" : " ") + text);
}

TEST(Tokenizer, TheBeginningTokenComesOnceWhenTheRuleSaysSo) {
  Tiny tiny(fixture().at("bpe"), "llama-bpe");
  tiny.tables.add_bos = -1;  // the file does not say: Llama 3's rule is yes, SmolLM's no
  const auto llama = Tokenizer::from_tables(tiny.tables);
  EXPECT_TRUE(llama->adds_bos());
  EXPECT_EQ(llama->encode("", false), std::vector<std::int32_t>{llama->bos()});
  EXPECT_EQ(llama->encode("<s>a", true), llama->encode("a", true));
  EXPECT_EQ(llama->encode("a", true).front(), llama->bos());
  tiny.tables.pre = "smollm";
  EXPECT_FALSE(Tokenizer::from_tables(tiny.tables)->adds_bos());
  tiny.tables.add_bos = 1;
  EXPECT_TRUE(Tokenizer::from_tables(tiny.tables)->adds_bos());
}

TEST(Tokenizer, ControlTokensAreNothingWhenDecodedAndNamedAsAPiece) {
  const Tiny tiny(fixture().at("bpe"), "gpt-2");
  const auto tokenizer = Tokenizer::from_tables(tiny.tables);
  const auto ids = tokenizer->encode("a<|turn|>b<tool>", true);
  EXPECT_EQ(tokenizer->decode(ids), "ab<tool>");
  EXPECT_EQ(tokenizer->piece(tokenizer->bos()), "<s>");
  EXPECT_TRUE(tokenizer->is_control(tokenizer->bos()));
  EXPECT_TRUE(tokenizer->is_end(tokenizer->eos()));
  EXPECT_FALSE(tokenizer->is_end(tokenizer->bos()));
  EXPECT_FALSE(tokenizer->is_end(-1));
  EXPECT_THROW(tokenizer->piece(tokenizer->vocab_size()), Error);
  EXPECT_THROW(tokenizer->piece(-1), Error);
}

TEST(Tokenizer, OfTwoSpecialTokensTheLongerIsTaken) {
  const Tiny tiny(fixture().at("bpe"), "gpt-2");
  const auto tokenizer = Tokenizer::from_tables(tiny.tables);
  const auto ids = tokenizer->encode("<tool_call>", true);
  ASSERT_EQ(ids.size(), 1u);
  EXPECT_EQ(tokenizer->piece(ids[0]), "<tool_call>");
}

TEST(Tokenizer, MemoryIsWhatTheHeaderSays) {
  for (const char* kind : {"bpe", "sentencepiece"}) {
    Tiny tiny(fixture().at(kind), kind == std::string("bpe") ? "gpt-2" : "");
    tiny.tables.chat_template = std::string(1000, 'x');
    const auto tokenizer = Tokenizer::from_tables(tiny.tables);
    const auto V = static_cast<std::int64_t>(tiny.tokens.size());
    const auto M = static_cast<std::int64_t>(tiny.merges.size());
    std::int64_t T = 0, S = 0;
    for (std::int32_t id = 0; id < V; ++id) {
      T += static_cast<std::int64_t>(tokenizer->piece(id).size());
      const std::int64_t type = tiny.tables.types[static_cast<std::size_t>(id)];
      S += type == 2 || type == 3 || type == 4 ? 1 : 0;
    }
    const std::int64_t E = 1, C = 1000;
    const std::int64_t merges_or_scores = M > 0 ? 16 * (M + M / 2 + 1) : 4 * V;
    EXPECT_EQ(tokenizer->memory_bytes().n,
              T + 5 * V + 4 + 4 * (V + V / 2 + 1) + merges_or_scores + 4 * (S + E) + C + 1280)
        << kind;
  }
}

TEST(Tokenizer, WhatIsNotSupportedIsRefusedByName) {
  Tiny tiny(fixture().at("bpe"), "gpt-2");
  std::string words;
  tiny.tables.model = "bert";
  EXPECT_EQ(refusal(tiny.tables, &words), ErrorCode::kUnsupported);
  EXPECT_NE(words.find("\"bert\""), std::string::npos) << words;
  tiny.tables.model = "gpt2";
  tiny.tables.pre = "unheard-of";
  EXPECT_EQ(refusal(tiny.tables, &words), ErrorCode::kUnsupported);
  EXPECT_NE(words.find("unheard-of"), std::string::npos) << words;
  EXPECT_NE(words.find("tiny.gguf"), std::string::npos) << words;
}

TEST(Tokenizer, BrokenTablesAreNamed) {
  const auto broken = [](const char* kind, auto&& change) {
    Tiny tiny(fixture().at(kind), kind == std::string("bpe") ? "gpt-2" : "");
    change(tiny);
    return refusal(tiny.tables);
  };
  const auto bad = ErrorCode::kBadGguf;
  EXPECT_EQ(broken("bpe", [](Tiny& t) { t.tables.types.pop_back(); }), bad);
  EXPECT_EQ(broken("bpe", [](Tiny& t) { t.tables.types[3] = 7; }), bad);
  EXPECT_EQ(broken("bpe", [](Tiny& t) { t.tables.types[3] = -1; }), bad);
  EXPECT_EQ(broken("bpe", [](Tiny& t) { t.tables.tokens = {}; }), bad);
  EXPECT_EQ(broken("bpe", [](Tiny& t) { t.tables.eos = 1'000'000; }), bad);
  EXPECT_EQ(broken("bpe", [](Tiny& t) { t.merges[5] = "none of_these"; }), bad);
  EXPECT_EQ(broken("sentencepiece", [](Tiny& t) { t.tables.scores.pop_back(); }), bad);
  EXPECT_EQ(broken("sentencepiece", [](Tiny& t) { t.tokens[10] = "<0xZZ>"; }), bad);
}

}  // namespace
}  // namespace vramplan
