#include "executor/sentencepiece.h"

#include <gtest/gtest.h>
#include <rapidcheck/gtest.h>

#include "modelcards/error.h"

namespace vramplan {
namespace {

struct Vocabulary {
  TokenTable table;
  std::vector<double> scores;
};

/// Bytes 0..255, then pieces over a, b and the space; "c" exists only as a byte, "é" not at all.
const Vocabulary& small() {
  static const Vocabulary* vocabulary = [] {
    auto* v = new Vocabulary;
    const std::pair<const char*, double> pieces[] = {
        {"ab", -1},  {"abab", -2}, {"aa", -3}, {"ba", -4}, {" a", -5}, {" ab", -6},
        {"aab", -7}, {"bb", -1},   {"a", -20}, {"b", -21}, {" ", -22}};
    v->table.reserve(256 + std::size(pieces), 400);
    for (int byte = 0; byte < 256; ++byte) {
      v->table.add(std::string(1, static_cast<char>(byte)), TokenType::kByte);
      v->scores.push_back(0);
    }
    for (const auto& [text, score] : pieces) {
      v->table.add(text, TokenType::kNormal);
      v->scores.push_back(score);
    }
    v->table.finish();
    return v;
  }();
  return *vocabulary;
}

std::vector<std::int32_t> encode(std::string_view text) {
  static const SentencePiece model(small().table, small().scores);
  std::vector<std::int32_t> ids;
  model.encode(text, -1, ids);
  return ids;
}

/// The definition: join the adjacent pair whose token has the best score, the leftmost first.
std::vector<std::int32_t> by_definition(const std::string& text) {
  const Vocabulary& v = small();
  std::vector<std::string> parts;
  for (const char c : text) parts.emplace_back(1, c);
  for (;;) {
    std::size_t where = parts.size();
    double best = 0;
    for (std::size_t i = 0; i + 1 < parts.size(); ++i) {
      const std::int32_t id = v.table.find(parts[i] + parts[i + 1]);
      if (id < 0) continue;
      const double score = v.scores[static_cast<std::size_t>(id)];
      if (where == parts.size() || score > best) where = i, best = score;
    }
    if (where == parts.size()) break;
    parts[where] += parts[where + 1];
    parts.erase(parts.begin() + static_cast<std::ptrdiff_t>(where) + 1);
  }
  std::vector<std::int32_t> ids;
  for (const std::string& part : parts) ids.push_back(v.table.find(part));
  return ids;
}

RC_GTEST_PROP(SentencePiece, EqualsTheDefinition, ()) {
  const auto text = *rc::gen::container<std::string>(rc::gen::element('a', 'a', 'b', 'c', ' '));
  RC_ASSERT(encode(text) == by_definition(text));
}

TEST(SentencePiece, ACharacterThatIsNoTokenBecomesItsBytes) {
  EXPECT_EQ(encode("\xC3\xA9"), (std::vector<std::int32_t>{0xC3, 0xA9}));
  EXPECT_EQ(encode("\xFF"), std::vector<std::int32_t>{0xFF});
  EXPECT_EQ(encode(""), std::vector<std::int32_t>{});
}

TEST(SentencePiece, ALongTextIsNotQuadratic) {
  EXPECT_EQ(encode(std::string(200'000, 'b')).size(), 100'000u);  // "bb" each
}

TEST(SentencePiece, ScoresMustBeOneAToken) {
  EXPECT_THROW(SentencePiece(small().table, std::vector<double>(3)), Error);
}

}  // namespace
}  // namespace vramplan
