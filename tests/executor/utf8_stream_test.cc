#include "executor/utf8_stream.h"

#include <gtest/gtest.h>
#include <rapidcheck/gtest.h>

namespace vramplan {
namespace {

const std::string kReplaced = "\xEF\xBF\xBD";

TEST(Utf8Stream, HoldsBackHalfACharacter) {
  Utf8Stream stream;
  EXPECT_EQ(stream.push("a\xF0\x9F"), "a");
  EXPECT_EQ(stream.push("\x98"), "");
  EXPECT_EQ(stream.push("\x80"
                        "b"),
            "\xF0\x9F\x98\x80"
            "b");
  EXPECT_EQ(stream.finish(), "");
}

TEST(Utf8Stream, WhatCanNeverBeACharacterIsReplacedAtOnce) {
  Utf8Stream stream;
  EXPECT_EQ(stream.push("\xFF"
                        "a"),
            kReplaced + "a");
  EXPECT_EQ(stream.push("\xC3"
                        "a"),
            kReplaced + "a");  // a lead without its tail
  EXPECT_EQ(stream.push("\xED\xA0\x80"), kReplaced + kReplaced + kReplaced);  // a surrogate
  EXPECT_EQ(stream.push("\xC0\x80"), kReplaced + kReplaced);                  // overlong
  EXPECT_EQ(stream.push("\xE4\xB8"), "");
  EXPECT_EQ(stream.finish(), kReplaced);
  EXPECT_EQ(stream.finish(), "");
}

TEST(Utf8Stream, LengthsFollowTheUnicodeTable) {
  EXPECT_EQ(utf8_length(""), 0);
  EXPECT_EQ(utf8_length("a"), 1);
  EXPECT_EQ(utf8_length("\xC2\x80"), 2);
  EXPECT_EQ(utf8_length("\xE0\xA0\x80"), 3);
  EXPECT_EQ(utf8_length("\xE0\x9F\x80"), 0);
  EXPECT_EQ(utf8_length("\xF4\x8F\xBF\xBF"), 4);
  EXPECT_EQ(utf8_length("\xF4\x90\x80\x80"), 0);
  EXPECT_EQ(utf8_length("\xF4\x8F"), -1);
  EXPECT_EQ(utf8_length("\x80"), 0);
}

RC_GTEST_PROP(Utf8Stream, CuttingTheBytesAnywhereGivesTheSameText, (const std::string& bytes)) {
  Utf8Stream whole, pieces;
  std::string expected = whole.push(bytes), got;
  expected += whole.finish();
  for (const char c : bytes) got += pieces.push({&c, 1});
  got += pieces.finish();
  RC_ASSERT(got == expected);
}

}  // namespace
}  // namespace vramplan
