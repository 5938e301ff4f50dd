#include "harness.h"
#include "tests/kernels/published_weight.h"

namespace vramplan::cuda_test {
namespace {

class LinearPacked : public CudaKernel {};

void check(DType format, DType in_type, std::int64_t tokens, std::int64_t rows,
           std::int64_t columns, bool with_bias) {
  const Published matrix(format, rows, columns);
  Memory memory(matrix.stored().size());
  memory.write(matrix.stored().data(), matrix.stored().size());
  const WeightView weight{{memory.data(), format, rows, columns}, 0};
  const Tensor in(in_type, tokens, columns, normal(tokens * columns, 2));
  const Tensor bias(DType::kF32, 1, rows, normal(rows, 3));
  const Values x = in.values(), b = bias.values();
  Values expected;
  for (std::int64_t t = 0; t < tokens; ++t) {
    for (std::int64_t r = 0; r < rows; ++r) {
      double sum = with_bias ? at(b, r) : 0.0;
      for (std::int64_t c = 0; c < columns; ++c) {
        sum += at(x, t * columns + c) *
               static_cast<double>(matrix.values()[static_cast<std::size_t>(r * columns + c)]);
      }
      expected.push_back(sum);
    }
  }
  for_each_schedule([&] {
    Tensor out(DType::kF32, tokens, rows);
    cuda::linear({}, out.view(), in.view(), weight, with_bias ? bias.view() : TensorView{});
    expect_close(out.values(), expected, 1e-5, name(format) + ", " + std::to_string(tokens));
  });
}

TEST_F(LinearPacked, EveryFormatForFewTokens) {
  for (const DType format : kPackedWeights) {
    check(format, DType::kF32, 1, 24, 256, true);
    check(format, DType::kBF16, 3, 16, 384, false);
  }
}

TEST_F(LinearPacked, EveryFormatForManyTokens) {
  for (const DType format : kPackedWeights) check(format, DType::kF16, 9, 136, 256, true);
}

/// More rows and columns than a block of scales, a last one that is not whole.
TEST_F(LinearPacked, BlocksOfScalesEndInsideTheMatrix) {
  check(DType::kFp8Block, DType::kF32, 2, 264, 160, false);
  check(DType::kFp8Channel, DType::kF32, 1, 8, 32, false);
}

TEST_F(LinearPacked, ShapesThatDoNotFillTheirWordsAreRefused) {
  EXPECT_THROW(check(DType::kFp8Tensor, DType::kF32, 1, 8, 40, false), Error);
  EXPECT_THROW(check(DType::kFp8Tensor, DType::kF32, 1, 12, 64, false), Error);
}

/// Inputs in codes: the sum over both codes, then both factors, then the bias.
void check_fp8(DType format, std::int64_t tokens, std::int64_t rows, std::int64_t columns) {
  std::vector<std::uint8_t> stored;
  Values weight;
  if (format == DType::kF8E4M3) {
    const Tensor plain(format, rows, columns, normal(rows * columns, 9));
    stored = plain.bytes();
    weight = plain.values();
  } else {
    const Published matrix(format, rows, columns);
    stored = matrix.stored();
    weight.assign(matrix.values().begin(), matrix.values().end());
  }
  Memory memory(stored.size());
  memory.write(stored.data(), stored.size());
  const Tensor in(DType::kF8E4M3, tokens, columns, normal(tokens * columns, 2, 20.0F));
  std::vector<float> factors;
  for (std::int64_t t = 0; t < tokens; ++t) factors.push_back(0.01F * static_cast<float>(t + 1));
  const Tensor scales(DType::kF32, 1, tokens, factors);
  const Tensor bias(DType::kF32, 1, rows, normal(rows, 3));
  const Values x = in.values(), b = bias.values();
  Values expected;
  for (std::int64_t t = 0; t < tokens; ++t) {
    for (std::int64_t r = 0; r < rows; ++r) {
      double sum = 0;
      for (std::int64_t c = 0; c < columns; ++c) {
        sum += at(x, t * columns + c) * at(weight, r * columns + c);
      }
      expected.push_back(static_cast<double>(factors[static_cast<std::size_t>(t)]) * sum +
                         at(b, r));
    }
  }
  for_each_schedule([&] {
    Tensor out(DType::kF32, tokens, rows);
    cuda::linear_fp8({}, out.view(), in.view(), static_cast<const float*>(scales.view().data),
                     {{memory.data(), format, rows, columns}, 0}, bias.view());
    expect_close(out.values(), expected, 1e-5, name(format) + ", " + std::to_string(tokens));
  });
}

TEST_F(LinearPacked, Fp8InputsMeetFp8Weights) {
  for (const DType format : {DType::kF8E4M3, DType::kFp8Tensor, DType::kFp8Channel}) {
    check_fp8(format, 1, 24, 256);
    check_fp8(format, 5, 16, 96);
    check_fp8(format, 9, 72, 64);
  }
  check_fp8(DType::kF8E4M3, 40, 70, 50);  // without scales any shape
}

TEST_F(LinearPacked, Fp8InputsOfOtherWeightsAreRefused) {
  EXPECT_THROW(check_fp8(DType::kFp8Block, 1, 8, 128), Error);
  EXPECT_THROW(check_fp8(DType::kInt8Channel, 1, 8, 64), Error);
}

}  // namespace
}  // namespace vramplan::cuda_test
