#include "reports/svg.h"

#include <gtest/gtest.h>

#include <limits>

namespace vramplan {
namespace {

TEST(Svg, WritesTheSameTextEveryTime) {
  Svg svg(100, 50.25, "chart x", "a title", "a description");
  svg.open_group("g1");
  svg.rect(0, 1, 2.04, -3, "c-weights", "tip");
  svg.line({0, 0}, {1.06, -0.01}, "grid");
  svg.path({{1, 2}, {3, 4.5}}, "p", true);
  svg.close_group();
  svg.circle({1, 2}, 3, "mark");
  svg.text({5, 6}, "hello", "t", Anchor::kEnd);
  EXPECT_EQ(svg.finish(),
            "<svg class=\"chart x\" viewBox=\"0 0 100 50.2\" role=\"img\">\n"
            "<title>a title</title>\n<desc>a description</desc>\n"
            "<g class=\"g1\">\n"
            "<rect class=\"c-weights\" x=\"0\" y=\"1\" width=\"2\" "
            "height=\"0\"><title>tip</title></rect>\n"
            "<line class=\"grid\" x1=\"0\" y1=\"0\" x2=\"1.1\" y2=\"0\"/>\n"
            "<path class=\"p\" d=\"M1 2L3 4.5Z\"/>\n"
            "</g>\n"
            "<circle class=\"mark\" cx=\"1\" cy=\"2\" r=\"3\"/>\n"
            "<text class=\"t\" x=\"5\" y=\"6\" text-anchor=\"end\">hello</text>\n"
            "</svg>\n");
}

TEST(Svg, NumbersAreFiniteAndTextIsEscaped) {
  Svg svg(10, 10, "a\"b", "<t>", "&");
  svg.rect(std::numeric_limits<double>::quiet_NaN(), 0, std::numeric_limits<double>::infinity(), 1,
           "c");
  svg.text({0, 0}, "</text><script>", "t");
  const std::string out = svg.finish();
  EXPECT_EQ(out.find("nan"), std::string::npos);
  EXPECT_EQ(out.find("inf"), std::string::npos);
  EXPECT_EQ(out.find("<script>"), std::string::npos);
  EXPECT_NE(out.find("class=\"a&quot;b\""), std::string::npos);
}

TEST(Svg, StepsAreOneTwoOrFive) {
  EXPECT_DOUBLE_EQ(nice_step(10, 5), 2);
  EXPECT_DOUBLE_EQ(nice_step(10, 4), 5);
  EXPECT_DOUBLE_EQ(nice_step(0.013, 4), 0.005);
  EXPECT_DOUBLE_EQ(nice_step(79.2, 5), 20);
  EXPECT_DOUBLE_EQ(nice_step(0, 5), 1);
  for (const double top : {1e-6, 0.3, 1.0, 17.0, 99.9, 1e12}) {
    const double step = nice_step(top, 5);
    EXPECT_LE(top / step, 5.0 + 1e-9) << top;
    EXPECT_GE(top / step, 1.0) << top;
  }
}

}  // namespace
}  // namespace vramplan
