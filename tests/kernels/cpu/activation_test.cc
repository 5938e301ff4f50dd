#include <gtest/gtest.h>

#include <cmath>
#include <limits>

#include "kernels/cpu/cpu_ops.h"
#include "random_tensors.h"

namespace vramplan {
namespace {

double exact(GateKind kind, double x) {
  switch (kind) {
    case GateKind::kSilu:
      return x / (1.0 + std::exp(-x));
    case GateKind::kGelu:
      return 0.5 * x * (1.0 + std::erf(x / std::sqrt(2.0)));
    case GateKind::kGeluTanh:
      return 0.5 * x * (1.0 + std::tanh(std::sqrt(2.0 / M_PI) * (x + 0.044715 * x * x * x)));
    default:
      return x > 0 ? x : 0;
  }
}

/// Values from -200 to 200, dense near 0.
std::vector<float> many_values() {
  std::vector<float> out;
  for (float x = -200.0F; x <= 200.0F; x += 0.37F) out.push_back(x);
  for (float x = -6.0F; x <= 6.0F; x += 0.003F) out.push_back(x);
  return out;  // no multiple of a vector
}

TEST(Activation, EveryKindWithAndWithoutUp) {
  const auto ops = make_cpu_ops(2);
  for (const GateKind kind :
       {GateKind::kSilu, GateKind::kGelu, GateKind::kGeluTanh, GateKind::kRelu}) {
    const std::vector<float> x = many_values();
    const auto n = static_cast<std::int64_t>(x.size());
    std::vector<float> up = random_floats(n, 3), gated = x, plain = x;
    ops->gated_activation(view(gated, 1, n), view(up, 1, n), kind);
    ops->gated_activation(view(plain, 1, n), {}, kind);
    for (std::size_t i = 0; i < x.size(); ++i) {
      const double expected = exact(kind, static_cast<double>(x[i]));
      const double tolerance = 4e-7 * (1 + std::fabs(static_cast<double>(x[i])));
      ASSERT_NEAR(static_cast<double>(plain[i]), expected, tolerance) << "x = " << x[i];
      ASSERT_NEAR(static_cast<double>(gated[i]), expected * static_cast<double>(up[i]),
                  tolerance * 5);
    }
  }
}

TEST(Activation, SoftcapAndItsLimits) {
  const auto ops = make_cpu_ops(1);
  std::vector<float> x = many_values();
  const std::vector<float> before = x;
  ops->softcap(view(x, 1, static_cast<std::int64_t>(x.size())), 30.0F);
  for (std::size_t i = 0; i < x.size(); ++i) {
    ASSERT_NEAR(static_cast<double>(x[i]), 30.0 * std::tanh(static_cast<double>(before[i]) / 30.0),
                1e-5);
  }
}

TEST(Activation, NanStaysNan) {
  const auto ops = make_cpu_ops(1);
  for (const GateKind kind :
       {GateKind::kSilu, GateKind::kGelu, GateKind::kGeluTanh, GateKind::kRelu}) {
    std::vector<float> x(40, std::numeric_limits<float>::quiet_NaN());
    ops->gated_activation(view(x, 1, 40), {}, kind);
    for (const float v : x) EXPECT_TRUE(std::isnan(v));
  }
}

}  // namespace
}  // namespace vramplan
