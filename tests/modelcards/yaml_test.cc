#include "modelcards/yaml.h"

#include <gtest/gtest.h>

#include <functional>
#include <random>

#include "modelcards/error.h"

namespace vramplan {
namespace {

Error error_of(const std::function<void()>& action) {
  try {
    action();
  } catch (const Error& error) {
    return error;
  }
  ADD_FAILURE() << "no error";
  return {ErrorCode::kInternal, "none"};
}

std::string repeated(const std::string& text, int times) {
  std::string out;
  for (int i = 0; i < times; ++i) out += text;
  return out;
}

struct Hostile {
  const char* name;
  std::string text;
};

std::vector<Hostile> hostile_texts() {
  std::string bomb = "a0: &a0 [x, x, x, x, x, x, x, x, x]\n";
  for (int i = 1; i < 30; ++i) {
    const std::string before = "*a" + std::to_string(i - 1), name = "a" + std::to_string(i);
    bomb += name + ": &" + name + " [" + before + repeated(", " + before, 8) + "]\n";
  }
  return {
      {"empty", ""},
      {"only_comment", "# nothing\n"},
      {"alias_bomb", bomb},
      {"self_alias", "&a [*a]"},
      {"anchor_alone", "a: &x 1"},
      {"unknown_alias", "a: *nowhere"},
      {"alias_as_key", "*k : 1"},
      {"anchor_on_map", "a: &m {b: 1}"},
      {"merge_key_alias", "a: &m {b: 1}\nc:\n  <<: *m"},
      {"tag", "a: !!int 3"},
      {"local_tag", "a: !thing {b: 1}"},
      {"tag_on_list", "a: !!set [1, 2]"},
      {"duplicate_key", "a: 1\nb: 2\na: 3"},
      {"duplicate_key_nested", "m: {x: 1, x: 2}"},
      {"duplicate_key_quoted", "a: 1\n\"a\": 2"},
      {"map_as_key", "{a: 1}: 2"},
      {"list_as_key", "? [1, 2]\n: 3"},
      {"null_as_key", "~: 3"},
      {"two_documents", "a: 1\n---\nb: 2"},
      {"deep_lists", repeated("[", 33) + repeated("]", 33)},
      {"deep_maps", repeated("{a: ", 40) + "1" + repeated("}", 40)},
      {"very_deep_lists", repeated("[", 500'000)},
      {"very_deep_maps", repeated("{a: ", 250'000)},
      {"very_deep_dashes", repeated("- ", 500'000)},
      {"very_deep_questions", repeated("? ", 500'000)},
      {"too_many_values", "[" + repeated("1,", 100'001) + "1]"},
      {"too_large", "a: " + std::string((1U << 20U) + 1, 'x')},
      {"unclosed_list", "a: [1, 2"},
      {"unclosed_map", "a: {b: 1"},
      {"unclosed_quote", "a: \"text"},
      {"bad_escape", "a: \"\\q\""},
      {"tab_indent", "a:\n\tb: 1"},
      {"bad_indent", "a:\n    b: 1\n  c: 2"},
      {"nul_byte", std::string("a: 1\0", 5)},
      {"escape_byte", "a: \x1b[31m"},
      {"utf16", std::string("\xff\xfe"
                            "a\0:\0",
                            6)},
      {"overlong_utf8", "a: \xc0\xaf"},
      {"surrogate_utf8", "a: \xed\xa0\x80"},
      {"cut_utf8", "a: \xe2\x82"},
  };
}

TEST(Yaml, HostileTextsGiveOneTypedErrorNamingTheFile) {
  const std::vector<Hostile> texts = hostile_texts();
  ASSERT_GE(texts.size(), 20U);
  for (const Hostile& hostile : texts) {
    SCOPED_TRACE(hostile.name);
    const Error error = error_of([&] { YamlNode::parse(hostile.text, "evil.yaml"); });
    EXPECT_EQ(error.code(), ErrorCode::kBadYaml);
    EXPECT_EQ(error.file().rfind("evil.yaml", 0), 0U) << error.what();
    EXPECT_LT(std::string(error.what()).size(), 1000U);
  }
}

TEST(Yaml, TheLimitsThemselvesAreAllowed) {
  EXPECT_EQ(YamlNode::parse(repeated("[", 32) + repeated("]", 32), "f").size(), 1U);
  EXPECT_EQ(YamlNode::parse("[" + repeated("1,", 99'998) + "1]", "f").size(), 99'999U);
  EXPECT_EQ(YamlNode::parse("a: " + std::string(1'000'000, 'x'), "f").at("a").text().size(),
            1'000'000U);
}

TEST(Yaml, ErrorsNameLineAndPath) {
  const YamlNode root = YamlNode::parse("a:\n  b:\n    - c: 1\n    - c: x\n", "plan.yaml");
  const Error error = error_of([&] { root.at("a").at("b").at(1).at("c").integer(0, 9); });
  EXPECT_EQ(error.file(), "plan.yaml:4");
  EXPECT_EQ(error.field(), "a.b[1].c");
  const Error duplicate =
      error_of([] { YamlNode::parse("m:\n  - {k: 1}\n  - {k: 1, k: 2}\n", "f"); });
  EXPECT_EQ(duplicate.file(), "f:3");
  EXPECT_EQ(duplicate.field(), "m[2].k");
  EXPECT_EQ(error_of([&] { root.at("a").at("x"); }).field(), "a");
  EXPECT_EQ(error_of([&] { root.at("a").at("b").at(7); }).code(), ErrorCode::kBadYaml);
}

TEST(Yaml, IntegersAreDecimalDigitsOnly) {
  const auto integer = [](const std::string& text) {
    return YamlNode::parse("v: " + text, "f")
        .at("v")
        .integer(-100, std::numeric_limits<std::int64_t>::max());
  };
  EXPECT_EQ(integer("0"), 0);
  EXPECT_EQ(integer("-7"), -7);
  EXPECT_EQ(integer("9223372036854775807"), std::numeric_limits<std::int64_t>::max());
  for (const char* bad : {"010",
                          "0x10",
                          "0o17",
                          "1_000",
                          "1,000",
                          "+1",
                          "1.0",
                          "4.8e12",
                          "1e3",
                          "nan",
                          ".inf",
                          "~",
                          "",
                          "\"12\"",
                          "'12'",
                          "9223372036854775808",
                          "99999999999999999999",
                          "-101",
                          "true",
                          "[1]",
                          "{a: 1}",
                          "1 2",
                          "--1",
                          "-",
                          "١٢"}) {
    SCOPED_TRACE(bad);
    EXPECT_EQ(error_of([&] { integer(bad); }).code(), ErrorCode::kBadYaml);
  }
}

TEST(Yaml, RealsAreFiniteJsonNumbers) {
  const auto real = [](const std::string& text) {
    return YamlNode::parse("v: " + text, "f").at("v").real(-1e300, 1e300);
  };
  EXPECT_EQ(real("4.8e12"), 4.8e12);
  EXPECT_EQ(real("1e-05"), 1e-5);
  EXPECT_EQ(real("3"), 3.0);
  EXPECT_EQ(real("0.10000000000000001"), 0.1);
  for (const char* bad : {"nan", ".nan", "inf", ".inf", "-.inf", "1e400", "1e-400", "2e300",
                          "010.5", ".5", "5.", "1e", "1e+", "0x1p3", "1_0.0", "\"0.5\"", "1.5GB"}) {
    SCOPED_TRACE(bad);
    EXPECT_EQ(error_of([&] { real(bad); }).code(), ErrorCode::kBadYaml);
  }
}

TEST(Yaml, BooleansAreTrueAndFalse) {
  const YamlNode root =
      YamlNode::parse("{t: true, f: false, y: yes, n: 'true', o: 1, c: True}", "f");
  EXPECT_TRUE(root.at("t").boolean());
  EXPECT_FALSE(root.at("f").boolean());
  for (const char* bad : {"y", "n", "o", "c"}) {
    EXPECT_EQ(error_of([&] { root.at(bad).boolean(); }).code(), ErrorCode::kBadYaml) << bad;
  }
}

TEST(Yaml, AKeyWithoutAValueIsNotItsDefault) {
  const YamlNode root = YamlNode::parse("a:\nb: 1\n", "f");
  EXPECT_EQ(root.integer_or("c", 5, 0, 9), 5);
  EXPECT_EQ(error_of([&] { root.integer_or("a", 5, 0, 9); }).code(), ErrorCode::kBadYaml);
  EXPECT_EQ(error_of([&] { root.text_or("a", "x"); }).code(), ErrorCode::kBadYaml);
}

TEST(Yaml, UnknownKeysAreNamedWithTheNearest) {
  const YamlNode root = YamlNode::parse("vocab: 1\nhiden: 2\n", "f");
  const Error error = error_of([&] { root.allow_only({"vocab", "hidden"}); });
  EXPECT_EQ(error.field(), "hiden");
  EXPECT_NE(error.fix().find("hidden"), std::string::npos);
}

TEST(Yaml, TextOfTheWrongShapeIsAnError) {
  const YamlNode root = YamlNode::parse("l: [1]\nm: {a: 1}\ns: x\n", "f");
  for (const std::function<void()>& wrong : std::vector<std::function<void()>>{
           [&] { root.at("l").text(); }, [&] { root.at("m").text(); },
           [&] { root.at("s").at("a"); }, [&] { root.at("s").at(0); }, [&] { root.at("l").keys(); },
           [&] { root.at("s").size(); }, [&] { root.at("l").has("a"); }}) {
    EXPECT_EQ(error_of(wrong).code(), ErrorCode::kBadYaml);
  }
}

TEST(Yaml, QuotedTextReadsBack) {
  std::mt19937 random(7);
  std::vector<std::string> texts{"",    "true", "null",    "~",     "1e5",   "010", "a: b",
                                 "#x",  "- x",  "é\u20ac", "a\\b",  "\"q\"", "no",  "inf",
                                 "x y", "q4_1", "tab\tx",  "nl\nx", "*a",    "&a"};
  for (int i = 0; i < 300; ++i) {
    std::string text;
    for (auto n = random() % 12; n > 0; --n) text += static_cast<char>(0x20 + random() % 0x5F);
    texts.push_back(text);
  }
  for (const std::string& text : texts) {
    EXPECT_EQ(YamlNode::parse("v: " + yaml_quoted(text), "f").at("v").text(), text);
    EXPECT_EQ(YamlNode::parse("{v: " + yaml_quoted(text) + ", w: 1}", "f").at("v").text(), text);
  }
  EXPECT_EQ(yaml_quoted("q4_1"), "q4_1");
  EXPECT_EQ(yaml_quoted("true"), "\"true\"");
}

TEST(Yaml, RandomBytesNeverEscapeAsAnotherException) {
  std::mt19937 random(11);
  const std::string alphabet = "abc:[]{},-? \n\t&*!|>'\"%@`#0123456789.eE\\";
  for (int i = 0; i < 3000; ++i) {
    std::string text;
    for (auto n = random() % 60; n > 0; --n) text += alphabet[random() % alphabet.size()];
    try {
      YamlNode::parse(text, "fuzz");
    } catch (const Error& error) {
      EXPECT_EQ(error.code(), ErrorCode::kBadYaml) << text;
    }
  }
}

}  // namespace
}  // namespace vramplan
