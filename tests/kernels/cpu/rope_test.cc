#include <gtest/gtest.h>

#include <cmath>

#include "kernels/cpu/cpu_ops.h"
#include "random_tensors.h"

namespace vramplan {
namespace {

void expect_rope(std::int64_t head_dim, std::int64_t rotary_dim, bool interleaved,
                 float magnitude) {
  const auto ops = make_cpu_ops(2);
  const std::int64_t heads = 3, pairs = rotary_dim / 2;
  std::vector<std::int32_t> positions;
  for (std::int32_t p = 0; p < 70; ++p) positions.push_back(p);
  for (const std::int32_t p : {4095, 8192, 131071, 1000000}) positions.push_back(p);
  const auto tokens = static_cast<std::int64_t>(positions.size());
  std::vector<float> frequency;
  for (std::int64_t i = 0; i < pairs; ++i) {
    frequency.push_back(
        std::pow(10000.0F, -2.0F * static_cast<float>(i) / static_cast<float>(rotary_dim)));
  }
  const std::vector<float> x = random_floats(tokens * heads * head_dim, 9);
  std::vector<float> y = x;
  RopeParams params{head_dim, rotary_dim, interleaved, frequency.data(), magnitude};
  ops->rope(view(y, tokens, heads * head_dim), positions, params);
  for (std::int64_t t = 0; t < tokens; ++t) {
    for (std::int64_t h = 0; h < heads; ++h) {
      const auto base = static_cast<std::size_t>((t * heads + h) * head_dim);
      std::vector<double> expected(x.begin() + static_cast<std::ptrdiff_t>(base),
                                   x.begin() + static_cast<std::ptrdiff_t>(base) + head_dim);
      for (std::int64_t i = 0; i < pairs; ++i) {
        const double angle = positions[static_cast<std::size_t>(t)] *
                             static_cast<double>(frequency[static_cast<std::size_t>(i)]);
        const auto first = static_cast<std::size_t>(interleaved ? 2 * i : i);
        const auto second = static_cast<std::size_t>(interleaved ? 2 * i + 1 : i + pairs);
        const auto a = static_cast<double>(x[base + first]),
                   b = static_cast<double>(x[base + second]);
        const double c = std::cos(angle) * static_cast<double>(magnitude),
                     s = std::sin(angle) * static_cast<double>(magnitude);
        expected[first] = a * c - b * s;
        expected[second] = a * s + b * c;
      }
      for (std::size_t d = 0; d < expected.size(); ++d) {
        ASSERT_NEAR(static_cast<double>(y[base + d]), expected[d], 2e-6)
            << "token " << t << " element " << d;
      }
    }
  }
}

TEST(Rope, HalvesInterleavedPartialAndScaled) {
  expect_rope(64, 64, false, 1.0F);
  expect_rope(64, 64, true, 1.0F);
  expect_rope(80, 32, false, 1.0F);
  expect_rope(96, 20, true, 1.25F);
  expect_rope(128, 2, false, 1.0F);
}

TEST(Rope, PositionZeroAndNoRotaryPartChangeNothing) {
  const auto ops = make_cpu_ops(1);
  const float frequency[] = {1.0F, 0.5F};
  std::vector<float> x = random_floats(8, 1);
  const std::vector<float> before = x;
  const std::int32_t zero[] = {0}, five[] = {5};
  ops->rope(view(x, 1, 8), zero, {4, 4, false, frequency, 1.0F});
  EXPECT_EQ(x, before);
  ops->rope(view(x, 1, 8), five, {4, 0, false, frequency, 1.0F});
  EXPECT_EQ(x, before);
}

}  // namespace
}  // namespace vramplan
