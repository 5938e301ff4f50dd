#include "executor/rope_table.h"

#include <gtest/gtest.h>

#include <cmath>

namespace vramplan {
namespace {

Rope rope_of(std::int64_t rotary_dim, double theta) {
  Rope rope;
  rope.rotary_dim = rotary_dim;
  rope.theta = theta;
  return rope;
}

TEST(RopeTable, FrequenciesArePowersOfTheta) {
  const RopeTable table(rope_of(8, 10000), 16);
  const std::vector<float> expected{1, 0.1F, 0.01F, 0.001F};
  ASSERT_EQ(table.inverse_frequency().size(), 4U);
  for (std::size_t i = 0; i < 4; ++i) EXPECT_FLOAT_EQ(table.inverse_frequency()[i], expected[i]);
  EXPECT_EQ(table.params().head_dim, 16);
  EXPECT_EQ(table.params().rotary_dim, 8);
  EXPECT_EQ(table.magnitude(), 1.0F);
}

TEST(RopeTable, LinearScalingDividesEveryFrequency) {
  Rope rope = rope_of(8, 10000);
  rope.scaling = "linear";
  rope.factor = 4;
  const RopeTable table(rope, 8);
  EXPECT_FLOAT_EQ(table.inverse_frequency()[0], 0.25F);
  EXPECT_FLOAT_EQ(table.inverse_frequency()[3], 0.00025F);
}

// Llama 3.1: theta 500000, head_dim 128, factor 8, low 1, high 4, context 8192. Values of
// transformers' llama3 rotary initialisation in float32.
TEST(RopeTable, Llama3ScalingKeepsShortWavesAndStretchesLongOnes) {
  Rope rope = rope_of(128, 500000);
  rope.scaling = "llama3";
  rope.factor = 8;
  rope.original_context = 8192;
  const RopeTable table(rope, 128), plain(rope_of(128, 500000), 128);
  const auto& f = table.inverse_frequency();
  const auto& p = plain.inverse_frequency();
  EXPECT_EQ(f[0], p[0]);
  EXPECT_EQ(f[28], p[28]);            // wavelength 1957 < 8192 / 4
  EXPECT_FLOAT_EQ(f[35], p[35] / 8);  // wavelength 8217 > 8192
  EXPECT_FLOAT_EQ(f[63], p[63] / 8);
  // i = 32: wavelength 4443, 8192 / 4443 = 1.8438, keep (1.8438 - 1) / 3 = 0.28127.
  EXPECT_NEAR(f[32] / p[32], 0.28127 + (1 - 0.28127) / 8, 1e-4);
}

TEST(RopeTable, YarnInterpolatesByPartsAndRaisesTheMagnitude) {
  Rope rope = rope_of(128, 1000000);
  rope.scaling = "yarn";
  rope.factor = 4;
  rope.original_context = 32768;
  const RopeTable table(rope, 128), plain(rope_of(128, 1000000), 128);
  const auto& f = table.inverse_frequency();
  const auto& p = plain.inverse_frequency();
  // 32 turns at pair 128 ln(32768 / 64 pi) / (2 ln 1e6) = 23.6, one turn at 39.6: 23 and 40.
  EXPECT_EQ(f[23], p[23]);
  EXPECT_LT(f[24], p[24]);
  EXPECT_FLOAT_EQ(f[40], p[40] / 4);
  EXPECT_NEAR(f[30] / p[30], 1 - 7.0 / 17 * 0.75, 1e-5);
  EXPECT_FLOAT_EQ(table.magnitude(), static_cast<float>(0.1 * std::log(4.0) + 1));
}

TEST(RopeTable, WhatItDoesNotKnowIsRefused) {
  Rope rope = rope_of(8, 10000);
  rope.scaling = "longrope";
  EXPECT_THROW(RopeTable(rope, 8), Error);
  rope.scaling = "llama3";
  rope.factor = 8;
  EXPECT_THROW(RopeTable(rope, 8), Error);  // no original context
  EXPECT_THROW(RopeTable(rope_of(10, 10000), 8), Error);
  EXPECT_THROW(RopeTable(rope_of(7, 10000), 8), Error);
}

}  // namespace
}  // namespace vramplan
