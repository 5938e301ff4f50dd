#include <gtest/gtest.h>

#include <functional>

#include "modelcards/json.h"
#include "tests/modelcards/allocation_meter.h"

namespace vramplan {
namespace {

JsonNode parsed(const std::string& text) { return JsonNode::parse(text, "a.json"); }

void expect_error(const std::function<void()>& access, const std::string& field = {}) {
  try {
    access();
    FAIL() << field;
  } catch (const Error& error) {
    EXPECT_EQ(error.code(), ErrorCode::kBadJson) << error.what();
    EXPECT_EQ(error.file(), "a.json");
    EXPECT_TRUE(field.empty() || error.field() == field) << error.what();
  }
}

TEST(Json, ValuesOfEveryKindAreReadBack) {
  const JsonNode root =
      parsed(R"({"a": {"b": [1, -2, 0.5, "t", true, null]}, "n": null, "e": {}})");
  const JsonNode list = root.at("a").at("b");
  EXPECT_EQ(list.size(), 6U);
  EXPECT_EQ(list.at(0).integer(0, 9), 1);
  EXPECT_EQ(list.at(1).integer(-9, 9), -2);
  EXPECT_EQ(list.at(2).real(0, 1), 0.5);
  EXPECT_EQ(list.at(0).real(0, 1), 1.0);
  EXPECT_EQ(list.at(3).text(), "t");
  EXPECT_TRUE(list.at(4).boolean());
  EXPECT_TRUE(list.at(5).is_null());
  EXPECT_EQ(list.at(1).path(), "a.b[1]");
  EXPECT_FALSE(root.has("n"));
  EXPECT_TRUE(root.contains("n"));
  EXPECT_FALSE(root.contains("m"));
  EXPECT_EQ(root.keys(), (std::vector<std::string>{"a", "n", "e"}));
  EXPECT_EQ(root.items()[2].size(), 0U);
  EXPECT_EQ(root.integer_or("n", 7, 0, 9), 7);
  EXPECT_EQ(list.items()[3].path(), "a.b[3]");
}

// What the library would convert in silence: each is an error that names its field.
TEST(Json, NumbersAreNeverBentToFit) {
  for (const char* number : {"4096.5", "-1", "1e19", "10000000000000000000", "9223372036854775808",
                             "99999999999999999999999999", "-9223372036854775809", "4096.0", "1e3",
                             "true", "\"5\"", "null", "[5]", "1.0e2"}) {
    const JsonNode root = parsed(std::string("{\"hidden\": ") + number + "}");
    SCOPED_TRACE(number);
    expect_error([&] { root.at("hidden").integer(0, std::numeric_limits<std::int64_t>::max()); },
                 "hidden");
  }
  // An integer of more than 64 bits is too large, not "no whole number".
  for (const char* digits : {"[9223372036854775808]", "[99999999999999999999999999]"}) {
    try {
      parsed(digits).at(0).integer(0, 9);
      FAIL() << digits;
    } catch (const Error& error) {
      EXPECT_NE(error.message().find("between 0 and 9"), std::string::npos) << error.what();
    }
  }
  EXPECT_EQ(
      parsed("[9223372036854775807]").at(0).integer(0, std::numeric_limits<std::int64_t>::max()),
      std::numeric_limits<std::int64_t>::max());
  expect_error([&] { parsed("[5]").at(0).integer(6, 9); }, "[0]");
}

TEST(Json, RealsAreFiniteAndInRange) {
  EXPECT_EQ(parsed("[1e19]").at(0).real(0, 1e20), 1e19);
  EXPECT_EQ(parsed("[18446744073709551615]").at(0).real(0, 1e20), 18446744073709551615.0);
  for (const char* bad :
       {"[1e400]", "[-1e400]", "[NaN]", "[Infinity]", "[nan]", "[0x10]", "[010]", "[1.]"}) {
    SCOPED_TRACE(bad);
    expect_error([&] { parsed(bad); });
  }
  expect_error([&] { parsed("[2.5]").at(0).real(0, 1); });
  expect_error([&] { parsed("[\"1\"]").at(0).real(0, 1); });
}

TEST(Json, BadTextsAreTypedErrors) {
  for (const char* bad :
       {"", " ", "{", "[1,]", "{\"a\":1,}", "{a:1}", "[1] 2", "\xff", "[\"\xff\"]", "'a'",
        "{\"a\":1 \"b\":2}", "// c\n1", "[1]\n[2]", "\"\\ud800\"", "tru"}) {
    SCOPED_TRACE(bad);
    expect_error([&] { parsed(bad); });
  }
  expect_error([&] { parsed(std::string("[1]\0", 4)); });
}

TEST(Json, DuplicateKeysAreErrorsAtAnyDepth) {
  expect_error([&] { parsed(R"({"a":1,"b":2,"a":3})"); });
  expect_error([&] { parsed(R"([{"x":{"a":1,"a":1}}])"); });
  expect_error([&] { parsed("{\"a\":1,\"\\u0061\":2}"); });
  EXPECT_NO_THROW(parsed(R"({"a":{"a":1},"b":{"a":1}})"));
}

TEST(Json, DepthAndCountAreCappedBeforeTheyCost) {
  EXPECT_NO_THROW(parsed(std::string(64, '[') + std::string(64, ']')));
  expect_error([&] { parsed(std::string(65, '[') + std::string(65, ']')); });
  const std::string deep(1'000'000, '[');
  test::AllocationMeter meter;
  expect_error([&] { parsed(deep); });
  EXPECT_LE(meter.peak_bytes(), 4 << 20);
  std::string wide = "[";
  for (int i = 0; i < 1'000'001; ++i) wide += "1,";
  wide += "1]";
  test::AllocationMeter wide_meter;
  expect_error([&] { parsed(wide); });
  EXPECT_LE(wide_meter.peak_bytes(), 4 * static_cast<std::int64_t>(wide.size()) + (64 << 20));
}

TEST(Json, MissingAndMistypedFieldsAreNamed) {
  const JsonNode root = parsed(R"({"a": {"b": "x"}})");
  try {
    root.at("a").at("c");
    FAIL();
  } catch (const Error& error) {
    EXPECT_EQ(error.code(), ErrorCode::kBadConfig);
    EXPECT_EQ(error.field(), "a.c");
  }
  expect_error([&] { root.at("a").at("b").at("c"); }, "a.b");
  expect_error([&] { root.at("a").at(0); }, "a");
  expect_error([&] { root.at("a").at("b").boolean(); }, "a.b");
  expect_error([&] { root.at("a").text(); }, "a");
  expect_error([&] { parsed("[1]").at(1); });
  expect_error([&] { parsed("1").keys(); });
  expect_error([&] { parsed("1").items(); });
}

}  // namespace
}  // namespace vramplan
