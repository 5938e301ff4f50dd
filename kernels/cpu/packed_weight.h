#pragma once
// Rows of packed weights (kernels/packed_parts.h) as f32, a few at a time.
#include "kernels/packed_parts.h"
#include "kernels/tensor.h"

namespace vramplan::cpu {

/// out[count, columns] = rows row..row + count of the matrix. count <= 4.
void dequantise_packed(const TensorView& weight, std::int64_t row, int count, float* out);

}  // namespace vramplan::cpu
