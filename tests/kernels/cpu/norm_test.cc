#include <gtest/gtest.h>

#include <cmath>

#include "kernels/cpu/cpu_ops.h"
#include "random_tensors.h"

namespace vramplan {
namespace {

TEST(Norm, RmsnormOfRowsAndOfHeads) {
  for (const std::int64_t n : {1, 5, 64, 80, 576}) {
    for (const std::int64_t groups : {1, 3}) {
      for (const bool one_plus : {false, true}) {
        const auto ops = make_cpu_ops(2);
        const std::int64_t rows = 40, columns = n * groups;
        std::vector<float> x = random_floats(rows * columns, 1, 3.0F), w = random_floats(n, 2);
        std::vector<float> out(x.size(), NAN);
        ops->rmsnorm(view(out, rows, columns), view(x, rows, columns), view(w, 1, n), 1e-5F,
                     one_plus);
        for (std::int64_t g = 0; g < rows * groups; ++g) {
          double mean = 0;
          for (std::int64_t i = 0; i < n; ++i)
            mean += std::pow(static_cast<double>(x[static_cast<std::size_t>(g * n + i)]), 2);
          const double inverse = 1.0 / std::sqrt(mean / static_cast<double>(n) + 1e-5);
          for (std::int64_t i = 0; i < n; ++i) {
            const auto at = static_cast<std::size_t>(g * n + i);
            const double weight =
                static_cast<double>(w[static_cast<std::size_t>(i)]) + (one_plus ? 1 : 0);
            const double expected = static_cast<double>(x[at]) * inverse * weight;
            ASSERT_NEAR(static_cast<double>(out[at]), expected, 1e-6 * (1 + std::fabs(expected)));
          }
        }
        ops->rmsnorm(view(x, rows, columns), view(x, rows, columns), view(w, 1, n), 1e-5F,
                     one_plus);
        EXPECT_EQ(x, out) << "in place";
      }
    }
  }
}

TEST(Norm, LayernormSubtractsTheMean) {
  for (const std::int64_t n : {1, 7, 96, 768}) {
    const auto ops = make_cpu_ops(3);
    const std::int64_t rows = 30;
    std::vector<float> x = random_floats(rows * n, 1), w = random_floats(n, 2),
                       b = random_floats(n, 3);
    for (float& v : x) v += 10.0F;
    std::vector<float> out(x.size(), NAN);
    ops->layernorm(view(out, rows, n), view(x, rows, n), view(w, 1, n), view(b, 1, n), 1e-5F);
    for (std::int64_t r = 0; r < rows; ++r) {
      double mean = 0, variance = 0;
      for (std::int64_t i = 0; i < n; ++i)
        mean +=
            static_cast<double>(x[static_cast<std::size_t>(r * n + i)]) / static_cast<double>(n);
      for (std::int64_t i = 0; i < n; ++i) {
        variance +=
            std::pow(static_cast<double>(x[static_cast<std::size_t>(r * n + i)]) - mean, 2) /
            static_cast<double>(n);
      }
      for (std::int64_t i = 0; i < n; ++i) {
        const auto at = static_cast<std::size_t>(r * n + i), c = static_cast<std::size_t>(i);
        const double expected = (static_cast<double>(x[at]) - mean) / std::sqrt(variance + 1e-5) *
                                    static_cast<double>(w[c]) +
                                static_cast<double>(b[c]);
        ASSERT_NEAR(static_cast<double>(out[at]), expected, 2e-5 * (1 + std::fabs(expected)));
      }
    }
    std::vector<float> without(x.size());
    ops->layernorm(view(without, rows, n), view(x, rows, n), view(w, 1, n), {}, 1e-5F);
    EXPECT_NEAR(without[0] + b[0], out[0], 1e-5F);
  }
}

}  // namespace
}  // namespace vramplan
