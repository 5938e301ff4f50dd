#include "kernels/cpu/packed_tile.h"
#include "paged_cache.h"

namespace vramplan::cuda_test {
namespace {

class KvPack : public CudaKernel {};

/// Rows of a window, packed by the kernel, against the CPU's tiles of the same f16 rows.
void check(const CacheShape& shape) {
  constexpr std::int64_t kBlocks = 6;
  PagedCache recent({DType::kF16, shape.kv_heads, shape.head_dim, shape.value_dim, 32}, kBlocks);
  std::uint32_t seed = 5;
  for (std::int64_t slot = 0; slot < kBlocks * 32; ++slot) {
    for (std::int64_t head = 0; head < shape.kv_heads; ++head) {
      recent.set_row(slot, head, false, normal(shape.head_dim, ++seed, 3.0F));
      recent.set_row(slot, head, true, normal(shape.value_dim, ++seed));
    }
  }
  recent.send();
  const std::int64_t last = (kBlocks * shape.block_tokens / 32 - 1) * 32;
  const Array<vramplan::KvPack> on_device(
      std::vector<vramplan::KvPack>{{4, 32}, {-1, 64}, {1, last}});
  PagedCache wanted(shape, kBlocks);
  const auto tiles = [&](std::int64_t block, std::int64_t slot, std::int64_t head) {
    std::vector<float> rows(static_cast<std::size_t>(32 * shape.head_dim));
    const auto fill = [&](bool value, std::int64_t width) {
      rows.resize(static_cast<std::size_t>(32 * width));
      for (std::int64_t t = 0; t < 32; ++t) {
        for (std::int64_t d = 0; d < width; ++d)
          rows[static_cast<std::size_t>(t * width + d)] =
              static_cast<float>(recent.element(block * 32 + t, head, d, value));
      }
    };
    const KvLayerView view = wanted.host_view();
    const std::int64_t to = slot / shape.block_tokens, offset = slot % shape.block_tokens;
    fill(false, shape.head_dim);
    cpu::pack_tile({rows.data(), 1, shape.head_dim}, cpu::key_tile(view, to, head, offset));
    fill(true, shape.value_dim);
    for (std::int64_t part = 0; part < shape.value_dim / 32; ++part) {
      cpu::pack_tile({rows.data() + part * 32, shape.value_dim, 1},
                     cpu::value_tile(view, to, head, offset, part));
    }
  };
  for (std::int64_t head = 0; head < shape.kv_heads; ++head) {
    tiles(4, 32, head);
    tiles(1, last, head);
  }
  for_each_schedule([&] {
    PagedCache history(shape, kBlocks);
    history.send();
    cuda::kv_pack({}, history.view(), recent.view(), on_device.data(), 3, 1);
    history.fetch();
    EXPECT_TRUE(history.bytes() == wanted.bytes()) << name(shape.dtype) << " " << shape.head_dim;
  });
}

TEST_F(KvPack, TilesAreThoseOfTheCpuToTheByte) {
  for (const DType dtype : {DType::kKivi2, DType::kKivi4}) {
    check({dtype, 2, 64, 64, 32});
    check({dtype, 1, 128, 96, 64});
    check({dtype, 1, 32, 32, 64});
  }
}

/// Of the window every stride'th row, as the CPU encodes it.
void check_rows(const CacheShape& shape, std::int64_t stride) {
  constexpr std::int64_t kBlocks = 4;
  const std::int64_t kept = 32 / stride;
  PagedCache recent({DType::kF16, shape.kv_heads, shape.head_dim, shape.value_dim, 32}, kBlocks);
  PagedCache wanted(shape, kBlocks);
  std::uint32_t seed = 9;
  for (std::int64_t slot = 0; slot < kBlocks * 32; ++slot) {
    for (std::int64_t head = 0; head < shape.kv_heads; ++head) {
      recent.set_row(slot, head, false, normal(shape.head_dim, ++seed, 3.0F));
      recent.set_row(slot, head, true, normal(shape.value_dim, ++seed));
    }
  }
  recent.send();
  const std::int64_t last = shape.block_tokens * kBlocks - kept;
  const Array<vramplan::KvPack> on_device(
      std::vector<vramplan::KvPack>{{3, kept}, {-1, 0}, {0, last}});
  for (const auto& [block, slot] : {std::pair<std::int64_t, std::int64_t>{3, kept}, {0, last}}) {
    for (std::int64_t row = 0; row < kept; ++row) {
      for (std::int64_t head = 0; head < shape.kv_heads; ++head) {
        for (const bool value : {false, true}) {
          std::vector<float> x;
          for (std::int64_t d = 0; d < (value ? shape.value_dim : shape.head_dim); ++d)
            x.push_back(
                static_cast<float>(recent.element(block * 32 + row * stride, head, d, value)));
          wanted.set_row(slot + row, head, value, x);
        }
      }
    }
  }
  for_each_schedule([&] {
    PagedCache history(shape, kBlocks);
    history.send();
    cuda::kv_pack({}, history.view(), recent.view(), on_device.data(), 3, stride);
    history.fetch();
    EXPECT_TRUE(history.bytes() == wanted.bytes()) << name(shape.dtype) << " stride " << stride;
  });
}

TEST_F(KvPack, StridedRowsAreThoseOfTheCpuToTheByte) {
  for (const DType dtype : {DType::kF32, DType::kF16, DType::kBF16, DType::kF8E4M3, DType::kI8,
                            DType::kQ8_0, DType::kQ4_0}) {
    check_rows({dtype, 2, 64, 32, 16}, 4);
    check_rows({dtype, 1, 32, 96, 32}, 1);
  }
}

TEST_F(KvPack, OtherHistoriesAreRefusedByName) {
  const PagedCache recent({DType::kF16, 1, 256, 256, 32}, 2),
      history({DType::kQ4_K, 1, 256, 256, 32}, 2);
  EXPECT_THROW(cuda::kv_pack({}, history.view(), recent.view(), nullptr, 1, 1), Error);
}

}  // namespace
}  // namespace vramplan::cuda_test
