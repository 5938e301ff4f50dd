#pragma once
// out[t, o] = sum_i in[t, i] * weight[o, i] (+ bias[o]) for weights of every format, sums in f32.
// Few tokens: a warp owns two weight rows and reads each weight byte once (memory bound).
// Many tokens: tiles of 64 weight rows in shared memory (arithmetic bound).
#include "kernels/cuda/packed_weight.cuh"
#include "kernels/cuda/quant.cuh"

namespace vramplan::cuda::VRAMPLAN_KERNELS {

struct LinearArguments {
  void* out = nullptr;       // [tokens, rows]
  const void* in = nullptr;  // [tokens, columns]
  const std::uint8_t* weight = nullptr;
  const float* bias = nullptr;  // [rows], may be null
  std::int64_t tokens = 0, rows = 0, columns = 0, row_bytes = 0;
  DType in_dtype = DType::kF32, out_dtype = DType::kF32;
  bool vector = false;  // see load_part
  PackedRows packed;    // of packed formats: what lies beside the codes
  // [tokens], of inputs in e4m3 codes. Last: in front of `vector` nvcc 13 no longer makes a loop
  // for each of its values, and a multiprocessor has fewer loads on their way.
  const float* in_scales = nullptr;
};

inline constexpr int kGemvWarps = 4, kGemvRows = 2;    // rows of a warp
inline constexpr int kGemvChunk = 1024;                // elements of the input staged at a time
inline constexpr int kGemmRows = 64, kGemmDepth = 32;  // weight rows and elements of a tile

/// Part j of sub-block `sub` of weight row `row`, which starts at `at` unless it is packed.
template <DType F>
VRAMPLAN_DEVICE void load_weight(const LinearArguments& a, const std::uint8_t* at, std::int64_t row,
                                 std::int64_t sub, int j, float (&w)[8]) {
  if constexpr (kPackedFormat<F>) {
    dev::load_packed<F>(a.packed, a.weight, dev::least(row, a.rows - 1), sub, j, w);
  } else {
    dev::load_part<F>(at, sub, j, a.columns, a.vector, w);
  }
}

/// Formats that also meet inputs in e4m3 codes (kFp8Block reads every packed fp8). The others keep
/// kernels without that branch.
template <DType F>
inline constexpr bool kFp8Inputs = F == DType::kF8E4M3 || F == DType::kFp8Block;

template <DType F>
VRAMPLAN_DEVICE float load_input(const LinearArguments& a, std::int64_t i) {
  if constexpr (kFp8Inputs<F>) {
    if (a.in_scales != nullptr) return dev::to_f32(static_cast<const F8*>(a.in)[i]);
  }
  return dev::load_as(a.in_dtype, a.in, i);
}
/// A sum over all columns as it is stored: scaled, with its bias.
template <DType F>
VRAMPLAN_DEVICE void store_sum(const LinearArguments& a, std::int64_t t, std::int64_t row,
                               float sum) {
  if constexpr (kFp8Inputs<F>) {
    if (a.in_scales != nullptr) sum *= a.in_scales[t];
  }
  dev::store_as(a.out_dtype, a.out, t * a.rows + row,
                sum + (a.bias == nullptr ? 0.0F : a.bias[row]));
}

/// One step of the GEMV: part j of sub-block `sub` against kTokens staged inputs. `x` holds, per
/// token, first all elements 0..15 of the sub-blocks, then all 16..31, so that lanes read side by
/// side.
template <int kTokens>
VRAMPLAN_DEVICE void multiply_part(const float (&w)[8], const float* x, int at,
                                   float (&sum)[kTokens]) {
#pragma unroll
  for (int t = 0; t < kTokens; ++t) {
    const auto low = dev::load<dev::F4>(x + t * kGemvChunk + at);
    const auto high = dev::load<dev::F4>(x + t * kGemvChunk + kGemvChunk / 2 + at);
    float s = sum[t];
    s += w[0] * low.x + w[1] * low.y + w[2] * low.z + w[3] * low.w;
    s += w[4] * high.x + w[5] * high.y + w[6] * high.z + w[7] * high.w;
    sum[t] = s;
  }
}

/// Stages elements [begin, begin + kGemvChunk) of up to kTokens inputs; zeros beyond the ends.
template <DType F, int kTokens>
VRAMPLAN_DEVICE void stage_inputs(const LinearArguments& a, std::int64_t begin, float* x) {
  for (int i = static_cast<int>(threadIdx.x); i < kTokens * kGemvChunk;
       i += static_cast<int>(blockDim.x)) {
    const int t = i / kGemvChunk, k = i % kGemvChunk;
    const bool inside = t < a.tokens && begin + k < a.columns;
    const int place = k / 32 * 16 + k % 16 + (k % 32 < 16 ? 0 : kGemvChunk / 2);
    x[t * kGemvChunk + place] = inside ? load_input<F>(a, t * a.columns + begin + k) : 0.0F;
  }
}

template <DType F, int kTokens>
VRAMPLAN_KERNEL VRAMPLAN_BOUNDS(128) gemv_kernel(LinearArguments a) {
  VRAMPLAN_SHARED(float, x, kTokens* kGemvChunk);
  const int lane = dev::lane();
  const std::int64_t first =
      (static_cast<std::int64_t>(blockIdx.x) * kGemvWarps + dev::warp()) * kGemvRows;
  const std::uint8_t* rows[kGemvRows];
#pragma unroll
  for (int r = 0; r < kGemvRows; ++r) {  // beyond the end: the last row again, not stored
    rows[r] = a.weight + dev::least(first + r, a.rows - 1) * a.row_bytes;
  }
  float sum[kGemvRows][kTokens] = {};
  for (std::int64_t begin = 0; begin < a.columns; begin += kGemvChunk) {
    __syncthreads();
    stage_inputs<F, kTokens>(a, begin, x);
    __syncthreads();
    const std::int64_t left = (a.columns - begin + 31) / 32;
    const int subs = static_cast<int>(dev::least<std::int64_t>(left, kGemvChunk / 32));
#pragma unroll 4
    for (int s = lane / 4; s < subs; s += 8) {
#pragma unroll
      for (int r = 0; r < kGemvRows; ++r) {
        float w[8];
        load_weight<F>(a, rows[r], first + r, begin / 32 + s, lane % 4, w);
        multiply_part<kTokens>(w, x, s * 16 + 4 * (lane % 4), sum[r]);
      }
    }
  }
#pragma unroll
  for (int r = 0; r < kGemvRows; ++r) {
#pragma unroll
    for (int t = 0; t < kTokens; ++t) {
      const float total = dev::warp_sum(sum[r][t]);
      const std::int64_t row = first + r;
      if (lane == 0 && row < a.rows && t < a.tokens) store_sum<F>(a, t, row, total);
    }
  }
}

/// Tile of kTile tokens x 64 rows; 256 threads as 16 x 16, each kTile / 16 tokens x 4 rows.
template <DType F, int kTile>
VRAMPLAN_KERNEL VRAMPLAN_BOUNDS(256) gemm_kernel(LinearArguments a) {
  constexpr int kMine = kTile / 16, kPitch = kGemmRows + 4, kTokenPitch = kTile + 4;
  VRAMPLAN_SHARED(float, w_tile, kGemmDepth* kPitch);       // [depth][row]
  VRAMPLAN_SHARED(float, x_tile, kGemmDepth* kTokenPitch);  // [depth][token]
  const int thread = static_cast<int>(threadIdx.x);
  const std::int64_t row0 = static_cast<std::int64_t>(blockIdx.x) * kGemmRows;
  const std::int64_t token0 = static_cast<std::int64_t>(blockIdx.y) * kTile;
  const int my_row = thread / 4, part = thread % 4;  // what this thread dequantises
  const std::uint8_t* source = a.weight + dev::least(row0 + my_row, a.rows - 1) * a.row_bytes;
  const int tx = thread % 16, ty = thread / 16;
  float sum[kMine][4] = {};
  for (std::int64_t sub = 0; sub * kGemmDepth < a.columns; ++sub) {
    float w[8];
    load_weight<F>(a, source, row0 + my_row, sub, part, w);
    __syncthreads();
#pragma unroll
    for (int i = 0; i < 8; ++i) {
      w_tile[(4 * part + (i < 4 ? i : i + 12)) * kPitch + my_row] = w[i];
    }
    for (int i = thread; i < kTile * kGemmDepth; i += 256) {
      const std::int64_t t = token0 + i / kGemmDepth, k = sub * kGemmDepth + i % kGemmDepth;
      const bool inside = t < a.tokens && k < a.columns;
      x_tile[i % kGemmDepth * kTokenPitch + i / kGemmDepth] =
          inside ? load_input<F>(a, t * a.columns + k) : 0.0F;
    }
    __syncthreads();
#pragma unroll 8
    for (int k = 0; k < kGemmDepth; ++k) {
      const auto v = dev::load<dev::F4>(w_tile + k * kPitch + 4 * tx);
#pragma unroll
      for (int m = 0; m < kMine; ++m) {
        const float x = x_tile[k * kTokenPitch + ty * kMine + m];
        sum[m][0] += x * v.x;
        sum[m][1] += x * v.y;
        sum[m][2] += x * v.z;
        sum[m][3] += x * v.w;
      }
    }
  }
#pragma unroll
  for (int m = 0; m < kMine; ++m) {
    const std::int64_t t = token0 + ty * kMine + m;
#pragma unroll
    for (int r = 0; r < 4; ++r) {
      const std::int64_t row = row0 + 4 * tx + r;
      if (t < a.tokens && row < a.rows) store_sum<F>(a, t, row, sum[m][r]);
    }
  }
}

}  // namespace vramplan::cuda::VRAMPLAN_KERNELS
