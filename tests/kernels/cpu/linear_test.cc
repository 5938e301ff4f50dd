#include <gtest/gtest.h>

#include <cmath>
#include <limits>

#include "kernels/cpu/cpu_ops.h"
#include "random_tensors.h"

namespace vramplan {
namespace {

struct Shape {
  std::int64_t tokens, in, out;
};

/// out = x w^T + bias in double.
std::vector<double> reference(const std::vector<float>& x, const std::vector<float>& w,
                              const std::vector<float>& bias, const Shape& s) {
  std::vector<double> y(static_cast<std::size_t>(s.tokens * s.out));
  for (std::int64_t t = 0; t < s.tokens; ++t) {
    for (std::int64_t o = 0; o < s.out; ++o) {
      double sum = bias.empty() ? 0.0 : static_cast<double>(bias[static_cast<std::size_t>(o)]);
      for (std::int64_t i = 0; i < s.in; ++i) {
        sum += static_cast<double>(x[static_cast<std::size_t>(t * s.in + i)]) *
               static_cast<double>(w[static_cast<std::size_t>(o * s.in + i)]);
      }
      y[static_cast<std::size_t>(t * s.out + o)] = sum;
    }
  }
  return y;
}

/// The input as the kernel sees it: 8-bit codes times the rounded scale, 32 at a time.
std::vector<float> quantised(std::vector<float> x) {
  for (std::size_t b = 0; b < x.size(); b += 32) {
    float most = 0.0F;
    for (std::size_t i = b; i < b + 32; ++i) most = std::fmax(most, std::fabs(x[i]));
    const float scale = cpu::f16_to_f32(cpu::f32_to_f16(most / 127.0F));
    for (std::size_t i = b; i < b + 32; ++i) {
      x[i] = most > 0.0F ? std::nearbyint(x[i] * (127.0F / most)) * scale : 0.0F;
    }
  }
  return x;
}

std::vector<float> magnitudes(std::vector<float> x) {
  for (float& value : x) value = std::fabs(value);
  return x;
}

void run_linear(Ops& ops, const Shape& s, RandomWeight& w, std::vector<float>& x,
                std::vector<float>& bias, std::vector<float>& y) {
  const Bytes scratch = ops.linear_workspace(s.tokens, s.in, w.weight.tensor.dtype);
  std::vector<float> workspace(static_cast<std::size_t>(scratch.n / 4) + 1, NAN);
  TensorView b = bias.empty() ? TensorView{} : view(bias, 1, s.out);
  ops.linear(view(y, s.tokens, s.out), view(x, s.tokens, s.in), w.weight, b,
             {workspace.data(), DType::kF32, 1, static_cast<std::int64_t>(workspace.size())});
}

void expect_linear(DType dtype, const Shape& s, int threads, bool packed, bool with_bias,
                   DType inputs = DType::kI8) {
  const auto ops = make_cpu_ops(threads, inputs);
  RandomWeight w(dtype, s.out, s.in, 7);
  std::vector<float> x = random_floats(s.tokens * s.in, 11);
  std::vector<float> bias = with_bias ? random_floats(s.out, 13) : std::vector<float>{};
  const bool integer = is_block_quantised(dtype) && inputs == DType::kI8;
  const std::vector<float> values = w.values();
  const std::vector<double> expected = reference(integer ? quantised(x) : x, values, bias, s);
  if (packed) ops->pack(w.weight);
  std::vector<float> y(static_cast<std::size_t>(s.tokens * s.out), NAN);
  run_linear(*ops, s, w, x, bias, y);
  // f32 sums: the error grows with the sum of magnitudes.
  const std::vector<double> sizes =
      reference(magnitudes(integer ? quantised(x) : x), magnitudes(values), magnitudes(bias), s);
  for (std::size_t i = 0; i < y.size(); ++i) {
    ASSERT_NEAR(static_cast<double>(y[i]), expected[i], 5e-7 * sizes[i] + 1e-6)
        << info(dtype).name << " tokens " << s.tokens << " in " << s.in << " out " << s.out
        << " threads " << threads << " packed " << packed << " at " << i;
  }
}

TEST(Linear, UnroundedInputsGiveTheSumsOfTheDequantisedMatrix) {
  for (const DType dtype : kWeightTypes) {
    const std::int64_t in = info(dtype).block_elements == 1 ? 77 : 512;
    for (const std::int64_t tokens : {1, 3, 5, 6, 23, 40}) {
      for (const std::int64_t rows : {1, 16, 50}) {
        for (const int threads : {1, 3})
          expect_linear(dtype, {tokens, in, rows}, threads, rows != 16, rows == 16, DType::kF32);
      }
    }
  }
}

TEST(Linear, EqualsADoubleReferenceForEveryFormatAndShape) {
  for (const DType dtype : kWeightTypes) {
    const std::int64_t unit = info(dtype).block_elements;
    for (const std::int64_t tokens : {1, 2, 3, 7, 8, 13, 21}) {
      for (const std::int64_t rows : {1, 15, 16, 50}) {
        const std::int64_t in = unit == 1 ? 77 : unit == 32 ? 96 : 512;
        expect_linear(dtype, {tokens, in, rows}, 2, true, tokens % 2 == 1);
      }
    }
    expect_linear(dtype, {5, unit == 1 ? 1 : unit, 33}, 1, true, true);
    expect_linear(dtype, {1, unit == 1 ? 576 : 768, 192}, 3, true, false);
    expect_linear(dtype, {9, unit == 1 ? 64 : 256, 18}, 3, false, true);
    expect_linear(dtype, {1, unit == 1 ? 65 : 256, 18}, 1, false, true);
  }
}

TEST(Linear, ManyTokensPassInBlocksOfTheCache) {
  expect_linear(DType::kQ4_1, {700, 1024, 32}, 2, true, true);
  expect_linear(DType::kF16, {200, 1024, 32}, 2, true, true);
}

TEST(Linear, QuantisedInputIsCloseToTheExactProduct) {
  const Shape s{4, 576, 64};
  const auto ops = make_cpu_ops(1);
  RandomWeight w(DType::kQ8_0, s.out, s.in, 3);
  std::vector<float> x = random_floats(s.tokens * s.in, 5), none;
  const std::vector<double> expected = reference(x, w.values(), none, s);
  ops->pack(w.weight);
  std::vector<float> y(static_cast<std::size_t>(s.tokens * s.out));
  run_linear(*ops, s, w, x, none, y);
  double error = 0, size = 0;
  for (std::size_t i = 0; i < y.size(); ++i) {
    error += std::pow(static_cast<double>(y[i]) - expected[i], 2);
    size += expected[i] * expected[i];
  }
  EXPECT_LT(std::sqrt(error / size), 0.01);
}

TEST(Linear, NanAndInfinityInTheInputReachTheOutput) {
  for (const DType dtype : {DType::kQ4_1, DType::kQ8_0, DType::kQ6_K, DType::kF16}) {
    for (const float bad :
         {std::numeric_limits<float>::quiet_NaN(), std::numeric_limits<float>::infinity()}) {
      const Shape s{2, 512, 16};
      const auto ops = make_cpu_ops(1);
      RandomWeight w(dtype, s.out, s.in, 3);
      std::vector<float> x = random_floats(s.tokens * s.in, 5), none;
      x[512 + 100] = bad;
      ops->pack(w.weight);
      std::vector<float> y(32);
      run_linear(*ops, s, w, x, none, y);
      for (std::size_t i = 0; i < 16; ++i) {
        EXPECT_TRUE(std::isfinite(y[i]));
        EXPECT_FALSE(std::isfinite(y[16 + i])) << info(dtype).name;
      }
    }
  }
}

TEST(Linear, ExtremeInputsStayFinite) {
  const Shape s{3, 64, 16};
  const auto ops = make_cpu_ops(1);
  RandomWeight w(DType::kQ4_0, s.out, s.in, 3);
  std::vector<float> x(192, 0.0F), none;
  for (std::size_t i = 0; i < 64; ++i) x[64 + i] = 1e-42F;  // subnormal: counts as zero
  for (std::size_t i = 0; i < 64; ++i) x[128 + i] = 1e30F;  // beyond the range of an f16 scale
  ops->pack(w.weight);
  std::vector<float> y(48, NAN);
  run_linear(*ops, s, w, x, none, y);
  for (std::size_t i = 0; i < 32; ++i) EXPECT_EQ(y[i], 0.0F);
  for (std::size_t i = 32; i < 48; ++i) EXPECT_TRUE(std::isfinite(y[i]));
}

TEST(Linear, PackKeepsTheByteCountAndTouchesNothingElse) {
  for (const DType dtype : kWeightTypes) {
    const std::int64_t in = is_block_quantised(dtype) ? 512 : 40;
    RandomWeight w(dtype, 37, in, 9);
    const std::size_t size = w.bytes.size();
    w.bytes.resize(size + 64, 0xAB);
    w.weight.tensor.data = w.bytes.data();
    const std::vector<std::uint8_t> before = w.bytes;
    make_cpu_ops(2)->pack(w.weight);
    for (std::size_t i = size; i < w.bytes.size(); ++i) ASSERT_EQ(w.bytes[i], 0xAB);
    const std::size_t row = size / 37;  // rows 32..36 stay plain
    EXPECT_TRUE(std::equal(before.begin() + static_cast<std::ptrdiff_t>(32 * row), before.end(),
                           w.bytes.begin() + static_cast<std::ptrdiff_t>(32 * row)));
    EXPECT_FALSE(std::equal(before.begin(), before.begin() + static_cast<std::ptrdiff_t>(row),
                            w.bytes.begin()));
  }
}

TEST(Linear, RefusesAnUnsupportedWeightByName) {
  const auto ops = make_cpu_ops(1);
  std::vector<float> x(4), y(4);
  WeightView w;
  w.tensor = {x.data(), DType::kI8, 4, 4};
  EXPECT_THROW(ops->linear(view(y, 1, 4), view(x, 1, 4), w, {}, {}), Error);
  EXPECT_THROW(ops->pack(w), Error);
}

}  // namespace
}  // namespace vramplan
