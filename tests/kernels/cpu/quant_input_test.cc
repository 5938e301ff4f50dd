#include "kernels/cpu/quant_input.h"

#include <gtest/gtest.h>

#include <bit>
#include <cmath>
#include <limits>

#include "random_tensors.h"

namespace vramplan::cpu {
namespace {

struct Quantised {
  std::vector<float> workspace;
  QuantInput input;

  Quantised(const std::vector<float>& x, DType weight)
      : workspace(x.size() / 32 * 10),
        input(quant_input_in(workspace.data(), 1, static_cast<std::int64_t>(x.size()))) {
    quantise_input_row(input, 0, x.data(), quant_format(weight));
  }
};

TEST(QuantInput, CodesAreNearestAndTheScaleHasElevenBits) {
  const std::vector<float> x = random_floats(320, 3, 5.0F);
  const Quantised q(x, DType::kQ8_0);
  for (std::size_t b = 0; b < 10; ++b) {
    float most = 0.0F;
    for (std::size_t i = 0; i < 32; ++i) most = std::fmax(most, std::fabs(x[b * 32 + i]));
    EXPECT_EQ(q.input.scales[b], f16_to_f32(f32_to_f16(most / 127.0F)));
    std::int32_t sum = 0;
    for (std::size_t i = 0; i < 32; ++i) {
      EXPECT_EQ(q.input.codes[b * 32 + i], std::nearbyint(x[b * 32 + i] * (127.0F / most)));
      sum += q.input.codes[b * 32 + i];
    }
    EXPECT_EQ(q.input.sums[b], -128 * sum);
  }
}

TEST(QuantInput, TheSumSuitsTheWeightFormat) {
  const std::vector<float> x = random_floats(256, 4);
  const Quantised minimum(x, DType::kQ4_1), halves(x, DType::kQ6_K);
  for (std::size_t b = 0; b < 8; ++b) {
    std::int32_t first = 0, second = 0;
    for (std::size_t i = 0; i < 16; ++i) {
      first += minimum.input.codes[b * 32 + i];
      second += minimum.input.codes[b * 32 + 16 + i];
    }
    EXPECT_FLOAT_EQ(std::bit_cast<float>(minimum.input.sums[b]),
                    -minimum.input.scales[b] * static_cast<float>(first + second));
    EXPECT_EQ(static_cast<std::int16_t>(halves.input.sums[b] & 0xffff), first);
    EXPECT_EQ(halves.input.sums[b] >> 16, second);
  }
}

TEST(QuantInput, NanAndInfinityAreNotLost) {
  std::vector<float> x(64, 1.0F);
  x[5] = std::numeric_limits<float>::quiet_NaN();
  x[40] = -std::numeric_limits<float>::infinity();
  const Quantised q(x, DType::kQ8_0);
  EXPECT_TRUE(std::isnan(q.input.scales[0]));
  EXPECT_TRUE(std::isinf(q.input.scales[1]));
}

}  // namespace
}  // namespace vramplan::cpu
