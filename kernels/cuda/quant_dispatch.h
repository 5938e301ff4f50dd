#pragma once
// From a weight's dtype to the template that reads it. Host only.
#include "kernels/cuda/launch_shape.h"

namespace vramplan::cuda::VRAMPLAN_KERNELS {

template <DType F>
struct Format {
  static constexpr DType value = F;
};

/// f(Format<dtype>) for every weight format that quant.cuh reads. Errors: kUnsupported.
template <class F>
void with_format(const char* kernel, DType dtype, F&& f) {
  switch (dtype) {
    case DType::kF32:
      return f(Format<DType::kF32>{});
    case DType::kF16:
      return f(Format<DType::kF16>{});
    case DType::kBF16:
      return f(Format<DType::kBF16>{});
    case DType::kF8E4M3:
      return f(Format<DType::kF8E4M3>{});
    case DType::kQ4_0:
      return f(Format<DType::kQ4_0>{});
    case DType::kQ4_1:
      return f(Format<DType::kQ4_1>{});
    case DType::kQ5_0:
      return f(Format<DType::kQ5_0>{});
    case DType::kQ5_1:
      return f(Format<DType::kQ5_1>{});
    case DType::kQ8_0:
      return f(Format<DType::kQ8_0>{});
    case DType::kQ2_K:
      return f(Format<DType::kQ2_K>{});
    case DType::kQ3_K:
      return f(Format<DType::kQ3_K>{});
    case DType::kQ4_K:
      return f(Format<DType::kQ4_K>{});
    case DType::kQ5_K:
      return f(Format<DType::kQ5_K>{});
    case DType::kQ6_K:
      return f(Format<DType::kQ6_K>{});
    default:
      unsupported(kernel, std::string("version for ") + info(dtype).name + " weights");
  }
}

/// A weight as kernels take it.
struct WeightRows {
  const std::uint8_t* data = nullptr;
  std::int64_t rows = 0, columns = 0, row_bytes = 0;
  bool vector = false;  // plain rows start at multiples of four elements
};

inline WeightRows weight_rows(const char* kernel, TensorView weight) {
  VRAMPLAN_CHECK(aligned(weight.data, 16));
  WeightRows rows;
  rows.data = static_cast<const std::uint8_t*>(weight.data);
  rows.rows = weight.rows;
  rows.columns = weight.columns;
  rows.row_bytes = bytes_of(weight.dtype, 1, weight.columns).n;
  rows.vector = weight.columns % 4 == 0;
  // q4_1, q5_1, q2_k, q4_k and q5_k are read in words of four bytes, their blocks are multiples of
  // it.
  if (weight.columns <= 0) unsupported(kernel, "version for rows of no elements");
  return rows;
}

}  // namespace vramplan::cuda::VRAMPLAN_KERNELS
