#include "reports/json_reader.h"

#include <gtest/gtest.h>

namespace vramplan {
namespace {

TEST(JsonReader, IntegersAreStrict) {
  const auto document =
      parse_json(R"({"a": 1, "b": 1.0, "c": "1", "d": 18446744073709551615, "e": -1,
                                       "f": true, "g": null})",
                 "f.json");
  const JsonReader in(document, "f.json");
  EXPECT_EQ(in.at("a").integer(), 1);
  EXPECT_EQ(in.at("e").integer(), -1);
  EXPECT_EQ(in.at("d").unsigned_integer(), 18446744073709551615u);
  for (const char* bad : {"b", "c", "d", "f", "g"}) {
    EXPECT_THROW(in.at(bad).integer(), Error) << bad;
  }
  EXPECT_THROW(in.at("e").count(), Error);
  EXPECT_THROW(in.at("h"), Error);
}

TEST(JsonReader, HostileDocumentsAreErrorsNotCrashes) {
  EXPECT_THROW(parse_json("{\"a\": 1e999}", "f"), Error);
  EXPECT_THROW(parse_json("\xff", "f"), Error);
  EXPECT_THROW(parse_json(std::string(100'000, '['), "f"), Error);
  EXPECT_THROW(parse_json("{\"a\": NaN}", "f"), Error);
}

TEST(JsonReader, WhatIsNotFiniteIsNull) {
  EXPECT_TRUE(finite(1.0 / 0.0).is_null());
  EXPECT_EQ(finite(1.5), 1.5);
}

}  // namespace
}  // namespace vramplan
