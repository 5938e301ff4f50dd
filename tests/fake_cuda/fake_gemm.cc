// The GEMM library of FakeRuntime: plain loops.
#include <vector>

#include "kernels/cpu/half.h"
#include "tests/fake_cuda/fake_stream.h"

namespace vramplan::cuda {
namespace {

constexpr double kFlopsPerSecond = 5e14;

float load(const TensorView& t, std::int64_t at) {
  switch (t.dtype) {
    case DType::kF32:
      return static_cast<const float*>(t.data)[at];
    case DType::kF16:
      return cpu::f16_to_f32(static_cast<const std::uint16_t*>(t.data)[at]);
    case DType::kF8E4M3:
      return cpu::f8_to_f32(static_cast<const std::uint8_t*>(t.data)[at]);
    default:
      return cpu::bf16_to_f32(static_cast<const std::uint16_t*>(t.data)[at]);
  }
}

void store(const TensorView& t, std::int64_t at, float value) {
  switch (t.dtype) {
    case DType::kF32:
      static_cast<float*>(t.data)[at] = value;
      return;
    case DType::kF16:
      static_cast<std::uint16_t*>(t.data)[at] = cpu::f32_to_f16(value);
      return;
    default:
      static_cast<std::uint16_t*>(t.data)[at] = cpu::f32_to_bf16(value);
  }
}

std::vector<float> values_of(const TensorView& t) {
  std::vector<float> values(static_cast<std::size_t>(t.rows * t.columns));
  for (std::size_t i = 0; i < values.size(); ++i) {
    values[i] = load(t, static_cast<std::int64_t>(i));
  }
  return values;
}

void multiply(const Gemm& call) {
  const std::vector<float> in = values_of(call.in), weight = values_of(call.weight);
  for (std::int64_t t = 0; t < call.in.rows; ++t) {
    const float* const x = in.data() + t * call.in.columns;
    for (std::int64_t o = 0; o < call.weight.rows; ++o) {
      const float* const w = weight.data() + o * call.in.columns;
      float sum = 0;
      for (std::int64_t i = 0; i < call.in.columns; ++i) sum += x[i] * w[i];
      if (call.in_scales != nullptr) sum *= call.in_scales[t] * call.weight_scales[o];
      store(call.out, t * call.out_stride + o, sum);
    }
  }
}

bool is_16_or_32_bit_float(DType dtype) {
  return dtype == DType::kF32 || dtype == DType::kF16 || dtype == DType::kBF16;
}

}  // namespace

void FakeRuntime::make_gemm() {
  enter("cublasLtCreate");
  Device& d = device();
  if (d.gemm) return;
  d.gemm = true;
  take(d, d.facts.gemm, "cublasLtCreate");
}

void FakeRuntime::gemm(Stream stream, const Gemm& call) {
  enter("cublasLtMatmul");
  VRAMPLAN_CHECK(devices_[static_cast<std::size_t>(current_)].gemm);
  const bool fp8 = call.in.dtype == DType::kF8E4M3;
  VRAMPLAN_CHECK(call.in.dtype == call.weight.dtype);
  VRAMPLAN_CHECK(fp8 == (call.in_scales != nullptr) && fp8 == (call.weight_scales != nullptr));
  VRAMPLAN_CHECK(is_16_or_32_bit_float(call.out.dtype) &&
                 (fp8 || call.out.dtype == call.in.dtype || call.out.dtype == DType::kF32));
  VRAMPLAN_CHECK(call.in.columns == call.weight.columns && call.out.rows == call.in.rows);
  VRAMPLAN_CHECK(call.out.columns == call.weight.rows && call.out_stride >= call.out.columns);
  for (const TensorView& t : {call.in, call.weight, call.workspace}) {
    check_range(t.data, t.bytes(), true, "cublasLtMatmul");
  }
  const double flops = 2.0 * static_cast<double>(call.in.rows) *
                       static_cast<double>(call.weight.rows) * static_cast<double>(call.in.columns);
  push(*static_cast<StreamState*>(stream.handle),
       {nullptr, [call] { multiply(call); }, 2e-6 + flops / kFlopsPerSecond});
}

}  // namespace vramplan::cuda
