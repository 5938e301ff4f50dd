#include "executor/bpe.h"

#include <gtest/gtest.h>
#include <rapidcheck/gtest.h>

#include <limits>

#include "modelcards/error.h"

namespace vramplan {
namespace {

struct Vocabulary {
  TokenTable table;
  std::vector<std::string> merges;

  void add(const std::string& text) { table.add(text, TokenType::kNormal); }
};

/// The 256 bytes, then the results of merges over a, b, c and the space.
Vocabulary small() {
  Vocabulary v;
  v.table.reserve(300, 1000);
  for (int byte = 0; byte < 256; ++byte) v.add(std::string(1, static_cast<char>(byte)));
  const std::pair<const char*, const char*> merges[] = {{"a", "b"},  {"ab", "ab"}, {"b", "c"},
                                                        {"a", "a"},  {"aa", "aa"}, {" ", "ab"},
                                                        {"ab", "c"}, {"aa", "b"},  {" ", "a"}};
  for (const auto& [left, right] : merges) {
    std::string text;
    for (const char c : std::string(left)) text += alphabet_of(static_cast<std::uint8_t>(c));
    text += ' ';
    for (const char c : std::string(right)) text += alphabet_of(static_cast<std::uint8_t>(c));
    v.merges.push_back(text);
    v.add(std::string(left) + right);
  }
  v.table.finish();
  return v;
}

/// The definition, word by word: merge the best pair anywhere, the leftmost first, until none is
/// left.
std::vector<std::int32_t> by_definition(const Vocabulary& v, const std::string& piece) {
  std::vector<std::string> parts;
  for (const char c : piece) parts.emplace_back(1, c);
  const auto spelled = [](const std::string& bytes) {
    std::string out;
    for (const char c : bytes) out += alphabet_of(static_cast<std::uint8_t>(c));
    return out;
  };
  for (;;) {
    std::size_t best = v.merges.size(), where = 0;
    for (std::size_t i = 0; i + 1 < parts.size(); ++i) {
      const std::string pair = spelled(parts[i]) + ' ' + spelled(parts[i + 1]);
      for (std::size_t rank = 0; rank < best; ++rank) {
        if (v.merges[rank] == pair) best = rank, where = i;
      }
    }
    if (best == v.merges.size()) break;
    parts[where] += parts[where + 1];
    parts.erase(parts.begin() + static_cast<std::ptrdiff_t>(where) + 1);
  }
  std::vector<std::int32_t> ids;
  for (const std::string& part : parts) ids.push_back(v.table.find(part));
  return ids;
}

TEST(Bpe, AByteBecomesACharacterThatPrintsAndComesBack) {
  EXPECT_EQ(alphabet_of(' '), "\xC4\xA0");   // U+0120
  EXPECT_EQ(alphabet_of('\n'), "\xC4\x8A");  // U+010A
  EXPECT_EQ(alphabet_of('a'), "a");
  EXPECT_EQ(alphabet_of(0xAD), "\xC5\x83");  // U+0143, the last
  std::string all, bytes;
  for (int byte = 0; byte < 256; ++byte) all += alphabet_of(static_cast<std::uint8_t>(byte));
  ASSERT_TRUE(bytes_from_alphabet(all, bytes));
  ASSERT_EQ(bytes.size(), 256u);
  for (int byte = 0; byte < 256; ++byte) {
    EXPECT_EQ(static_cast<std::uint8_t>(bytes[static_cast<std::size_t>(byte)]), byte);
  }
  EXPECT_FALSE(bytes_from_alphabet("a b", bytes));           // a real space
  EXPECT_FALSE(bytes_from_alphabet("\xE2\x96\x81", bytes));  // U+2581
  EXPECT_FALSE(bytes_from_alphabet("\xC4", bytes));          // cut off
  EXPECT_FALSE(bytes_from_alphabet("\xC5\x84", bytes));      // U+0144, one too far
}

TEST(Bpe, TheBestMergeGoesFirstThenTheLeftmost) {
  const Vocabulary v = small();
  const Bpe bpe(v.table, v.merges);
  std::vector<std::int32_t> ids;
  bpe.encode("abc", ids);  // "a b" is better than "b c": ab, then abc
  EXPECT_EQ(ids, std::vector<std::int32_t>{v.table.find("abc")});
  ids.clear();
  bpe.encode("aaa", ids);  // leftmost pair
  EXPECT_EQ(ids, (std::vector<std::int32_t>{v.table.find("aa"), 'a'}));
  ids.clear();
  bpe.encode("", ids);
  EXPECT_TRUE(ids.empty());
}

RC_GTEST_PROP(Bpe, EqualsTheDefinition, ()) {
  static const Vocabulary v = small();
  static const Bpe bpe(v.table, v.merges);
  const auto piece = *rc::gen::container<std::string>(rc::gen::element('a', 'a', 'b', 'c', ' '));
  std::vector<std::int32_t> ids;
  bpe.encode(piece, ids);
  RC_ASSERT(ids == by_definition(v, piece));
}

TEST(Bpe, ALongPieceIsNotQuadratic) {
  const Vocabulary v = small();
  const Bpe bpe(v.table, v.merges);
  std::vector<std::int32_t> ids;
  bpe.encode(std::string(200'000, 'a'), ids);
  EXPECT_EQ(ids.size(), 50'000u);  // "aaaa" each
}

TEST(Bpe, ABrokenMergeIsNamed) {
  Vocabulary v = small();
  const std::pair<const char*, const char*> broken[] = {{"ab", "two parts"},
                                                        {"", "two parts"},
                                                        {"a ", "two parts"},
                                                        {" b", "two parts"},
                                                        {"a \xE2\x96\x81", "alphabet"},
                                                        {"c c", "no token"},
                                                        {"zz z", "no token"}};
  for (const auto& [merge, words] : broken) {
    std::vector<std::string> merges = {v.merges[0], merge};
    try {
      Bpe bpe(v.table, merges);
      FAIL() << "accepted \"" << merge << '"';
    } catch (const Error& error) {
      EXPECT_EQ(error.code(), ErrorCode::kBadGguf);
      EXPECT_NE(error.message().find("merge 1"), std::string::npos) << error.what();
      EXPECT_NE(error.message().find(words), std::string::npos) << error.what();
    }
  }
}

TEST(Bpe, AByteWithoutATokenIsLeftOut) {
  Vocabulary v;
  v.table.reserve(2, 2);
  v.add("a");
  v.add("b");
  v.table.finish();
  const Bpe bpe(v.table, {});
  std::vector<std::int32_t> ids;
  bpe.encode("axb", ids);
  EXPECT_EQ(ids, (std::vector<std::int32_t>{0, 1}));
}

}  // namespace
}  // namespace vramplan
