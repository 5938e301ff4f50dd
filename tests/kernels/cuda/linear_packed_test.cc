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

}  // namespace
}  // namespace vramplan::cuda_test
