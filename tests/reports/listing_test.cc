#include "reports/listing.h"

#include <gtest/gtest.h>

namespace vramplan {
namespace {

const Listing kListing{"cards", {"name", "bytes"}, {{"a|b,c", "12"}, {"no", ""}, {"0x1f", "-3"}}};

TEST(Listing, CsvQuotesWhatHoldsAComma) {
  EXPECT_EQ(listing_csv(kListing), "name,bytes\n\"a|b,c\",12\nno,\n0x1f,-3\n");
}

TEST(Listing, MarkdownKeepsItsCells) {
  const std::string text = listing_markdown(kListing);
  EXPECT_EQ(text.rfind("| name | bytes |\n|---|---|\n", 0), 0U);
  EXPECT_EQ(text.find("a|b"), std::string::npos);  // the bar would be a border
}

TEST(Listing, YamlQuotesWordsThatToolsReadAsSomethingElse) {
  const std::string text = listing_yaml(kListing);
  EXPECT_NE(text.find("- name: \"no\"\n  bytes: null\n"), std::string::npos) << text;
  EXPECT_NE(text.find("- name: \"0x1f\"\n  bytes: -3\n"), std::string::npos) << text;
}

}  // namespace
}  // namespace vramplan
