#include <cmath>

#include "harness.h"

namespace vramplan::cuda_test {
namespace {

class Elementwise : public CudaKernel {};

double activated(GateKind kind, double x) {
  switch (kind) {
    case GateKind::kSilu:
      return x / (1 + std::exp(-x));
    case GateKind::kGelu:
      return 0.5 * x * (1 + std::erf(x / std::sqrt(2.0)));
    case GateKind::kGeluTanh:
      return 0.5 * x *
             (1 + std::tanh(std::sqrt(2 / 3.14159265358979) * (x + 0.044715 * x * x * x)));
    case GateKind::kRelu:
      return x > 0 ? x : 0;
  }
  return 0;
}

TEST_F(Elementwise, GatedActivationsAreThoseOfTheirDefinitions) {
  for (const DType dtype : kActivations) {
    for (const GateKind kind :
         {GateKind::kSilu, GateKind::kGelu, GateKind::kGeluTanh, GateKind::kRelu}) {
      for (const bool gated : {true, false}) {
        for_each_schedule([&] {
          Tensor gate(dtype, 3, 101, normal(303, 1, 2.0F)), up(dtype, 3, 101, normal(303, 2));
          Values expected = gate.values();
          for (std::size_t i = 0; i < expected.size(); ++i) {
            expected[i] = activated(kind, expected[i]) * (gated ? up.values()[i] : 1.0);
          }
          cuda::gated_activation({}, gate.view(), gated ? up.view() : TensorView{}, kind);
          expect_close(gate.values(), expected, tolerance_of(dtype), name(dtype));
        });
      }
    }
  }
}

TEST_F(Elementwise, SumsBiasesAndCaps) {
  for (const DType dtype : kActivations) {
    for_each_schedule([&] {
      Tensor x(dtype, 5, 77, normal(385, 3)), y(dtype, 5, 77, normal(385, 4));
      Tensor bias(DType::kF32, 1, 77, normal(77, 5));
      Values sum = x.values();
      for (std::size_t i = 0; i < sum.size(); ++i) sum[i] += y.values()[i];
      cuda::add({}, x.view(), y.view());
      expect_close(x.values(), sum, tolerance_of(dtype), "add " + name(dtype));
      Values biased = x.values();
      for (std::size_t i = 0; i < biased.size(); ++i) biased[i] += bias.values()[i % 77];
      cuda::add_bias({}, x.view(), bias.view());
      expect_close(x.values(), biased, tolerance_of(dtype), "add_bias " + name(dtype));
      Values capped = x.values();
      for (double& v : capped) v = 2.5 * std::tanh(v / 2.5);
      cuda::softcap({}, x.view(), 2.5F);
      expect_close(x.values(), capped, tolerance_of(dtype), "softcap " + name(dtype));
    });
  }
}

TEST_F(Elementwise, MoreElementsThanTheGridHasThreads) {
  const std::int64_t n = 4096 * 256 + 3;
  Tensor x(DType::kF32, 1, n, normal(n, 6)), y(DType::kF32, 1, n, normal(n, 7));
  Values sum = x.values();
  const Values other = y.values();
  for (std::size_t i = 0; i < sum.size(); ++i) sum[i] += other[i];
  cuda::add({}, x.view(), y.view());
  expect_close(x.values(), sum, 1e-6, "add");
}

TEST_F(Elementwise, NothingToDoAndUnknownDtypes) {
  cuda::add({}, {nullptr, DType::kF32, 0, 8}, {nullptr, DType::kF32, 0, 8});
  Tensor codes(DType::kF8E4M3, 1, 32);
  EXPECT_THROW(cuda::softcap({}, codes.view(), 1.0F), Error);
}

}  // namespace
}  // namespace vramplan::cuda_test
