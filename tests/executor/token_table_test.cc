#include "executor/token_table.h"

#include <gtest/gtest.h>
#include <rapidcheck/gtest.h>

#include <map>

namespace vramplan {
namespace {

TokenTable table_of(const std::vector<std::pair<std::string, TokenType>>& tokens) {
  TokenTable table;
  std::size_t bytes = 0;
  for (const auto& [text, type] : tokens) bytes += text.size();
  table.reserve(tokens.size(), bytes);
  for (const auto& [text, type] : tokens) table.add(text, type);
  table.finish();
  return table;
}

TEST(TokenTable, OfEqualTextsANormalTokenIsFoundThenTheFirst) {
  const TokenTable table = table_of({{"x", TokenType::kControl},
                                     {"y", TokenType::kByte},
                                     {"x", TokenType::kNormal},
                                     {"x", TokenType::kNormal},
                                     {"y", TokenType::kUserDefined},
                                     {"", TokenType::kUnused}});
  EXPECT_EQ(table.find("x"), 2);
  EXPECT_EQ(table.find("y"), 1);
  EXPECT_EQ(table.find(""), 5);
  EXPECT_EQ(table.find("z"), -1);
  EXPECT_EQ(table.text(4), "y");
  EXPECT_EQ(table.type(4), TokenType::kUserDefined);
  EXPECT_TRUE(table.contains(5));
  EXPECT_FALSE(table.contains(6));
  EXPECT_FALSE(table.contains(-1));
}

RC_GTEST_PROP(TokenTable, FindsWhatAMapFinds,
              (const std::vector<std::string>& texts, const std::vector<std::string>& others)) {
  std::vector<std::pair<std::string, TokenType>> tokens;
  std::map<std::string, std::int32_t> expected;
  for (const std::string& text : texts) {
    expected.emplace(text, static_cast<std::int32_t>(tokens.size()));
    tokens.emplace_back(text, TokenType::kNormal);
  }
  const TokenTable table = table_of(tokens);
  for (const auto& [text, id] : expected) RC_ASSERT(table.find(text) == id);
  for (const std::string& text : others) {
    const auto known = expected.find(text);
    RC_ASSERT(table.find(text) == (known == expected.end() ? -1 : known->second));
  }
  const auto V = static_cast<std::int64_t>(texts.size());
  RC_ASSERT(table.memory_bytes().n >= 5 * V + 4 + 4 * (V + V / 2 + 1));
}

}  // namespace
}  // namespace vramplan
