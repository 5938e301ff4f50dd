#include "kernels/cpu/dense_gemm.h"

#include <cstddef>
#include <cstring>

#include "kernels/cpu/dequantise.h"
#include "kernels/cpu/quant_pack.h"
#include "kernels/cpu/simd.h"
#include "modelcards/error.h"

namespace vramplan::cpu {
namespace {

constexpr int kParts = static_cast<int>(kPanel) / kLanes;

// The weight types as template arguments: how a vector of them becomes f32.
struct F32Weight {
  using Element = float;
  static Vf vector(const Element* p) { return load(p); }
  static float scalar(Element v) { return v; }
};
struct F16Weight {
  using Element = std::uint16_t;
  static Vf vector(const Element* p) { return load_f16(p); }
  static float scalar(Element v) { return f16_to_f32(v); }
};
struct BF16Weight {
  using Element = std::uint16_t;
  static Vf vector(const Element* p) { return load_bf16(p); }
  static float scalar(Element v) { return bf16_to_f32(v); }
};
struct F8Weight {
  using Element = std::uint8_t;
  static Vf vector(const Element* p) { return load_f8(p); }
  static float scalar(Element v) { return f8_to_f32(v); }
};

template <class Function>
void with_weight(DType dtype, const Function& function) {
  switch (dtype) {
    case DType::kF32:
      return function(F32Weight{});
    case DType::kF16:
      return function(F16Weight{});
    case DType::kBF16:
      return function(BF16Weight{});
    case DType::kF8E4M3:
      return function(F8Weight{});
    default:
      VRAMPLAN_CHECK(false && "not a dense weight");
  }
}

struct Product {
  std::int64_t columns;
  const float* x;
  const float* bias;
  float* out;
  std::int64_t out_stride;
  std::int64_t x_stride = columns;  // of a row of x, of which these columns are a part
  bool adds = false;                // to what `out` holds, instead of the bias
};

/// kTokens tokens from `token`; kChains partial sums a token hide the latency of the additions.
template <class W, int kTokens, int kChains>
inline void token_tile(const Product& p, const typename W::Element* panel, int part,
                       std::int64_t token) {
  Vf acc[kTokens][kChains];
  VRAMPLAN_UNROLL
  for (auto& chains : acc) {
    VRAMPLAN_UNROLL
    for (Vf& chain : chains) chain = zero();
  }
  const float* x = p.x + token * p.x_stride;
  const typename W::Element* w = panel + part * kLanes;
  std::int64_t c = 0;
  for (; c + kChains <= p.columns; c += kChains, w += kChains * kPanel) {
    VRAMPLAN_UNROLL
    for (int k = 0; k < kChains; ++k) {
      const Vf weight = W::vector(w + k * kPanel);
      VRAMPLAN_UNROLL
      for (int t = 0; t < kTokens; ++t) {
        acc[t][k] = fma(weight, set1(x[t * p.x_stride + c + k]), acc[t][k]);
      }
    }
  }
  for (; c < p.columns; ++c, w += kPanel) {
    VRAMPLAN_UNROLL
    for (int t = 0; t < kTokens; ++t) {
      acc[t][0] = fma(W::vector(w), set1(x[t * p.x_stride + c]), acc[t][0]);
    }
  }
  const Vf bias = p.bias == nullptr ? zero() : load(p.bias + part * kLanes);
  VRAMPLAN_UNROLL
  for (int t = 0; t < kTokens; ++t) {
    Vf sum = acc[t][0];
    VRAMPLAN_UNROLL
    for (int k = 1; k < kChains; ++k) sum = sum + acc[t][k];
    float* const out = p.out + (token + t) * p.out_stride + part * kLanes;
    store(out, sum + (p.adds ? load(out) : bias));
  }
}

// Tokens that share one reading of the weights while every sum fits the registers.
constexpr int kTile = kLanes == 16 ? 16 : 8;

/// The last `count` <= kTokens tokens in one tile: the weights of a few tokens are read once.
template <class W, int kTokens>
inline void last_tile(const Product& p, const typename W::Element* panel, int part,
                      std::int64_t token, std::int64_t count) {
  if constexpr (kTokens > 0) {
    constexpr int kChains = kTokens == 1 ? 8 : kTokens == 2 ? 4 : 2 * kTokens > kTile ? 1 : 2;
    if (count == kTokens) return token_tile<W, kTokens, kChains>(p, panel, part, token);
    last_tile<W, kTokens - 1>(p, panel, part, token, count);
  }
}

template <class W>
void panel_product(const Product& p, const typename W::Element* panel, std::int64_t begin,
                   std::int64_t end) {
  for (int part = 0; part < kParts; ++part) {
    std::int64_t t = begin;
    for (; t + kTile <= end; t += kTile) token_tile<W, kTile, 1>(p, panel, part, t);
    for (; t + 8 <= end; t += 4) token_tile<W, 4, 2>(p, panel, part, t);  // two of 4 beat one of 8
    last_tile<W, 7>(p, panel, part, t, end - t);
  }
}

/// kRows plain rows with one token: dot products along the columns.
template <class W, int kRows>
inline void row_dots(const Product& p, const typename W::Element* rows, std::int64_t token) {
  Vf acc[kRows];
  VRAMPLAN_UNROLL
  for (Vf& a : acc) a = zero();
  const float* x = p.x + token * p.columns;
  std::int64_t c = 0;
  for (; c + kLanes <= p.columns; c += kLanes) {
    const Vf input = load(x + c);
    VRAMPLAN_UNROLL
    for (int r = 0; r < kRows; ++r)
      acc[r] = fma(W::vector(rows + r * p.columns + c), input, acc[r]);
  }
  VRAMPLAN_UNROLL
  for (int r = 0; r < kRows; ++r) {
    float sum = reduce_add(acc[r]);
    for (std::int64_t i = c; i < p.columns; ++i) sum += W::scalar(rows[r * p.columns + i]) * x[i];
    p.out[token * p.out_stride + r] = sum + (p.bias == nullptr ? 0.0F : p.bias[r]);
  }
}

}  // namespace

bool is_dense_weight(DType dtype) {
  return dtype == DType::kF32 || dtype == DType::kF16 || dtype == DType::kBF16 ||
         dtype == DType::kF8E4M3;
}

void pack_dense_panel(DType dtype, std::int64_t columns, const void* rows, void* panel) {
  const auto size = static_cast<std::size_t>(info(dtype).block_bytes);
  const auto* in = static_cast<const std::byte*>(rows);
  auto* out = static_cast<std::byte*>(panel);
  const auto n = static_cast<std::size_t>(columns);
  for (std::size_t c = 0; c < n; ++c) {
    for (std::size_t r = 0; r < static_cast<std::size_t>(kPanel); ++r, out += size) {
      std::memcpy(out, in + (r * n + c) * size, size);
    }
  }
}

void dense_panel_product(DType dtype, std::int64_t columns, const void* panel, const float* x,
                         std::int64_t token_begin, std::int64_t token_end, const float* bias,
                         float* out, std::int64_t out_stride) {
  const Product p{columns, x, bias, out, out_stride};
  with_weight(dtype, [&](auto weight) {
    using W = decltype(weight);
    panel_product<W>(p, static_cast<const typename W::Element*>(panel), token_begin, token_end);
  });
}

void f32_panel_part(const F32PanelPart& part, std::int64_t token_begin, std::int64_t token_end,
                    const float* bias, float* out, std::int64_t out_stride) {
  const Product p{part.columns, part.x, bias, out, out_stride, part.x_stride, part.adds};
  panel_product<F32Weight>(p, part.panel, token_begin, token_end);
}

void dense_row_product(DType dtype, std::int64_t columns, const void* rows, int row_count,
                       const float* x, std::int64_t token_begin, std::int64_t token_end,
                       const float* bias, float* out, std::int64_t out_stride) {
  const Product p{columns, x, bias, out, out_stride};
  with_weight(dtype, [&](auto weight) {
    using W = decltype(weight);
    const auto* w = static_cast<const typename W::Element*>(rows);
    for (std::int64_t t = token_begin; t < token_end; ++t) {
      switch (row_count) {
        case 1:
          row_dots<W, 1>(p, w, t);
          break;
        case 2:
          row_dots<W, 2>(p, w, t);
          break;
        case 3:
          row_dots<W, 3>(p, w, t);
          break;
        default:
          row_dots<W, 4>(p, w, t);
      }
    }
  });
}

}  // namespace vramplan::cpu
