#include "kernels/cpu/quant_gemm.h"

#include <gtest/gtest.h>

#include <cmath>

#include "random_tensors.h"

namespace vramplan::cpu {
namespace {

/// Packed vector product against the scalar product of plain rows, same 8-bit input: the integer
/// dots are equal, so only the order of f32 additions may differ.
TEST(QuantGemm, PackedPanelsEqualTheScalarOracle) {
  for (const QuantFormat& format : kQuantFormats) {
    const std::int64_t columns = info(format.dtype).block_elements * 3;
    const std::int64_t tokens = 23;
    RandomWeight w(format.dtype, kPanel, columns, 21);
    const std::vector<float> x = random_floats(tokens * columns, 22, 3.0F);
    std::vector<float> workspace(static_cast<std::size_t>(tokens * columns / 32 * 10));
    const QuantInput input = quant_input_in(workspace.data(), tokens, columns);
    for (std::int64_t t = 0; t < tokens; ++t) {
      quantise_input_row(input, t, &x[static_cast<std::size_t>(t * columns)], format);
    }
    const std::vector<float> bias = random_floats(kPanel, 23);
    std::vector<std::uint8_t> panel(w.bytes.size());
    pack_panel(format, columns, w.bytes.data(), panel.data());
    for (const auto& [begin, end] :
         {std::pair{0, 23}, {5, 6}, {3, 5}, {1, 4}, {2, 6}, {9, 14}, {4, 10}, {8, 15}}) {
      std::vector<float> packed(static_cast<std::size_t>(tokens * 20), NAN);
      std::vector<float> plain(static_cast<std::size_t>(tokens * 20), NAN);
      quant_panel_product(format, panel.data(), input, begin, end, bias.data(), packed.data(), 20);
      const std::int64_t row_bytes = static_cast<std::int64_t>(w.bytes.size()) / kPanel;
      for (std::int64_t r = 0; r < kPanel; ++r) {
        quant_row_product(format, w.bytes.data() + r * row_bytes, input, begin, end,
                          bias[static_cast<std::size_t>(r)], plain.data() + r, 20);
      }
      // A unit in the last place of the largest sums; one wrong code would give a thousand times
      // it.
      float largest = 1.0F;
      for (const float v : plain)
        largest = std::isnan(v) ? largest : std::fmax(largest, std::fabs(v));
      const float tolerance = 2e-6F * largest;
      for (std::size_t i = 0; i < plain.size(); ++i) {
        ASSERT_EQ(std::isnan(packed[i]), std::isnan(plain[i])) << "written outside its tokens";
        if (std::isnan(plain[i])) continue;
        ASSERT_NEAR(packed[i], plain[i], tolerance) << info(format.dtype).name << " at " << i;
      }
    }
  }
}

/// The largest codes of both sides: 255 * 127 * 2 leaves 16 bits, which a saturating step would
/// cut.
TEST(QuantGemm, ExtremeCodesDoNotSaturate) {
  const QuantFormat& format = quant_format(DType::kQ8_0);
  RandomWeight w(DType::kQ8_0, kPanel, 32, 1);
  for (std::int64_t r = 0; r < kPanel; ++r) {
    std::uint8_t* row = &w.bytes[static_cast<std::size_t>(r * 34)];
    const std::uint16_t one = 0x3c00;
    std::memcpy(row, &one, 2);
    for (int i = 0; i < 32; ++i) row[2 + i] = static_cast<std::uint8_t>(r % 2 == 0 ? 127 : -128);
  }
  std::vector<std::uint8_t> panel(w.bytes.size());
  pack_panel(format, 32, w.bytes.data(), panel.data());
  for (const float sign : {1.0F, -1.0F}) {
    const std::vector<float> x(32, sign * 127.0F);
    std::vector<float> workspace(10), out(kPanel);
    const QuantInput input = quant_input_in(workspace.data(), 1, 32);
    quantise_input_row(input, 0, x.data(), format);
    quant_panel_product(format, panel.data(), input, 0, 1, nullptr, out.data(), kPanel);
    for (std::size_t r = 0; r < 16; ++r) {
      EXPECT_EQ(out[r], (r % 2 == 0 ? 127.0F : -128.0F) * sign * 127.0F * 32.0F);
    }
  }
}

}  // namespace
}  // namespace vramplan::cpu
