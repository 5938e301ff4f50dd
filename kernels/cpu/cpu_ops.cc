#include "kernels/cpu/cpu_ops.h"

#include <cstdlib>
#include <new>
#include <string>

#include "kernels/workspace.h"

namespace vramplan {

std::unique_ptr<Ops> make_cpu_ops(int threads, DType linear_inputs) {
  return std::make_unique<cpu::CpuOps>(threads, linear_inputs);
}

namespace cpu {

void CpuOps::Free::operator()(void* p) const { std::free(p); }

CpuOps::CpuOps(int threads, DType linear_inputs) : pool_(threads), linear_inputs_(linear_inputs) {
  if (linear_inputs != DType::kI8 && linear_inputs != DType::kF32 &&
      linear_inputs != DType::kF8E4M3) {
    throw Error(ErrorCode::kUsage,
                std::string("linear inputs of format ") + info(linear_inputs).name)
        .help("int8, f32 or fp8");
  }
  const auto bytes = static_cast<std::size_t>(kScratchBytes) * static_cast<std::size_t>(threads);
  scratch_.reset(static_cast<float*>(std::aligned_alloc(4096, bytes)));
  if (scratch_ == nullptr) throw std::bad_alloc();
}

Bytes CpuOps::linear_workspace(std::int64_t tokens, std::int64_t in_features, DType weight) const {
  return cpu::linear_workspace(tokens, in_features, weight, linear_inputs_, pool_.size());
}

Bytes CpuOps::attention_workspace(std::span<const SequenceSlice> slices, const KvLayerView& kv,
                                  const AttentionParams& params) const {
  return cpu::attention_workspace(slices, kv.value_dim, params, pool_.size());
}

void CpuOps::add(TensorView x, TensorView y) {
  VRAMPLAN_CHECK(x.rows == y.rows && x.columns == y.columns);
  float* a = f32_data(x);
  const float* b = f32_data(y);
  for_rows(x.rows, x.columns, [&](std::int64_t first, std::int64_t last) {
    for (std::int64_t i = first * x.columns; i < last * x.columns; ++i) a[i] += b[i];
  });
}

void CpuOps::gather_rows(TensorView out, TensorView x, std::span<const std::int32_t> rows) {
  VRAMPLAN_CHECK(out.columns == x.columns && out.rows == static_cast<std::int64_t>(rows.size()));
  float* to = f32_data(out);
  const float* from = f32_data(x);
  for (std::int64_t i = 0; i < out.rows; ++i) {
    const std::int64_t row = rows[static_cast<std::size_t>(i)];
    VRAMPLAN_CHECK(row >= 0 && row < x.rows);
    for (std::int64_t c = 0; c < x.columns; ++c) to[i * x.columns + c] = from[row * x.columns + c];
  }
}

}  // namespace cpu
}  // namespace vramplan
