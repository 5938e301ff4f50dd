#include "executor/pre_split.h"

#include <gtest/gtest.h>
#include <rapidcheck/gtest.h>

#include <set>

#include "modelcards/error.h"
#include "tests/reference/fixture.h"

namespace vramplan {
namespace {

std::string joined(const std::vector<std::string_view>& pieces) {
  std::string out;
  for (const std::string_view piece : pieces) out += piece;
  return out;
}

TEST(PreSplit, EveryPublishedPatternCutsWhereTheReferenceCuts) {
  const auto fixture = reference::read_json("pre_split.json");
  const auto texts = fixture.at("texts").get<std::vector<std::string>>();
  ASSERT_GT(texts.size(), 190u);
  for (const auto& [name, expected] : fixture.at("piece_bytes").items()) {
    const PreSplit split(name);
    for (std::size_t i = 0; i < texts.size(); ++i) {
      std::vector<std::size_t> lengths;
      for (const std::string_view piece : split.split(texts[i])) lengths.push_back(piece.size());
      EXPECT_EQ(lengths, expected.at(i).get<std::vector<std::size_t>>())
          << name << ": " << nlohmann::json(texts[i]).dump();
    }
  }
}

TEST(PreSplit, SmolLmCutsDigitsOneByOneAndGpt2DoesNot) {
  const std::string text = "in 1234";
  EXPECT_EQ(PreSplit("smollm").split(text),
            (std::vector<std::string_view>{"in", " ", "1", "2", "3", "4"}));
  EXPECT_EQ(PreSplit("gpt-2").split(text), (std::vector<std::string_view>{"in", " 1234"}));
  EXPECT_EQ(PreSplit("llama-bpe").split(text),
            (std::vector<std::string_view>{"in", " ", "123", "4"}));
}

TEST(PreSplit, AnUnknownNameIsRefusedByName) {
  try {
    PreSplit split("bert-bge");
    FAIL() << "accepted";
  } catch (const Error& error) {
    EXPECT_EQ(error.code(), ErrorCode::kUnsupported);
    EXPECT_NE(std::string(error.what()).find("bert-bge"), std::string::npos);
    EXPECT_NE(error.fix().find("smollm"), std::string::npos);
  }
}

TEST(PreSplit, EachNameIsListedOnceAndCompiles) {
  const std::vector<std::string> names = PreSplit::names();
  EXPECT_EQ(std::set<std::string>(names.begin(), names.end()).size(), names.size());
  for (const std::string& name : names) EXPECT_EQ(PreSplit(name).split("a b").size(), 2u) << name;
}

TEST(PreSplit, LongRunsAreCutWithoutTrouble) {
  for (const char* name : {"smollm", "gpt-4o", "llama-bpe", "default", "deepseek-v3"}) {
    const PreSplit split(name);
    for (const std::string& unit :
         {std::string(" "), std::string("a"), std::string("A"), std::string("\n"), std::string("!"),
          std::string("\xE4\xB8\x80")}) {
      std::string text;
      for (int i = 0; i < 100'000; ++i) text += unit;
      EXPECT_EQ(joined(split.split(text)).size(), text.size()) << name;
    }
  }
}

RC_GTEST_PROP(PreSplit, PiecesOfAnyBytesAreNotEmptyAndJoinToTheText, (const std::string& text)) {
  static const PreSplit smollm("smollm"), fallback("default"), o200k("gpt-4o");
  for (const PreSplit* split : {&smollm, &fallback, &o200k}) {
    const auto pieces = split->split(text);
    RC_ASSERT(joined(pieces) == text);
    for (const std::string_view piece : pieces) RC_ASSERT(!piece.empty());
  }
}

}  // namespace
}  // namespace vramplan
