#pragma once
// What kernels on the host stand on: the CPU operations in f32, the values of a tensor of the
// fake's memory, and work whose turn comes on a stream.
#include <functional>
#include <memory>
#include <span>
#include <utility>
#include <vector>

#include "kernels/cpu/cpu_ops.h"
#include "kernels/cpu/half.h"
#include "tests/fake_cuda/fake_runtime.h"

namespace vramplan::cuda::host {

inline Ops& math() {
  static const std::unique_ptr<Ops> ops = make_cpu_ops(1);
  return *ops;
}

/// The values of a device tensor as f32; written back by `done`.
class Values {
 public:
  explicit Values(const TensorView& t, bool read = true) : tensor_(t) {
    if (t.data == nullptr) return;
    const auto count = static_cast<std::size_t>(t.rows * t.columns);
    values_.resize(count);
    if (!read) return;
    for (std::size_t i = 0; i < count; ++i) values_[i] = load(i);
  }
  TensorView view() {
    return {values_.empty() ? nullptr : values_.data(), DType::kF32, tensor_.rows, tensor_.columns};
  }
  void done() const {
    for (std::size_t i = 0; i < values_.size(); ++i) store(i, values_[i]);
  }

 private:
  float load(std::size_t i) const {
    if (tensor_.dtype == DType::kF32) return static_cast<const float*>(tensor_.data)[i];
    const std::uint16_t bits = static_cast<const std::uint16_t*>(tensor_.data)[i];
    return tensor_.dtype == DType::kF16 ? cpu::f16_to_f32(bits) : cpu::bf16_to_f32(bits);
  }
  void store(std::size_t i, float value) const {
    if (tensor_.dtype == DType::kF32) {
      static_cast<float*>(tensor_.data)[i] = value;
      return;
    }
    static_cast<std::uint16_t*>(tensor_.data)[i] =
        tensor_.dtype == DType::kF16 ? cpu::f32_to_f16(value) : cpu::f32_to_bf16(value);
  }
  TensorView tensor_;
  std::vector<float> values_;
};

template <class T>
std::span<const T> span_of(const T* data, std::int64_t count) {
  return {data, static_cast<std::size_t>(count)};
}

inline void later(Stream stream, std::function<void()> work) {
  FakeRuntime::enqueue(stream, std::move(work));
}

}  // namespace vramplan::cuda::host
