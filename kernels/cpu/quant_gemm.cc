#include "kernels/cpu/quant_gemm.h"

#include <algorithm>
#include <bit>

#include "kernels/cpu/simd.h"
#include "modelcards/error.h"

namespace vramplan::cpu {
namespace {

constexpr int kParts = static_cast<int>(kPanel) / kLanes;  // vectors that hold 16 rows

constexpr const QuantFormat& format_of(DType dtype) {
  for (const QuantFormat& format : kQuantFormats) {
    if (format.dtype == dtype) return format;
  }
  return kQuantFormats[0];
}

/// The codes of 32 columns of kLanes rows: vector g holds columns 4g..4g+3.
template <DType D>
inline void unpack_codes(const std::uint8_t* in, Vi (&w)[kGroups]) {
  constexpr QuantFormat f = format_of(D);
  const Vi low_mask = set1_i8((1 << f.low_bits) - 1);
  VRAMPLAN_UNROLL
  for (int v = 0; v < f.low_bits; ++v) {
    const Vi x = load_i(in + v * kVectorBytes);
    VRAMPLAN_UNROLL
    for (int j = 0; j < 8 / f.low_bits; ++j) {
      if constexpr (f.low_bits == 8) {
        w[v] = x;
      } else {
        w[v + f.low_bits * j] = (j == 0 ? x : x >> (f.low_bits * j)) & low_mask;
      }
    }
  }
  if constexpr (f.high_bits != 0) {
    const Vi high_mask = set1_i8((1 << f.high_bits) - 1);
    VRAMPLAN_UNROLL
    for (int v = 0; v < f.high_bits; ++v) {
      const Vi x = load_i(in + (f.low_bits + v) * kVectorBytes);
      VRAMPLAN_UNROLL
      for (int j = 0; j < 8 / f.high_bits; ++j) {
        Vi& target = w[v + f.high_bits * j];
        target = target | (((x >> (f.high_bits * j)) & high_mask) << f.low_bits);
      }
    }
  }
}

/// value = scale * (code - zero) - minimum; one pair for 32 columns or two for 16 each.
template <DType D>
struct Scales {
  static constexpr int kCount = 32 / format_of(D).granule;
  Vf scale[kCount];
  Vf minimum[kCount];
};

/// q4_k, q5_k: sub-block `sub` of 8; six-bit scale and minimum.
inline void six_bit_scales(const std::uint8_t* bytes, int sub, Vf d, Vf m, Vf& scale, Vf& minimum) {
  Vi s, n;
  if (sub < 4) {
    const Vi mask = set1_i32(63);
    s = widen_u8(bytes + sub * kPanel) & mask;
    n = widen_u8(bytes + (sub + 4) * kPanel) & mask;
  } else {
    const Vi mask = set1_i32(15), top = set1_i32(48);
    const Vi both = widen_u8(bytes + (sub + 4) * kPanel);
    s = (both & mask) | ((widen_u8(bytes + (sub - 4) * kPanel) >> 2) & top);
    n = ((both >> 4) & mask) | ((widen_u8(bytes + sub * kPanel) >> 2) & top);
  }
  scale = d * to_float(s);
  minimum = m * to_float(n);
}

template <DType D>
inline void load_scales(const std::uint8_t* meta, int part, std::int64_t sub, Scales<D>& out) {
  constexpr QuantFormat f = format_of(D);
  const auto* halves = reinterpret_cast<const std::uint16_t*>(meta) + part * kLanes;
  const Vf d = load_f16(halves);
  const Vf m = f.half_count > 1 ? load_f16(halves + kPanel) : zero();
  const std::uint8_t* bytes = meta + f.half_count * kPanel * 2 + part * kLanes;
  const int s = static_cast<int>(sub % 8);
  if constexpr (f.byte_count == 0) {
    out.scale[0] = d;
    out.minimum[0] = zero() - m;
  } else if constexpr (D == DType::kQ4_K || D == DType::kQ5_K) {
    six_bit_scales(bytes, s, d, m, out.scale[0], out.minimum[0]);
  } else {
    VRAMPLAN_UNROLL
    for (int half = 0; half < 2; ++half) {
      const int i = 2 * s + half;
      if constexpr (D == DType::kQ6_K) {
        const auto* signed_bytes = reinterpret_cast<const std::int8_t*>(bytes);
        out.scale[half] = d * to_float(widen_i8(signed_bytes + i * kPanel));
      } else if constexpr (D == DType::kQ2_K) {
        const Vi both = widen_u8(bytes + i * kPanel), mask = set1_i32(15);
        out.scale[half] = d * to_float(both & mask);
        out.minimum[half] = m * to_float((both >> 4) & mask);
      } else {  // q3_k
        const Vi low = widen_u8(bytes + (i % 8) * kPanel) >> (4 * (i / 8));
        const Vi high = widen_u8(bytes + (8 + i % 4) * kPanel) >> (2 * (i / 4));
        const Vi code = (low & set1_i32(15)) | ((high & set1_i32(3)) << 4);
        out.scale[half] = d * (to_float(code) - set1(32.0F));
      }
      if constexpr (f.zero != 0) out.minimum[half] = out.scale[half] * set1(float{f.zero});
    }
  }
}

/// Adds 32 columns of one token to acc.
template <DType D>
inline Vf add_sub_block(Vf acc, const Vi (&w)[kGroups], const Scales<D>& s,
                        const std::int8_t* codes, float scale, std::int32_t sum) {
  constexpr QuantFormat f = format_of(D);
  constexpr bool kSmall = f.low_bits + f.high_bits <= 6;
  if constexpr (f.granule == 32) {
    Vi dot = f.zero != 0 ? set1_i32(sum) : set1_i32(0);
    VRAMPLAN_UNROLL
    for (int g = 0; g < kGroups; ++g) dot = dot4<kSmall>(dot, w[g], broadcast4(codes + 4 * g));
    acc = fma(to_float(dot), s.scale[0] * set1(scale), acc);
    if constexpr (f.zero == 0) acc = fma(s.minimum[0], set1(std::bit_cast<float>(sum)), acc);
  } else {
    Vi dot[2] = {set1_i32(0), set1_i32(0)};
    VRAMPLAN_UNROLL
    for (int g = 0; g < kGroups; ++g) {
      dot[g / 4] = dot4<kSmall>(dot[g / 4], w[g], broadcast4(codes + 4 * g));
    }
    const auto first = static_cast<float>(static_cast<std::int16_t>(sum & 0xffff));
    const auto second = static_cast<float>(sum >> 16);
    Vf part = to_float(dot[0]) * s.scale[0];
    part = fma(to_float(dot[1]), s.scale[1], part);
    part = fma(s.minimum[0], set1(-first), part);
    part = fma(s.minimum[1], set1(-second), part);
    acc = fma(part, set1(scale), acc);
  }
  return acc;
}

struct PanelProduct {
  const std::uint8_t* panel;
  PanelShape shape;
  const QuantInput* input;
  const float* bias;
  float* out;
  std::int64_t out_stride;
};

// A panel's first reading comes from memory at the speed of the prefetchers, which lose their way
// at every panel; panels lie one behind the other, so the way is known.
constexpr std::int64_t kPrefetchBytes = 6144;

template <DType D>
inline void prefetch(const std::uint8_t* panel, std::int64_t sub) {
  constexpr QuantFormat f = format_of(D);
  constexpr std::int64_t kBlock = f.byte_count == 0 ? 32 : 256;
  constexpr std::int64_t kMeta = kPanel * (f.half_count * 2 + f.byte_count) / (kBlock / 32);
  constexpr std::int64_t kStep = kMeta + kVectorBytes * (f.low_bits + f.high_bits);
  const std::uint8_t* ahead = panel + kPrefetchBytes + sub * kStep;
  VRAMPLAN_UNROLL
  for (std::int64_t i = 0; i < kStep; i += 64) __builtin_prefetch(ahead + i);
}

/// kTokens tokens from `token` with rows part * kLanes .. of a panel. kFirst: nobody has read this
/// panel yet, so it comes from memory.
template <DType D, int kTokens, bool kFirst>
inline void token_tile(const PanelProduct& p, int part, std::int64_t token) {
  constexpr QuantFormat f = format_of(D);
  constexpr std::int64_t kSubs = f.byte_count == 0 ? 1 : 8;  // sub-blocks of 32 in a block
  const QuantInput& x = *p.input;
  const std::int64_t subs = x.blocks();
  const std::uint8_t* codes = p.panel + p.shape.codes_offset + part * kLanes * 4;
  const std::int8_t* input_codes = x.codes + token * x.columns;
  const float* scales = x.scales + token * subs;
  const std::int32_t* sums = x.sums + token * subs;
  Vf acc[kTokens];
  VRAMPLAN_UNROLL
  for (int t = 0; t < kTokens; ++t) acc[t] = zero();
  for (std::int64_t sub = 0; sub < subs; ++sub) {
    if constexpr (kFirst) prefetch<D>(p.panel, sub);
    Vi w[kGroups];
    Scales<D> s;
    unpack_codes<D>(codes + sub * p.shape.sub_bytes, w);
    load_scales<D>(p.panel + sub / kSubs * p.shape.meta_bytes, part, sub, s);
    VRAMPLAN_UNROLL
    for (int t = 0; t < kTokens; ++t) {
      acc[t] = add_sub_block<D>(acc[t], w, s, input_codes + t * x.columns + sub * kSubBlock,
                                scales[t * subs + sub], sums[t * subs + sub]);
    }
  }
  const Vf bias = p.bias == nullptr ? zero() : load(p.bias + part * kLanes);
  VRAMPLAN_UNROLL
  for (int t = 0; t < kTokens; ++t) {
    store(p.out + (token + t) * p.out_stride + part * kLanes, acc[t] + bias);
  }
}

// Tokens that share one unpacking of the weights: as many accumulators as the registers hold.
constexpr int kTile = kLanes == 16 ? 8 : 4;

/// The last `count` < kTokens tokens in one tile: unpacking once for them is what they save.
template <DType D, int kTokens, bool kFirst>
inline void last_tile(const PanelProduct& p, int part, std::int64_t token, std::int64_t count) {
  if constexpr (kTokens > 1) {
    if (count == kTokens - 1) return token_tile<D, kTokens - 1, kFirst>(p, part, token);
    last_tile<D, kTokens - 1, kFirst>(p, part, token, count);
  }
}

template <DType D>
void panel_product(const PanelProduct& p, std::int64_t begin, std::int64_t end) {
  const auto tiles = [&]<bool kFirst>(int part, std::int64_t token) {
    const std::int64_t count = std::min<std::int64_t>(end - token, kTile);
    if (count == kTile) return token_tile<D, kTile, kFirst>(p, part, token);
    last_tile<D, kTile, kFirst>(p, part, token, count);
  };
  for (int part = 0; part < kParts; ++part) {
    for (std::int64_t t = begin; t < end; t += kTile) {
      if (t == begin && part == 0)
        tiles.template operator()<true>(part, t);
      else
        tiles.template operator()<false>(part, t);
    }
  }
}

}  // namespace

void quant_panel_product(const QuantFormat& format, const std::uint8_t* panel,
                         const QuantInput& input, std::int64_t token_begin, std::int64_t token_end,
                         const float* bias, float* out, std::int64_t out_stride) {
  const PanelProduct p{panel, panel_shape(format, input.columns), &input, bias, out, out_stride};
  switch (format.dtype) {
    case DType::kQ4_0:
      return panel_product<DType::kQ4_0>(p, token_begin, token_end);
    case DType::kQ4_1:
      return panel_product<DType::kQ4_1>(p, token_begin, token_end);
    case DType::kQ5_0:
      return panel_product<DType::kQ5_0>(p, token_begin, token_end);
    case DType::kQ5_1:
      return panel_product<DType::kQ5_1>(p, token_begin, token_end);
    case DType::kQ8_0:
      return panel_product<DType::kQ8_0>(p, token_begin, token_end);
    case DType::kQ2_K:
      return panel_product<DType::kQ2_K>(p, token_begin, token_end);
    case DType::kQ3_K:
      return panel_product<DType::kQ3_K>(p, token_begin, token_end);
    case DType::kQ4_K:
      return panel_product<DType::kQ4_K>(p, token_begin, token_end);
    case DType::kQ5_K:
      return panel_product<DType::kQ5_K>(p, token_begin, token_end);
    case DType::kQ6_K:
      return panel_product<DType::kQ6_K>(p, token_begin, token_end);
    default:
      VRAMPLAN_CHECK(false && "a format of kQuantFormats has no product");
  }
}

void quant_row_product(const QuantFormat& format, const std::uint8_t* row, const QuantInput& input,
                       std::int64_t token_begin, std::int64_t token_end, float bias, float* out,
                       std::int64_t out_stride) {
  for (std::int64_t t = token_begin; t < token_end; ++t) out[t * out_stride] = bias;
  SubBlock w;
  for (std::int64_t sub = 0; sub < input.blocks(); ++sub) {
    read_sub_block(format, row, sub, w);
    for (std::int64_t t = token_begin; t < token_end; ++t) {
      const std::int8_t* x = input.codes + t * input.columns + sub * kSubBlock;
      float sum = 0.0F;
      for (int half = 0; half < 2; ++half) {
        std::int32_t dot = 0, codes = 0;
        for (int i = half * 16; i < half * 16 + 16; ++i) {
          dot += (w.codes[i] - format.zero) * x[i];
          codes += x[i];
        }
        sum +=
            w.scale[half] * static_cast<float>(dot) - w.minimum[half] * static_cast<float>(codes);
      }
      out[t * out_stride] += sum * input.scales[t * input.blocks() + sub];
    }
  }
}

}  // namespace vramplan::cpu
