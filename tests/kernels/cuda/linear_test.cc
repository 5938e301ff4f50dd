#include "weights.h"

namespace vramplan::cuda_test {
namespace {

class Linear : public CudaKernel {};

Values product(const Values& in, const Values& weight, const Values& bias, std::int64_t tokens,
               std::int64_t n, std::int64_t m) {
  Values out;
  for (std::int64_t t = 0; t < tokens; ++t) {
    for (std::int64_t o = 0; o < m; ++o) {
      double sum = bias.empty() ? 0.0 : at(bias, o);
      for (std::int64_t i = 0; i < n; ++i) sum += at(in, t * n + i) * at(weight, o * n + i);
      out.push_back(sum);
    }
  }
  return out;
}

struct Case {
  DType format, in, out;
  std::int64_t tokens, rows, columns;
  bool bias;
};

void check(const Case& c) {
  const DeviceWeight weight(c.format, c.rows, c.columns, 1);
  const Tensor in(c.in, c.tokens, c.columns, normal(c.tokens * c.columns, 2));
  const Tensor bias(DType::kF32, 1, c.rows, normal(c.rows, 3));
  const Values expected = product(in.values(), weight.values, c.bias ? bias.values() : Values{},
                                  c.tokens, c.columns, c.rows);
  const std::string what = name(c.format) + " " + name(c.in) + " to " + name(c.out) + ", " +
                           std::to_string(c.tokens) + " tokens, " + std::to_string(c.rows) + " x " +
                           std::to_string(c.columns);
  for_each_schedule([&] {
    Tensor out(c.out, c.tokens, c.rows);
    cuda::linear({}, out.view(), in.view(), weight.view(), c.bias ? bias.view() : TensorView{});
    expect_close(out.values(), expected, tolerance_of(c.out), what);
  });
}

TEST_F(Linear, EveryFormatForOneToken) {
  for (const DType format : kCudaWeights) {
    check({format, DType::kF32, DType::kF32, 1, 11, whole_blocks(format, 300), true});
    check({format, DType::kBF16, DType::kF32, 1, 5, whole_blocks(format, 96), false});
  }
}

TEST_F(Linear, EveryFormatForManyTokens) {
  for (const DType format : kCudaWeights) {
    check({format, DType::kF32, DType::kF32, 9, 70, whole_blocks(format, 64), true});
  }
}

/// Every kernel there is: formats by tokens of a vector product, and by tiles of a matrix product.
TEST_F(Linear, EveryInstance) {
  for (const DType format : kCudaWeights) {
    for (const std::int64_t tokens : {2, 4, 8, 33}) {
      check({format, DType::kF32, DType::kF32, tokens, 5, whole_blocks(format, 32), false});
    }
  }
}

TEST_F(Linear, EveryTokenCountAroundTheTiles) {
  for (const std::int64_t tokens : {2, 3, 4, 5, 8, 9, 32, 33, 65}) {
    check({DType::kQ4_1, DType::kF32, DType::kF32, tokens, 19, 64, true});
    check({DType::kF16, DType::kF16, DType::kF16, tokens, 9, 40, false});
  }
}

TEST_F(Linear, EveryActivationTypeInAndOut) {
  for (const DType in : kActivations) {
    for (const DType out : kActivations) {
      check({DType::kQ8_0, in, out, 1, 9, 64, true});
      check({DType::kQ6_K, in, out, 12, 9, 256, true});
    }
  }
}

TEST_F(Linear, RowsLongerThanTheStagedChunk) {
  check({DType::kQ4_0, DType::kF32, DType::kF32, 1, 3, 2 * 1024 + 32, false});
  check({DType::kBF16, DType::kBF16, DType::kF32, 3, 2, 1024 + 4, false});
  check({DType::kQ4_K, DType::kF32, DType::kF32, 2, 9, 1024 + 256, false});
}

TEST_F(Linear, RowsThatEndInsideASubBlock) {
  for (const std::int64_t n : {24, 33, 50}) {
    check({DType::kF32, DType::kF32, DType::kF32, 1, 7, n, false});
    check({DType::kF16, DType::kF32, DType::kF32, 10, 7, n, false});
    check({DType::kF8E4M3, DType::kF32, DType::kF32, 2, 7, n, false});
  }
}

TEST_F(Linear, UnknownFormatsAndActivationsAreRefused) {
  Tensor weight(DType::kI8, 4, 32), in(DType::kF32, 1, 32), out(DType::kF32, 1, 4);
  EXPECT_THROW(cuda::linear({}, out.view(), in.view(), {weight.view(), 0}, {}), Error);
  Tensor plain(DType::kF16, 4, 32), codes(DType::kF8E4M3, 1, 32);
  EXPECT_THROW(cuda::linear({}, out.view(), codes.view(), {plain.view(), 0}, {}), Error);
}

}  // namespace
}  // namespace vramplan::cuda_test
