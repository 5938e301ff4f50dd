#include "kernels/cpu/quant_pack.h"

#include <gtest/gtest.h>

#include "random_tensors.h"

namespace vramplan::cpu {
namespace {

TEST(QuantPack, EveryBitOfEveryRowIsReadBack) {
  for (const QuantFormat& format : kQuantFormats) {
    const std::int64_t columns = info(format.dtype).block_elements * 2;
    RandomWeight w(format.dtype, kPanel, columns, 31);
    std::vector<std::uint8_t> panel(w.bytes.size());
    pack_panel(format, columns, w.bytes.data(), panel.data());
    const std::int64_t row_bytes = static_cast<std::int64_t>(w.bytes.size()) / kPanel;
    for (int r = 0; r < kPanel; ++r) {
      for (std::int64_t sub = 0; sub < columns / kSubBlock; ++sub) {
        SubBlock plain, packed;
        read_sub_block(format, w.bytes.data() + r * row_bytes, sub, plain);
        read_packed_sub_block(format, columns, panel.data(), r, sub, packed);
        for (int i = 0; i < kSubBlock; ++i) ASSERT_EQ(plain.codes[i], packed.codes[i]);
        for (int half = 0; half < 2; ++half) {
          ASSERT_EQ(plain.scale[half], packed.scale[half]) << info(format.dtype).name;
          ASSERT_EQ(plain.minimum[half], packed.minimum[half]);
        }
      }
    }
  }
}

/// As many one-bits after as before: packing moves bits, it invents and drops none. (q8_0 keeps
/// code + 128, which flips the highest bit of each code.)
TEST(QuantPack, BitsAreMovedNotChanged) {
  for (const QuantFormat& format : kQuantFormats) {
    if (format.dtype == DType::kQ8_0) continue;
    const std::int64_t columns = 512;
    RandomWeight w(format.dtype, kPanel, columns, 33);
    std::vector<std::uint8_t> panel(w.bytes.size());
    pack_panel(format, columns, w.bytes.data(), panel.data());
    int before = 0, after = 0;
    for (const std::uint8_t b : w.bytes) before += __builtin_popcount(b);
    for (const std::uint8_t b : panel) after += __builtin_popcount(b);
    EXPECT_EQ(before, after) << info(format.dtype).name;
  }
}

}  // namespace
}  // namespace vramplan::cpu
