#pragma once
// What tests of CUDA kernels stand on. The same test files are built twice: over the CPU's fibers
// (tests/simt) and, with VRAMPLAN_TEST_ON_GPU, for a device (tests/gpu). Inputs are rounded to
// their dtype, references are computed in double from the rounded inputs.
#include <gtest/gtest.h>

#include <cmath>
#include <cstdlib>
#include <cstring>
#include <functional>
#include <random>
#include <string>
#include <vector>

#include "float_bits.h"
#include "kernels/cuda/kernels.h"
#if VRAMPLAN_TEST_ON_GPU
#include "gpu_memory.h"
#else
#include "fiber_memory.h"
#endif

namespace vramplan::cuda_test {

using Values = std::vector<double>;

/// Skips with the reason when there is no device; on fibers there always is.
class CudaKernel : public ::testing::Test {
 protected:
  void SetUp() override {
    const std::string why = why_no_device();
    if (!why.empty()) GTEST_SKIP() << why;
  }
};

inline std::vector<std::uint8_t> encode(DType dtype, const std::vector<float>& values) {
  std::vector<std::uint8_t> bytes(
      static_cast<std::size_t>(bytes_of(dtype, 1, static_cast<std::int64_t>(values.size())).n));
  for (std::size_t i = 0; i < values.size(); ++i) {
    if (dtype == DType::kF32) {
      std::memcpy(&bytes[4 * i], &values[i], 4);
    } else if (dtype == DType::kF8E4M3) {
      bytes[i] = simt::f32_to_e4m3(values[i]);
    } else {
      const std::uint16_t half =
          dtype == DType::kF16 ? simt::f32_to_f16(values[i]) : simt::f32_to_bf16(values[i]);
      std::memcpy(&bytes[2 * i], &half, 2);
    }
  }
  return bytes;
}

inline Values decode(DType dtype, const std::vector<std::uint8_t>& bytes) {
  const auto size = static_cast<std::size_t>(info(dtype).block_bytes);
  Values values(bytes.size() / size);
  for (std::size_t i = 0; i < values.size(); ++i) {
    float f = 0;
    std::uint16_t half = 0;
    if (dtype == DType::kF32) std::memcpy(&f, &bytes[4 * i], 4);
    if (size == 2) std::memcpy(&half, &bytes[2 * i], 2);
    if (dtype == DType::kF16) f = simt::f16_to_f32(half);
    if (dtype == DType::kBF16) f = simt::bf16_to_f32(half);
    if (dtype == DType::kF8E4M3) f = simt::e4m3_to_f32(bytes[i]);
    values[i] = f;
  }
  return values;
}

/// An array of plain values on the device.
template <class T>
class Array {
 public:
  explicit Array(const std::vector<T>& values) : memory_(values.size() * sizeof(T)) {
    memory_.write(values.data(), values.size() * sizeof(T));
    count_ = values.size();
  }
  explicit Array(std::size_t count) : memory_(count * sizeof(T)), count_(count) {}
  T* data() const { return static_cast<T*>(memory_.data()); }
  std::vector<T> read() const {
    std::vector<T> values(count_);
    memory_.read(values.data(), count_ * sizeof(T));
    return values;
  }
  void write(const std::vector<T>& values) { memory_.write(values.data(), count_ * sizeof(T)); }

 private:
  Memory memory_;
  std::size_t count_ = 0;
};

/// A tensor on the device: of given values, or not written yet (NaN).
class Tensor {
 public:
  Tensor(DType dtype, std::int64_t rows, std::int64_t columns, const std::vector<float>& values)
      : Tensor(dtype, rows, columns) {
    set(values);
  }
  Tensor(DType dtype, std::int64_t rows, std::int64_t columns)
      : memory_(static_cast<std::size_t>(bytes_of(dtype, rows, columns).n)),
        view_{memory_.data(), dtype, rows, columns} {}

  void set(const std::vector<float>& values) {
    const auto bytes = encode(view_.dtype, values);
    memory_.write(bytes.data(), bytes.size());
  }
  void set_bytes(const std::vector<std::uint8_t>& bytes) {
    memory_.write(bytes.data(), bytes.size());
  }
  std::vector<std::uint8_t> bytes() const {
    std::vector<std::uint8_t> out(static_cast<std::size_t>(view_.bytes().n));
    memory_.read(out.data(), out.size());
    return out;
  }
  Values values() const { return decode(view_.dtype, bytes()); }
  const TensorView& view() const { return view_; }

 private:
  Memory memory_;
  TensorView view_;
};

inline std::vector<float> normal(std::int64_t n, std::uint32_t seed, float deviation = 1.0F) {
  std::mt19937 engine(seed);
  std::normal_distribution<float> distribution(0.0F, deviation);
  std::vector<float> out(static_cast<std::size_t>(n));
  for (float& x : out) x = distribution(engine);
  return out;
}

/// Relative rounding of a result kept in `dtype`, with room for f32 sums of a few thousand terms.
inline double tolerance_of(DType dtype) {
  if (dtype == DType::kF16) return 1.0e-3;
  if (dtype == DType::kBF16) return 8.0e-3;
  return 1.0e-5;
}

/// |actual - expected| <= tolerance * (|expected| + root mean square of all expected); NaN fails.
inline void expect_close(const Values& actual, const Values& expected, double tolerance,
                         const std::string& what) {
  ASSERT_EQ(actual.size(), expected.size()) << what;
  double square = 0;
  for (const double x : expected) square += x * x;
  const double scale = std::sqrt(square / static_cast<double>(expected.size()));
  double worst = 0;
  std::size_t at = 0;
  for (std::size_t i = 0; i < expected.size(); ++i) {
    const double error =
        std::abs(actual[i] - expected[i]) / (std::abs(expected[i]) + scale + 1e-30);
    if (!(error <= worst)) worst = error, at = i;
  }
  EXPECT_TRUE(worst <= tolerance) << what << ": element " << at << " is " << actual[at]
                                  << ", expected " << expected[at] << ", " << worst << " > "
                                  << tolerance;
}

inline constexpr DType kActivations[] = {DType::kF32, DType::kF16, DType::kBF16};
inline std::string name(DType dtype) { return info(dtype).name; }
inline double at(const Values& v, std::int64_t i) { return v[static_cast<std::size_t>(i)]; }

}  // namespace vramplan::cuda_test
