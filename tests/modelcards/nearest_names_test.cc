#include "modelcards/nearest_names.h"

#include <gtest/gtest.h>

namespace vramplan {
namespace {

const std::vector<std::string> kNames{"llama-3-70b", "llama-3-8b", "llama-2-70b", "qwen3-32b",
                                      "gpt2"};

TEST(NearestNames, NearestFirstAndAtMostThree) {
  EXPECT_EQ(nearest_names("llama-3-70", kNames).front(), "llama-3-70b");
  EXPECT_LE(nearest_names("llama-3-b", kNames).size(), 3U);
  EXPECT_EQ(nearest_names("llama-2-70b", kNames).front(), "llama-2-70b");
  EXPECT_EQ(nearest_names("QWEN3-32B", kNames), std::vector<std::string>{"qwen3-32b"});
}

TEST(NearestNames, ASwapOfNeighboursIsOneEdit) {
  // Two substitutions would be as far as "ab" -> "cd"; the swap must win.
  EXPECT_EQ(nearest_names("gtp2", {"xyp2", "gpt2"}).front(), "gpt2");
}

TEST(NearestNames, APartOfANameComesAfterWhatIsNear) {
  const std::vector<std::string> devices{"h100-nvl-94gb", "h100-sxm-80gb", "l40s-48gb", "h200"};
  EXPECT_EQ(nearest_names("l40s", devices), std::vector<std::string>{"l40s-48gb"});
  EXPECT_EQ(nearest_names("SXM", devices), std::vector<std::string>{"h100-sxm-80gb"});
  EXPECT_EQ(nearest_names("h100", devices).front(), "h200");
  EXPECT_EQ(nearest_names("h100", devices).size(), 3U);
  EXPECT_TRUE(nearest_names("0gb", devices).empty());  // not where a word begins
}

TEST(NearestNames, NothingNearMeansNothing) {
  EXPECT_TRUE(nearest_names("mixtral-of-experts", kNames).empty());
  EXPECT_TRUE(nearest_names("", kNames).empty());
  EXPECT_NE(did_you_mean("zzzzzzzzzz", kNames).find("known: llama-3-70b"), std::string::npos);
  EXPECT_EQ(did_you_mean("gpt", {"gpt2"}), "did you mean gpt2?");
}

TEST(NearestNames, HugeWordsAreCut) {
  EXPECT_TRUE(nearest_names(std::string(1U << 20U, 'x'), kNames).empty());
}

}  // namespace
}  // namespace vramplan
