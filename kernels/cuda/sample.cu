#include "kernels/cuda/sample.cuh"

#include "kernels/cuda/launch_shape.h"

namespace vramplan::cuda::VRAMPLAN_KERNELS {

Bytes sample_workspace(std::int64_t rows, std::int64_t vocab) {
  VRAMPLAN_CHECK(rows >= 0 && vocab >= 0);
  return Bytes{0};  // a row's state fits into shared memory; probabilities are computed again
}

void sample(Stream stream, std::int32_t* ids, TensorView logits, const float* uniform,
            float temperature, float top_p, TensorView) {
  VRAMPLAN_CHECK(temperature >= 0 && top_p > 0 && top_p <= 1);
  VRAMPLAN_CHECK(logits.columns > 0);
  if (logits.dtype != DType::kF32) {
    unsupported("sample", std::string("version for ") + info(logits.dtype).name + " logits");
  }
  // 2^40 units for the largest probability: sums of 2^23 of them stay inside 64 bits.
  if (logits.columns > (1 << 23)) unsupported("sample", "version for so large a vocabulary");
  if (logits.rows == 0) return;
  dev::launch("sample", &sample_kernel, extent("sample", logits.rows), kSampleThreads, 0, stream,
              ids, static_cast<const float*>(logits.data), static_cast<int>(logits.columns),
              uniform, temperature, top_p);
}

}  // namespace vramplan::cuda::VRAMPLAN_KERNELS
