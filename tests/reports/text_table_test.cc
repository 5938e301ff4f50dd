#include "reports/text_table.h"

#include <gtest/gtest.h>

#include <sstream>

#include "reports/escape.h"

namespace vramplan {
namespace {

TEST(TextTable, ColumnsAlignAndTheLeastUsefulGoesFirst) {
  TextOptions options;
  options.width = 40;
  TextTable table({{"name"}, {"bytes", true}, {"reason", false, 1}, {"bar", false, 2}}, options);
  table.add({"a", "1", "because", "####################"});
  table.add({"long name", "1,000", "", ""});
  EXPECT_EQ(table.render(),
            "  name       bytes  reason\n"
            "  a              1  because\n"
            "  long name  1,000\n");
}

TEST(TextTable, NoLineIsLongerThanTheTerminal) {
  TextOptions options;
  options.width = 40;
  TextTable table({{"name"}, {"bytes", true}}, options);
  table.add({std::string(100, 'x'), "1"});
  table.add_rule();
  std::istringstream lines(table.render());
  for (std::string line; std::getline(lines, line);) EXPECT_LE(text_columns(line), 40) << line;
}

TEST(TextTable, ColumnsOfTheEnvironmentAreCheckedBeforeUse) {
  EXPECT_EQ(width_from(nullptr), 100);
  EXPECT_EQ(width_from(""), 100);
  EXPECT_EQ(width_from("72"), 72);
  EXPECT_EQ(width_from("1"), 40);
  EXPECT_EQ(width_from("-5"), 100);
  EXPECT_EQ(width_from("99999"), 400);
  EXPECT_EQ(width_from("80x"), 100);
}

TEST(TextTable, BarsShowEveryShareAboveZero) {
  TextOptions ascii;
  ascii.ascii = true;
  EXPECT_EQ(bar(0.5, 10, ascii), "#####");
  EXPECT_EQ(bar(0.0001, 10, ascii), "#");
  EXPECT_EQ(bar(0, 10, ascii), "");
  EXPECT_EQ(bar(7.5, 4, ascii), "###>");
  EXPECT_EQ(bar(1.0 / 0.0, 4, ascii), "");
  EXPECT_EQ(text_columns(bar(1, 10, {})), 10);
}

TEST(TextTable, ColourOnlyWhenAsked) {
  TextOptions options;
  EXPECT_EQ(ink("x", Ink::kBad, options), "x");
  options.color = true;
  EXPECT_EQ(ink("x", Ink::kBad, options), "\x1b[31mx\x1b[0m");
}

}  // namespace
}  // namespace vramplan
