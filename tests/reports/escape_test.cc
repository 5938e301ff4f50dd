#include "reports/escape.h"

#include <gtest/gtest.h>

namespace vramplan {
namespace {

const std::string kHostile =
    "</script><img src=x onerror=alert(1)>\x1b[31m'\"&\xff\xc2\x9b"
    "2J\xe2\x80\xae";

TEST(Escape, NothingOfHtmlIsLeft) {
  const std::string html = html_text(kHostile);
  for (const char c : {'<', '>', '"', '\'', '\x1b'})
    EXPECT_EQ(html.find(c), std::string::npos) << c;
  EXPECT_EQ(html.find("\xc2\x9b"), std::string::npos) << "C1 controls drive terminals too";
  EXPECT_EQ(html.find("\xe2\x80\xae"), std::string::npos) << "right-to-left override";
  EXPECT_NE(html.find("&lt;/script&gt;"), std::string::npos);
}

TEST(Escape, AddressesCannotBeFoundButReadTheSame) {
  EXPECT_EQ(html_text("see https://a.b"), "see &#104;ttps://a.b");
  EXPECT_EQ(html_text("HTTP"), "&#72;TTP");
  EXPECT_EQ(script_json("{\"a\": \"http://x\"}"), "{\"a\": \"\\u0068ttp://x\"}");
}

TEST(Escape, ScriptJsonHoldsNoTagAndNoLineSeparator) {
  EXPECT_EQ(script_json("\"</script>\xE2\x80\xA8\xE2\x80\xA9&\""),
            "\"\\u003c/script\\u003e\\u2028\\u2029\\u0026\"");
}

TEST(Escape, XmlDropsWhatXmlForbids) {
  EXPECT_EQ(xml_text(std::string("a\0b\x01<", 5)),
            "a\xEF\xBF\xBD"
            "b\xEF\xBF\xBD&lt;");
  EXPECT_EQ(xml_text("\xef\xbf\xbe"), "\xEF\xBF\xBD") << "U+FFFE is no XML character";
}

TEST(Escape, MarkdownHasNoMarkup) {
  EXPECT_EQ(markdown_text("a|b`c`[d](e) @me <b>\n"),
            "a\\|b\\`c\\`\\[d\\](e) &#64;me &lt;b&gt;\xEF\xBF\xBD");
}

TEST(Escape, TerminalsGetNoEscapeCharacter) {
  EXPECT_EQ(terminal_text("a\x1b[31mb\r\n"), "a?[31mb??");
  EXPECT_EQ(terminal_text("M\xc3\xbcller", true), "M?ller");
  EXPECT_EQ(terminal_text("M\xc3\xbcller"), "M\xc3\xbcller");
}

TEST(Escape, OverlongAndTruncatedUtf8IsReplacedByteByByte) {
  EXPECT_EQ(clean_text("\xc0\xbc", "?"), "??") << "overlong '<'";
  EXPECT_EQ(clean_text("\xed\xa0\x80", "?"), "???") << "surrogate";
  EXPECT_EQ(clean_text("\xe2\x82", "?"), "??");
  EXPECT_EQ(clean_text("\xf4\x90\x80\x80", "?"), "????") << "beyond U+10FFFF";
}

TEST(Escape, LongTextIsCut) { EXPECT_EQ(clean_text(std::string(100'000, 'x')).size(), 2003u); }

TEST(Escape, DigitsAreGrouped) {
  EXPECT_EQ(grouped(0), "0");
  EXPECT_EQ(grouped(-1234567), "-1,234,567");
  EXPECT_EQ(grouped_signed(999), "+999");
  EXPECT_EQ(grouped_signed(0), "0");
}

}  // namespace
}  // namespace vramplan
