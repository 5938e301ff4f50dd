#include "float_bits.h"

#include <gtest/gtest.h>

#include <bit>
#include <cmath>
#include <cstdint>
#include <limits>

#if VRAMPLAN_SIMT_CUDA_HEADERS
#include <cuda_bf16.h>
#include <cuda_fp16.h>
#include <cuda_fp8.h>
#endif

namespace {

TEST(FloatBits, E4m3HasTheValuesOfItsDefinition) {
  EXPECT_EQ(simt::e4m3_to_f32(0x00), 0.0F);
  EXPECT_EQ(simt::e4m3_to_f32(0x01), 0.001953125F);  // 2^-9
  EXPECT_EQ(simt::e4m3_to_f32(0x08), 0.015625F);     // 2^-6
  EXPECT_EQ(simt::e4m3_to_f32(0x38), 1.0F);
  EXPECT_EQ(simt::e4m3_to_f32(0x7e), 448.0F);
  EXPECT_EQ(simt::e4m3_to_f32(0xfe), -448.0F);
  EXPECT_TRUE(std::isnan(simt::e4m3_to_f32(0x7f)));
}

TEST(FloatBits, E4m3RoundsToTheNearestAndSaturates) {
  for (unsigned code = 0; code < 256; ++code) {
    const float value = simt::e4m3_to_f32(static_cast<std::uint8_t>(code));
    if (!std::isnan(value)) {
      EXPECT_EQ(simt::f32_to_e4m3(value), code);
    }
  }
  for (unsigned code = 0; code < 0x7e; ++code) {  // between neighbours: the even one
    const float low = simt::e4m3_to_f32(static_cast<std::uint8_t>(code));
    const float high = simt::e4m3_to_f32(static_cast<std::uint8_t>(code + 1));
    EXPECT_EQ(simt::f32_to_e4m3((low + high) / 2), code % 2 == 0 ? code : code + 1) << code;
    EXPECT_EQ(simt::f32_to_e4m3(low + (high - low) * 0.49F), code);
    EXPECT_EQ(simt::f32_to_e4m3(low + (high - low) * 0.51F), code + 1);
  }
  EXPECT_EQ(simt::f32_to_e4m3(1e9F), 0x7e);
  EXPECT_EQ(simt::f32_to_e4m3(-std::numeric_limits<float>::infinity()), 0xfe);
}

TEST(FloatBits, AreThoseOfTheCudaHeaders) {
#if VRAMPLAN_SIMT_CUDA_HEADERS
  for (unsigned bits = 0; bits < 65536; ++bits) {
    const auto b = static_cast<std::uint16_t>(bits);
    const float half = __half2float(__half(__half_raw{b}));
    const float brain = __bfloat162float(__nv_bfloat16(__nv_bfloat16_raw{b}));
    if (!std::isnan(half)) {
      EXPECT_EQ(simt::f16_to_f32(b), half);
    }
    if (!std::isnan(brain)) {
      EXPECT_EQ(simt::bf16_to_f32(b), brain);
    }
  }
  for (unsigned code = 0; code < 256; ++code) {
    const float value = __half2float(
        __half(__nv_cvt_fp8_to_halfraw(static_cast<__nv_fp8_storage_t>(code), __NV_E4M3)));
    const float ours = simt::e4m3_to_f32(static_cast<std::uint8_t>(code));
    EXPECT_TRUE(ours == value || (std::isnan(ours) && std::isnan(value))) << code;
  }
  std::uint32_t bits = 1;
  for (int i = 0; i < 200000; ++i) {
    bits = bits * 1664525U + 1013904223U;
    const float x = std::bit_cast<float>(bits);
    if (std::isnan(x)) continue;
    EXPECT_EQ(simt::f32_to_f16(x), __half_raw(__float2half_rn(x)).x) << x;
    EXPECT_EQ(simt::f32_to_bf16(x), __nv_bfloat16_raw(__float2bfloat16_rn(x)).x) << x;
    EXPECT_EQ(simt::f32_to_e4m3(x), __nv_cvt_float_to_fp8(x, __NV_SATFINITE, __NV_E4M3)) << x;
  }
#else
  GTEST_SKIP() << "no CUDA toolkit to compare with";
#endif
}

}  // namespace
