#include <gtest/gtest.h>

#include <cmath>

#include "kernels/cpu/cpu_ops.h"
#include "kernels/cpu/kv_cache.h"
#include "random_tensors.h"

namespace vramplan {
namespace {

TEST(KvWrite, EverySlotGetsItsRowAndNothingElseChanges) {
  for (const DType dtype : {DType::kF32, DType::kF16, DType::kBF16}) {
    const std::int64_t size = info(dtype).block_bytes, heads = 2, head_dim = 20, value_dim = 12;
    KvLayerView kv;
    kv.dtype = dtype;
    kv.block_count = 4;
    kv.block_tokens = 3;
    kv.kv_heads = heads;
    kv.head_dim = head_dim;
    kv.value_dim = value_dim;
    kv.value_offset = heads * 3 * head_dim * size;
    kv.block_stride = kv.value_offset + heads * 3 * value_dim * size + 64;
    std::vector<std::byte> pool(static_cast<std::size_t>(kv.block_stride * 4), std::byte{0x5a});
    std::vector<std::byte> expected = pool;
    const std::vector<std::int64_t> slots = {11, 0, 7};
    std::vector<float> k = random_floats(3 * heads * head_dim, 1),
                       v = random_floats(3 * heads * value_dim, 2);
    const auto put = [&](std::int64_t at, float x) {
      const std::uint16_t half = dtype == DType::kF16 ? cpu::f32_to_f16(x) : cpu::f32_to_bf16(x);
      if (dtype == DType::kF32) {
        std::memcpy(&expected[static_cast<std::size_t>(at)], &x, 4);
      } else {
        std::memcpy(&expected[static_cast<std::size_t>(at)], &half, 2);
      }
    };
    for (std::int64_t t = 0; t < 3; ++t) {
      const std::int64_t slot = slots[static_cast<std::size_t>(t)],
                         base = slot / 3 * kv.block_stride;
      for (std::int64_t h = 0; h < heads; ++h) {
        for (std::int64_t d = 0; d < head_dim; ++d) {
          put(base + ((h * 3 + slot % 3) * head_dim + d) * size,
              k[static_cast<std::size_t>((t * heads + h) * head_dim + d)]);
        }
        for (std::int64_t d = 0; d < value_dim; ++d) {
          put(base + kv.value_offset + ((h * 3 + slot % 3) * value_dim + d) * size,
              v[static_cast<std::size_t>((t * heads + h) * value_dim + d)]);
        }
      }
    }
    kv.base = pool.data();
    make_cpu_ops(2)->kv_write(kv, view(k, 3, heads * head_dim), view(v, 3, heads * value_dim),
                              slots);
    EXPECT_EQ(pool, expected) << info(dtype).name;
  }
}

}  // namespace
}  // namespace vramplan
