#include <algorithm>
#include <limits>
#include <numeric>

#include "harness.h"

namespace vramplan::cuda_test {
namespace {

class Sample : public CudaKernel {};

constexpr float kInfinity = std::numeric_limits<float>::infinity();

std::vector<std::int32_t> draw(const std::vector<float>& logits, std::int64_t vocab,
                               const std::vector<float>& uniform, float temperature, float top_p) {
  const auto rows = static_cast<std::int64_t>(uniform.size());
  const Tensor device(DType::kF32, rows, vocab, logits);
  const Array<float> u(uniform);
  const Array<std::int32_t> ids(uniform.size());
  cuda::sample({}, ids.data(), device.view(), u.data(), temperature, top_p, {});
  return ids.read();
}

/// The distribution by sorting: (id, probability after the cut), most probable first.
std::vector<std::pair<std::int32_t, double>> nucleus(const std::vector<float>& logits,
                                                     double temperature, double top_p) {
  std::vector<std::int32_t> order(logits.size());
  std::iota(order.begin(), order.end(), 0);
  std::stable_sort(order.begin(), order.end(), [&](std::int32_t a, std::int32_t b) {
    return logits[static_cast<std::size_t>(a)] > logits[static_cast<std::size_t>(b)];
  });
  const double highest = logits[static_cast<std::size_t>(order[0])];
  double total = 0, kept = 0;
  for (const float l : logits) total += std::exp((static_cast<double>(l) - highest) / temperature);
  std::vector<std::pair<std::int32_t, double>> out;
  for (const std::int32_t id : order) {
    const double p =
        std::exp((static_cast<double>(logits[static_cast<std::size_t>(id)]) - highest) /
                 temperature) /
        total;
    out.emplace_back(id, p);
    kept += p;
    if (top_p < 1 && kept >= top_p) break;
  }
  for (auto& [id, p] : out) p /= kept;
  return out;
}

TEST_F(Sample, GreedyTakesTheFirstLargest) {
  std::vector<float> logits = normal(3 * 700, 1);
  logits[5] = logits[600] = 50.0F;
  logits[700 + 699] = 60.0F;
  std::fill(logits.begin() + 1400, logits.end(), -3.5F);
  for_each_schedule([&] {
    EXPECT_EQ(draw(logits, 700, {0.9F, 0.9F, 0.9F}, 0.0F, 1.0F),
              (std::vector<std::int32_t>{5, 699, 0}));
  });
}

TEST_F(Sample, DrawsAreThoseOfTheSortedDistribution) {
  for (const float top_p : {1.0F, 0.9F, 0.3F, 0.001F}) {
    for (const float temperature : {0.5F, 1.0F, 2.0F}) {
      const std::int64_t vocab = 300;
      std::vector<float> logits = normal(vocab, 2, 2.0F);
      for (std::size_t i = 100; i < 150; ++i) logits[i] = logits[7];  // equal ones
      logits[3] = -kInfinity;
      const auto expected = nucleus(logits, temperature, top_p);
      // The middle of every token's interval, and thus every token that can be drawn.
      std::vector<float> uniform, rows;
      std::vector<std::int32_t> ids;
      double sum = 0;
      for (const auto& [id, p] : expected) {
        if (p > 1e-5) {
          uniform.push_back(static_cast<float>(sum + p / 2));
          ids.push_back(id);
          rows.insert(rows.end(), logits.begin(), logits.end());
        }
        sum += p;
        if (ids.size() >= 24) break;
      }
      for_each_schedule([&] {
        EXPECT_EQ(draw(rows, vocab, uniform, temperature, top_p), ids)
            << "top_p " << top_p << " temperature " << temperature;
      });
    }
  }
}

TEST_F(Sample, TheEndsOfTheUnitInterval) {
  const std::vector<float> logits = {1.0F, 3.0F, -2.0F, 2.0F, 1.0F, 3.0F, -2.0F, 2.0F};
  for_each_schedule([&] {
    EXPECT_EQ(draw(logits, 4, {0.0F, 0.99999994F}, 1.0F, 1.0F), (std::vector<std::int32_t>{1, 2}));
    EXPECT_EQ(draw(logits, 4, {0.0F, 0.99999994F}, 1.0F, 0.8F), (std::vector<std::int32_t>{1, 3}));
  });
}

TEST_F(Sample, NegativeZeroAndZeroAreEqualLogits) {
  const std::vector<float> logits = {-5.0F, 0.0F, -0.0F, -5.0F};
  for_each_schedule([&] {
    EXPECT_EQ(draw(logits, 4, {0.1F}, 0.0F, 1.0F)[0], 1);
    EXPECT_EQ(draw(logits, 4, {0.8F}, 1.0F, 1.0F)[0], 2);
  });
}

TEST_F(Sample, LogitsThatAreNoNumbersGiveNoToken) {
  std::vector<float> logits = normal(4 * 40, 3);
  logits[17] = std::nanf("");
  logits[40 + 39] = kInfinity;
  std::fill(logits.begin() + 80, logits.begin() + 120, -kInfinity);
  for_each_schedule([&] {
    for (const float temperature : {0.0F, 1.0F}) {
      const auto ids = draw(logits, 40, {0.5F, 0.5F, 0.5F, 0.5F}, temperature, 0.9F);
      EXPECT_EQ(ids[0], -1);
      EXPECT_EQ(ids[1], -1);
      EXPECT_EQ(ids[2], -1);
      EXPECT_GE(ids[3], 0);
    }
  });
}

}  // namespace
}  // namespace vramplan::cuda_test
