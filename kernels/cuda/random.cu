#include "kernels/cuda/random.cuh"

#include "kernels/cuda/launch_shape.h"

namespace vramplan::cuda::VRAMPLAN_KERNELS {
namespace {

/// Where a format keeps its f16 fields, and the largest |value| of random codes when they are 1.
struct RandomFormat {
  DType dtype;
  int field_offset, fields;
  float largest;
};
constexpr RandomFormat kRandomFormats[] = {
    {DType::kQ4_0, 0, 1, 8},
    {DType::kQ4_1, 0, 2, 15 + 1},
    {DType::kQ5_0, 0, 1, 16},
    {DType::kQ5_1, 0, 2, 31 + 1},
    {DType::kQ8_0, 0, 1, 128},
    {DType::kQ2_K, 80, 2, 15 * 3 + 15},
    {DType::kQ3_K, 108, 1, 32 * 4},
    {DType::kQ4_K, 0, 2, 63 * 15 + 63},
    {DType::kQ5_K, 0, 2, 63 * 31 + 63},
    {DType::kQ6_K, 208, 1, 128 * 32},
};

void fill_blocks(Stream stream, TensorView out, std::uint64_t seed, float range) {
  for (const RandomFormat& format : kRandomFormats) {
    if (format.dtype != out.dtype) continue;
    BlockFields fields;
    fields.block_bytes = static_cast<int>(info(out.dtype).block_bytes);
    fields.field_offset = format.field_offset;
    fields.fields = format.fields;
    fields.scale = range / format.largest * 0.999F;  // f16 may round it up
    const std::int64_t blocks = out.bytes().n / fields.block_bytes;
    dev::launch("fill_random", &fill_random_blocks_kernel, grid_stride_blocks(blocks, 256), 256, 0,
                stream, static_cast<std::uint8_t*>(out.data), blocks, seed, fields);
    return;
  }
  unsupported("fill_random", std::string("version for ") + info(out.dtype).name);
}

}  // namespace

void fill_random(Stream stream, TensorView out, std::uint64_t name_hash, float range) {
  VRAMPLAN_CHECK(range > 0);
  const std::int64_t n = out.rows * out.columns;
  if (n == 0) return;
  if (is_block_quantised(out.dtype)) return fill_blocks(stream, out, name_hash, range);
  with_plain("fill_random", out.dtype, [&](auto tag) {
    using T = typename decltype(tag)::type;
    dev::launch("fill_random", &fill_random_kernel<T>, grid_stride_blocks(n, 256), 256, 0, stream,
                static_cast<T*>(out.data), n, name_hash, range);
  });
}

}  // namespace vramplan::cuda::VRAMPLAN_KERNELS
