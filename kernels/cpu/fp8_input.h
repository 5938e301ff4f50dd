#pragma once
// Activations as fp8 inputs of a product: a row's e4m3 codes times their scale, as values.
#include <cstdint>

namespace vramplan::cpu {

/// scale = max |x| / 448; out[i] = scale * e4m3(x[i] / scale), to the nearest, even of equals. A
/// row whose scale would be no normal number is zeros. NaN stays NaN; an infinity makes the row
/// NaN.
void round_row_to_fp8(const float* x, std::int64_t count, float* out);

}  // namespace vramplan::cpu
