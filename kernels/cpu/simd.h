#pragma once
// One vector of f32, and the few operations the kernels need of it, in three versions chosen at
// compile time: AVX-512 (16 lanes), AVX2 with FMA and F16C (8), and plain C++ vectors (4). The
// arithmetic operators + - * / of the compiler's vector types work on all three.
#include <cstddef>
#include <cstdint>
#include <cstring>

#if defined(__AVX512F__) && defined(__AVX512BW__) && defined(__AVX512DQ__) && defined(__AVX512VL__)
#define VRAMPLAN_AVX512 1
#include <immintrin.h>
#elif defined(__AVX2__) && defined(__FMA__) && defined(__F16C__)
#define VRAMPLAN_AVX2 1
#include <immintrin.h>
#endif

#include "kernels/cpu/half.h"

/// Before a loop over accumulators: unrolled, they stay in registers.
#define VRAMPLAN_UNROLL _Pragma("GCC unroll 64")

// The namespace carries the version's name, so that files compiled for different machines can be
// linked into one program.
#if defined(VRAMPLAN_AVX512)
namespace vramplan::cpu::inline avx512 {

inline constexpr int kLanes = 16;
using Vf = __m512;
using Vi = __m512i;

inline Vf zero() { return _mm512_setzero_ps(); }
inline Vf set1(float x) { return _mm512_set1_ps(x); }
inline Vf load(const float* p) { return _mm512_loadu_ps(p); }
inline void store(float* p, Vf v) { _mm512_storeu_ps(p, v); }
inline Vf fma(Vf a, Vf b, Vf c) { return _mm512_fmadd_ps(a, b, c); }
inline Vf max(Vf a, Vf b) { return _mm512_max_ps(a, b); }
inline Vf min(Vf a, Vf b) { return _mm512_min_ps(a, b); }
inline float reduce_add(Vf v) { return _mm512_reduce_add_ps(v); }
inline float reduce_max(Vf v) { return _mm512_reduce_max_ps(v); }
inline Vf load_f16(const std::uint16_t* p) {
  return _mm512_cvtph_ps(_mm256_loadu_si256(reinterpret_cast<const __m256i*>(p)));
}
inline Vf load_bf16(const std::uint16_t* p) {
  const __m256i h = _mm256_loadu_si256(reinterpret_cast<const __m256i*>(p));
  return _mm512_castsi512_ps(_mm512_slli_epi32(_mm512_cvtepu16_epi32(h), 16));
}
inline Vf load_f8(const std::uint8_t* p) {
  // As f16 of a 256th of the value: sign-extended, a shift puts every bit in its place but one.
  const __m256i w = _mm256_cvtepi8_epi16(_mm_loadu_si128(reinterpret_cast<const __m128i*>(p)));
  const __m256i h = _mm256_and_si256(_mm256_slli_epi16(w, 7), _mm256_set1_epi16(-0x4001));
  const __mmask16 nan = _mm256_cmpeq_epi16_mask(_mm256_and_si256(w, _mm256_set1_epi16(0x7f)),
                                                _mm256_set1_epi16(0x7f));
  return _mm512_mul_ps(_mm512_cvtph_ps(_mm256_mask_mov_epi16(h, nan, _mm256_set1_epi16(0x7e00))),
                       _mm512_set1_ps(256.0F));
}
/// A 256th of each, where no code is NaN: two instructions before the conversion.
inline Vf load_f8_256th(const std::uint8_t* p) {
  const __m256i w = _mm256_cvtepi8_epi16(_mm_loadu_si128(reinterpret_cast<const __m128i*>(p)));
  return _mm512_cvtph_ps(_mm256_and_si256(_mm256_slli_epi16(w, 7), _mm256_set1_epi16(-0x4001)));
}
inline bool has_f8_nan(const std::byte* p, std::int64_t count) {  // count: a multiple of 16
  const __m128i low = _mm_set1_epi8(0x7f);
  const __m512i lows = _mm512_set1_epi8(0x7f);
  __mmask64 found = 0;
  for (; count >= 64; p += 64, count -= 64)
    found |= _mm512_cmpeq_epi8_mask(_mm512_and_si512(_mm512_loadu_si512(p), lows), lows);
  for (; count > 0; p += 16, count -= 16) {
    const __m128i code = _mm_loadu_si128(reinterpret_cast<const __m128i*>(p));
    found |= _mm_cmpeq_epi8_mask(_mm_and_si128(code, low), low);
  }
  return found != 0;
}
inline void store_f16(std::uint16_t* p, Vf v) {
  _mm256_storeu_si256(reinterpret_cast<__m256i*>(p),
                      _mm512_cvtps_ph(v, _MM_FROUND_TO_NEAREST_INT | _MM_FROUND_NO_EXC));
}

inline Vi load_i(const void* p) { return _mm512_loadu_si512(p); }
inline Vi set1_i8(int x) { return _mm512_set1_epi8(static_cast<char>(x)); }
inline Vi set1_i32(std::int32_t x) { return _mm512_set1_epi32(x); }
inline Vf to_float(Vi v) { return _mm512_cvtepi32_ps(v); }
inline Vi widen_u8(const std::uint8_t* p) {  // kLanes bytes to int32 lanes
  return _mm512_cvtepu8_epi32(_mm_loadu_si128(reinterpret_cast<const __m128i*>(p)));
}
inline Vi widen_i8(const std::int8_t* p) {
  return _mm512_cvtepi8_epi32(_mm_loadu_si128(reinterpret_cast<const __m128i*>(p)));
}

#elif defined(VRAMPLAN_AVX2)
namespace vramplan::cpu::inline avx2 {

inline constexpr int kLanes = 8;
using Vf = __m256;
using Vi = __m256i;

inline Vf zero() { return _mm256_setzero_ps(); }
inline Vf set1(float x) { return _mm256_set1_ps(x); }
inline Vf load(const float* p) { return _mm256_loadu_ps(p); }
inline void store(float* p, Vf v) { _mm256_storeu_ps(p, v); }
inline Vf fma(Vf a, Vf b, Vf c) { return _mm256_fmadd_ps(a, b, c); }
inline Vf max(Vf a, Vf b) { return _mm256_max_ps(a, b); }
inline Vf min(Vf a, Vf b) { return _mm256_min_ps(a, b); }
inline float reduce_add(Vf v) {
  __m128 s = _mm_add_ps(_mm256_castps256_ps128(v), _mm256_extractf128_ps(v, 1));
  s = _mm_add_ps(s, _mm_movehl_ps(s, s));
  return _mm_cvtss_f32(_mm_add_ss(s, _mm_movehdup_ps(s)));
}
inline float reduce_max(Vf v) {
  __m128 s = _mm_max_ps(_mm256_castps256_ps128(v), _mm256_extractf128_ps(v, 1));
  s = _mm_max_ps(s, _mm_movehl_ps(s, s));
  return _mm_cvtss_f32(_mm_max_ss(s, _mm_movehdup_ps(s)));
}
inline Vf load_f16(const std::uint16_t* p) {
  return _mm256_cvtph_ps(_mm_loadu_si128(reinterpret_cast<const __m128i*>(p)));
}
inline Vf load_bf16(const std::uint16_t* p) {
  const __m128i h = _mm_loadu_si128(reinterpret_cast<const __m128i*>(p));
  return _mm256_castsi256_ps(_mm256_slli_epi32(_mm256_cvtepu16_epi32(h), 16));
}
inline Vf load_f8(const std::uint8_t* p) {
  // As f16 of a 256th of the value: sign-extended, a shift puts every bit in its place but one.
  const __m128i w = _mm_cvtepi8_epi16(_mm_loadl_epi64(reinterpret_cast<const __m128i*>(p)));
  const __m128i h = _mm_and_si128(_mm_slli_epi16(w, 7), _mm_set1_epi16(-0x4001));
  const __m128i nan = _mm_cmpeq_epi16(_mm_and_si128(w, _mm_set1_epi16(0x7f)), _mm_set1_epi16(0x7f));
  const __m128i kept = _mm_or_si128(h, _mm_and_si128(nan, _mm_set1_epi16(0x7e00)));
  return _mm256_mul_ps(_mm256_cvtph_ps(kept), _mm256_set1_ps(256.0F));
}
/// A 256th of each, where no code is NaN: two instructions before the conversion.
inline Vf load_f8_256th(const std::uint8_t* p) {
  const __m128i w = _mm_cvtepi8_epi16(_mm_loadl_epi64(reinterpret_cast<const __m128i*>(p)));
  return _mm256_cvtph_ps(_mm_and_si128(_mm_slli_epi16(w, 7), _mm_set1_epi16(-0x4001)));
}
inline bool has_f8_nan(const std::byte* p, std::int64_t count) {  // count: a multiple of 16
  const __m128i low = _mm_set1_epi8(0x7f);
  const __m256i lows = _mm256_set1_epi8(0x7f);
  __m256i found = _mm256_setzero_si256();
  for (; count >= 32; p += 32, count -= 32) {
    const __m256i code = _mm256_loadu_si256(reinterpret_cast<const __m256i*>(p));
    found = _mm256_or_si256(found, _mm256_cmpeq_epi8(_mm256_and_si256(code, lows), lows));
  }
  for (; count > 0; p += 16, count -= 16) {
    const __m128i code = _mm_loadu_si128(reinterpret_cast<const __m128i*>(p));
    const __m128i nan = _mm_cmpeq_epi8(_mm_and_si128(code, low), low);
    found = _mm256_or_si256(found, _mm256_zextsi128_si256(nan));
  }
  return _mm256_testz_si256(found, found) == 0;
}
inline void store_f16(std::uint16_t* p, Vf v) {
  _mm_storeu_si128(reinterpret_cast<__m128i*>(p),
                   _mm256_cvtps_ph(v, _MM_FROUND_TO_NEAREST_INT | _MM_FROUND_NO_EXC));
}

inline Vi load_i(const void* p) { return _mm256_loadu_si256(static_cast<const __m256i*>(p)); }
inline Vi set1_i8(int x) { return _mm256_set1_epi8(static_cast<char>(x)); }
inline Vi set1_i32(std::int32_t x) { return _mm256_set1_epi32(x); }
inline Vf to_float(Vi v) { return _mm256_cvtepi32_ps(v); }
inline Vi widen_u8(const std::uint8_t* p) {
  return _mm256_cvtepu8_epi32(_mm_loadl_epi64(reinterpret_cast<const __m128i*>(p)));
}
inline Vi widen_i8(const std::int8_t* p) {
  return _mm256_cvtepi8_epi32(_mm_loadl_epi64(reinterpret_cast<const __m128i*>(p)));
}

#else
namespace vramplan::cpu::inline portable {

inline constexpr int kLanes = 4;
typedef float Vf __attribute__((vector_size(16)));
typedef long long Vi __attribute__((vector_size(16)));

inline Vf zero() { return Vf{}; }
inline Vf set1(float x) { return Vf{x, x, x, x}; }
inline Vf load(const float* p) {
  Vf v;
  std::memcpy(&v, p, sizeof v);
  return v;
}
inline void store(float* p, Vf v) { std::memcpy(p, &v, sizeof v); }
inline Vf fma(Vf a, Vf b, Vf c) { return a * b + c; }
inline Vf max(Vf a, Vf b) { return a > b ? a : b; }
inline Vf min(Vf a, Vf b) { return a < b ? a : b; }
inline float reduce_add(Vf v) { return (v[0] + v[2]) + (v[1] + v[3]); }
inline float reduce_max(Vf v) {
  const float a = v[0] > v[2] ? v[0] : v[2], b = v[1] > v[3] ? v[1] : v[3];
  return a > b ? a : b;
}
inline Vf load_f16(const std::uint16_t* p) {
  return Vf{f16_to_f32(p[0]), f16_to_f32(p[1]), f16_to_f32(p[2]), f16_to_f32(p[3])};
}
inline Vf load_bf16(const std::uint16_t* p) {
  return Vf{bf16_to_f32(p[0]), bf16_to_f32(p[1]), bf16_to_f32(p[2]), bf16_to_f32(p[3])};
}
inline Vf load_f8(const std::uint8_t* p) {
  return Vf{f8_to_f32(p[0]), f8_to_f32(p[1]), f8_to_f32(p[2]), f8_to_f32(p[3])};
}
inline Vf load_f8_256th(const std::uint8_t* p) { return load_f8(p) * set1(1.0F / 256); }
inline bool has_f8_nan(const std::byte* p, std::int64_t count) {
  bool found = false;
  for (; count > 0; ++p, --count) found = found || (*p & std::byte{0x7f}) == std::byte{0x7f};
  return found;
}
inline void store_f16(std::uint16_t* p, Vf v) {
  for (int i = 0; i < kLanes; ++i) p[i] = f32_to_f16(v[i]);
}

typedef std::int32_t Vs4 __attribute__((vector_size(16)));
inline Vi load_i(const void* p) {
  Vi v;
  std::memcpy(&v, p, sizeof v);
  return v;
}
inline Vi set1_i32(std::int32_t x) { return reinterpret_cast<Vi>(Vs4{x, x, x, x}); }
inline Vi set1_i8(int x) { return set1_i32((x & 255) * 0x01010101); }
inline Vf to_float(Vi v) { return __builtin_convertvector(reinterpret_cast<Vs4>(v), Vf); }
inline Vi widen_u8(const std::uint8_t* p) {
  return reinterpret_cast<Vi>(Vs4{p[0], p[1], p[2], p[3]});
}
inline Vi widen_i8(const std::int8_t* p) {
  return reinterpret_cast<Vi>(Vs4{p[0], p[1], p[2], p[3]});
}

#endif

/// The same bits as int32 lanes, for shifts and sums of whole lanes.
typedef std::int32_t Vs __attribute__((vector_size(4 * kLanes)));

/// Four bytes at p in every lane.
inline Vi broadcast4(const void* p) {
  std::int32_t x = 0;
  std::memcpy(&x, p, sizeof x);
  return set1_i32(x);
}

/// acc[lane] += sum of 4 products of unsigned bytes w and signed bytes a.
/// kSmall: every w <= 127 and 2 * w * 128 fits 16 bits, so that a pair sum cannot saturate.
template <bool kSmall>
inline Vi dot4(Vi acc, Vi w, Vi a) {
#if defined(VRAMPLAN_AVX512) && defined(__AVX512VNNI__)
  return _mm512_dpbusd_epi32(acc, w, a);
#elif defined(VRAMPLAN_AVX512)
  if constexpr (kSmall) {
    const Vi pairs = _mm512_maddubs_epi16(w, a);
    return _mm512_add_epi32(acc, _mm512_madd_epi16(pairs, _mm512_set1_epi16(1)));
  } else {
    const Vi even = _mm512_madd_epi16(_mm512_and_si512(w, _mm512_set1_epi16(255)),
                                      _mm512_srai_epi16(_mm512_slli_epi16(a, 8), 8));
    const Vi odd = _mm512_madd_epi16(_mm512_srli_epi16(w, 8), _mm512_srai_epi16(a, 8));
    return _mm512_add_epi32(acc, _mm512_add_epi32(even, odd));
  }
#elif defined(VRAMPLAN_AVX2) && defined(__AVXVNNI__)
  return _mm256_dpbusd_avx_epi32(acc, w, a);
#elif defined(VRAMPLAN_AVX2)
  if constexpr (kSmall) {
    const Vi pairs = _mm256_maddubs_epi16(w, a);
    return _mm256_add_epi32(acc, _mm256_madd_epi16(pairs, _mm256_set1_epi16(1)));
  } else {
    const Vi even = _mm256_madd_epi16(_mm256_and_si256(w, _mm256_set1_epi16(255)),
                                      _mm256_srai_epi16(_mm256_slli_epi16(a, 8), 8));
    const Vi odd = _mm256_madd_epi16(_mm256_srli_epi16(w, 8), _mm256_srai_epi16(a, 8));
    return _mm256_add_epi32(acc, _mm256_add_epi32(even, odd));
  }
#else
  std::uint8_t wb[16];
  std::int8_t ab[16];
  std::memcpy(wb, &w, 16);
  std::memcpy(ab, &a, 16);
  Vs4 sum = reinterpret_cast<Vs4>(acc);
  for (int i = 0; i < 16; ++i) sum[i / 4] += wb[i] * ab[i];
  return reinterpret_cast<Vi>(sum);
#endif
}

/// e^x to about 1 ulp; 0 below -87.3 (also for -inf), held at e^88.3 above.
/// 2^n by the exponent bits, e^r for |r| <= ln2 / 2 by its Taylor series to r^7 (remainder < 6e-9).
inline Vf exp(Vf x) {
  const Vf lowest = set1(-87.3F);
  const Vf clamped = min(max(x, lowest), set1(88.3F));
  const Vf magic = set1(12582912.0F);  // 1.5 * 2^23: adding it rounds to an integer
  const Vf shifted = fma(clamped, set1(1.44269504F), magic);
  const Vf n = shifted - magic;
  Vf r = fma(n, set1(-0.693145752F), clamped);  // ln 2 in two parts, the first of 16 bits
  r = fma(n, set1(-1.42860677e-6F), r);
  Vf p = set1(1.0F / 5040.0F);
  p = fma(p, r, set1(1.0F / 720.0F));
  p = fma(p, r, set1(1.0F / 120.0F));
  p = fma(p, r, set1(1.0F / 24.0F));
  p = fma(p, r, set1(1.0F / 6.0F));
  p = fma(p, r, set1(0.5F));
  p = fma(p * r, r, r) + set1(1.0F);
  const Vs exponent = reinterpret_cast<Vs>(shifted) << 23;
  const Vf scaled = reinterpret_cast<Vf>(reinterpret_cast<Vs>(p) + exponent);
#if defined(VRAMPLAN_AVX512)
  // Ordered-or-unordered comparison keeps NaN: only a number below the lowest becomes 0.
  const __mmask16 tiny = _mm512_cmp_ps_mask(x, lowest, _CMP_LT_OQ);
  const __mmask16 nan = _mm512_cmp_ps_mask(x, x, _CMP_UNORD_Q);
  return _mm512_mask_mov_ps(_mm512_mask_mov_ps(scaled, tiny, zero()), nan, x);
#else
  const Vf kept = x < lowest ? zero() : scaled;
  return x != x ? x : kept;
#endif
}

}  // namespace vramplan::cpu::inline
