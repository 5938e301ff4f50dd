#pragma once
// Products of HostKernels, and what makes their operands.
#include "kernels/cuda/kernels.h"

namespace vramplan::cuda::host {

void linear(Stream stream, TensorView out, TensorView in, const WeightView& weight,
            TensorView bias);
void quantise_rows(Stream stream, TensorView out, float* scales, TensorView in,
                   float* weight_scales, const TensorView& weight);
void linear_fp8(Stream stream, TensorView out, TensorView in, const float* in_scales,
                const WeightView& weight, TensorView bias);
void dequantise(Stream stream, TensorView out, const WeightView& weight);
void add_bias(Stream stream, TensorView x, TensorView bias);

}  // namespace vramplan::cuda::host
