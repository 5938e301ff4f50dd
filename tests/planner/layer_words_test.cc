#include "planner/layer_words.h"

#include <gtest/gtest.h>

#include "modelcards/model_card.h"
#include "tests/planner/cards.h"

namespace vramplan {
namespace {

Error error_of(const std::function<void()>& run) {
  try {
    run();
  } catch (const Error& error) {
    return error;
  }
  ADD_FAILURE() << "no error";
  return {ErrorCode::kInternal, ""};
}

TEST(LayerWords, ReadWhatTheyWrite) {
  const std::string text = "0-1:f16,20-29:kivi2/0,5:,7:q8_0";
  const std::vector<LayerWord> layers = parse_layer_words(text, "--x", "form");
  ASSERT_EQ(layers.size(), 4U);
  EXPECT_EQ(layers[1], (LayerWord{20, 30, "kivi2/0"}));
  EXPECT_EQ(layers[2], (LayerWord{5, 6, ""}));
  EXPECT_EQ(text_of(layers), text);
}

TEST(LayerWords, WhatNamesNoLayersSaysTheForm) {
  for (const char* text : {"", ",", "0", ":a", "0-:a", "3-2:a", "0-1-2:a", "0:a:b", "x:a",
                           "1000001:a", "99999999999999999999:a"}) {
    const Error error = error_of([&] { parse_layer_words(text, "--x", "the form"); });
    EXPECT_EQ(error.code(), ErrorCode::kUsage) << text;
    EXPECT_EQ(error.field(), "--x") << text;
    EXPECT_EQ(error.fix(), "the form") << text;
  }
}

TEST(LayerWords, AreLayersOfTheModelEachOnce) {
  ModelCard card = test::llama_2_7b();  // of 32 layers
  const auto check = [&](const char* text) {
    check_layer_words(card, parse_layer_words(text, "", ""), "--x", "--rest");
  };
  EXPECT_NO_THROW(check("0-30:a,31:b"));
  EXPECT_NE(error_of([&] { check("30-32:a"); }).fix().find("0 to 31"), std::string::npos);
  EXPECT_NE(error_of([&] { check("0-3:a,3:b"); }).message().find("layer 3"), std::string::npos);
  EXPECT_NE(error_of([&] { check("0:a,0:a"); }).fix().find("--rest"), std::string::npos);
}

}  // namespace
}  // namespace vramplan
