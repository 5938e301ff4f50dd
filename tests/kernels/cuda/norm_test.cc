#include "harness.h"

namespace vramplan::cuda_test {
namespace {

class Norm : public CudaKernel {};

Values rms_reference(const Values& x, const Values& weight, double eps, double plus) {
  const std::size_t n = weight.size();
  Values out(x.size());
  for (std::size_t g = 0; g < x.size(); g += n) {
    double square = 0;
    for (std::size_t i = 0; i < n; ++i) square += x[g + i] * x[g + i];
    const double scale = 1 / std::sqrt(square / static_cast<double>(n) + eps);
    for (std::size_t i = 0; i < n; ++i) out[g + i] = x[g + i] * scale * (weight[i] + plus);
  }
  return out;
}

struct Shape {
  std::int64_t rows, columns, group;
};

TEST_F(Norm, RmsNormOfRowsAndOfHeads) {
  for (const Shape s : {Shape{3, 576, 576}, Shape{2, 64, 64}, Shape{5, 192, 64},
                        Shape{1, 1030, 1030}, Shape{3, 24, 8}, Shape{2, 513, 513}}) {
    for (const DType dtype : kActivations) {
      for_each_schedule([&] {
        Tensor x(dtype, s.rows, s.columns, normal(s.rows * s.columns, 1, 3.0F));
        Tensor weight(DType::kF32, 1, s.group, normal(s.group, 2));
        for (const bool plus : {false, true}) {
          Tensor out(dtype, s.rows, s.columns);
          cuda::rmsnorm({}, out.view(), x.view(), weight.view(), 1e-5F, plus);
          expect_close(out.values(), rms_reference(x.values(), weight.values(), 1e-5, plus ? 1 : 0),
                       tolerance_of(dtype), name(dtype) + " " + std::to_string(s.columns));
        }
        const Values expected = rms_reference(x.values(), weight.values(), 1e-5, 0);
        cuda::rmsnorm({}, x.view(), x.view(), weight.view(), 1e-5F, false);
        expect_close(x.values(), expected, tolerance_of(dtype), "in place");
      });
    }
  }
}

TEST_F(Norm, AddRmsNormIsAddThenRmsNormToTheBit) {
  for (const DType dtype : kActivations) {
    for (const std::int64_t n : {std::int64_t{576}, std::int64_t{1500}}) {
      for_each_schedule([&] {
        Tensor x(dtype, 3, n, normal(3 * n, 3)), p(dtype, 3, n, normal(3 * n, 4));
        Tensor twin(dtype, 3, n, normal(3 * n, 3));
        Tensor weight(DType::kF32, 1, n, normal(n, 5));
        Tensor out(dtype, 3, n), separate(dtype, 3, n);
        cuda::add_rmsnorm({}, out.view(), x.view(), p.view(), weight.view(), 1e-6F, true);
        cuda::add({}, twin.view(), p.view());
        EXPECT_EQ(x.bytes(), twin.bytes());
        expect_close(out.values(), rms_reference(twin.values(), weight.values(), 1e-6, 1),
                     tolerance_of(dtype), name(dtype));
      });
    }
  }
}

TEST_F(Norm, LayerNormWithALargeMean) {
  for (const DType dtype : kActivations) {
    for_each_schedule([&] {
      const std::int64_t n = 300;
      std::vector<float> values = normal(2 * n, 6);
      for (float& v : values) v += 20.0F;
      Tensor x(dtype, 2, n, values), out(dtype, 2, n);
      Tensor weight(DType::kF32, 1, n, normal(n, 7)), bias(DType::kF32, 1, n, normal(n, 8));
      const Values in = x.values(), w = weight.values(), b = bias.values();
      Values expected(in.size());
      for (std::int64_t r = 0; r < 2; ++r) {
        double mean = 0, variance = 0;
        for (std::int64_t i = 0; i < n; ++i) mean += at(in, r * n + i) / static_cast<double>(n);
        for (std::int64_t i = 0; i < n; ++i) {
          variance += std::pow(at(in, r * n + i) - mean, 2) / static_cast<double>(n);
        }
        for (std::int64_t i = 0; i < n; ++i) {
          expected[static_cast<std::size_t>(r * n + i)] =
              (at(in, r * n + i) - mean) / std::sqrt(variance + 1e-5) * at(w, i) + at(b, i);
        }
      }
      cuda::layernorm({}, out.view(), x.view(), weight.view(), bias.view(), 1e-5F);
      expect_close(out.values(), expected, 2 * tolerance_of(dtype), name(dtype));
    });
  }
}

}  // namespace
}  // namespace vramplan::cuda_test
