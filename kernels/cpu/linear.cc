// linear and pack: which rows go to which kernel, and how they are shared among the threads.
#include <algorithm>
#include <cstring>
#include <vector>

#include "kernels/cpu/cpu_ops.h"
#include "kernels/cpu/dense_gemm.h"
#include "kernels/cpu/dequantise.h"
#include "kernels/cpu/fp8_input.h"
#include "kernels/cpu/packed_weight.h"
#include "kernels/cpu/quant_gemm.h"
#include "kernels/workspace.h"

namespace vramplan::cpu {
namespace {

// Tokens whose activations stay in a core's second-level cache while all weights pass by.
constexpr std::int64_t kTokenBlockBytes = 384 * 1024;

std::int64_t token_block(std::int64_t bytes_per_token) {
  return std::max<std::int64_t>(
      16, kTokenBlockBytes / std::max<std::int64_t>(bytes_per_token, 1) / 16 * 16);
}

/// Rows in packed panels; the others are plain, after them.
std::int64_t panels_of(const WeightView& weight) {
  return weight.packing == kInterleaved16 ? weight.tensor.rows / kPanel : 0;
}

/// Few enough that threads finish together, enough that drawing them costs nothing.
std::int64_t chunk_of(std::int64_t items, int threads) {
  return std::clamp<std::int64_t>(items / (threads * 8), 1, 16);
}

}  // namespace

void CpuOps::pack(WeightView& weight) {
  const TensorView& t = weight.tensor;
  VRAMPLAN_CHECK(weight.packing == 0 && t.data != nullptr);
  if (is_packed_weight(t.dtype)) return;
  require_supported_weight(t.dtype);
  if (t.rows < kPanel) return;
  // Unrounded inputs meet plain rows, which are dequantised as the format's definition says.
  if (linear_inputs_ == DType::kF32 && is_block_quantised(t.dtype)) return;
  auto* base = static_cast<std::uint8_t*>(t.data);
  const std::int64_t panel_bytes = kPanel * bytes_of(t.dtype, 1, t.columns).n;
  const std::int64_t panels = t.rows / kPanel;
  pool_.parallel_for(panels, std::max<std::int64_t>(1, panels / (4 * pool_.size())),
                     [&](std::int64_t first, std::int64_t last, int) {
                       std::vector<std::uint8_t> rows(static_cast<std::size_t>(panel_bytes));
                       for (std::int64_t p = first; p < last; ++p) {
                         std::uint8_t* panel = base + p * panel_bytes;
                         std::memcpy(rows.data(), panel, rows.size());
                         if (is_dense_weight(t.dtype)) {
                           pack_dense_panel(t.dtype, t.columns, rows.data(), panel);
                         } else {
                           pack_panel(quant_format(t.dtype), t.columns, rows.data(), panel);
                         }
                       }
                     });
  weight.packing = kInterleaved16;
}

void CpuOps::linear(TensorView out, TensorView in, const WeightView& weight, TensorView bias,
                    TensorView workspace) {
  const TensorView& w = weight.tensor;
  const bool scaled = is_packed_weight(w.dtype);
  if (!scaled) require_supported_weight(w.dtype);
  VRAMPLAN_CHECK(in.columns == w.columns && out.columns == w.rows && in.rows == out.rows);
  VRAMPLAN_CHECK(bias.data == nullptr || bias.columns == w.rows);
  if (in.rows == 0 || w.rows == 0) return;
  const float* b = bias.data == nullptr ? nullptr : f32_data(bias);
  if (linear_inputs_ == DType::kF8E4M3 && has_fp8_rows(w.dtype))
    in = round_to_fp8(in, w.dtype, workspace);
  if (is_dense_weight(w.dtype)) return linear_dense(out, in, weight, b);
  if (scaled || linear_inputs_ == DType::kF32)
    return linear_dequantised(out, in, weight, b, workspace);
  linear_quantised(out, in, weight, b, workspace);
}

/// The values that a row's e4m3 codes stand for, at the head of the workspace: the arithmetic of
/// an fp8 product, but for the order in which its factors are applied.
TensorView CpuOps::round_to_fp8(TensorView in, DType weight, TensorView& workspace) {
  const TensorView rounded{workspace.data, DType::kF32, in.rows, in.columns};
  VRAMPLAN_CHECK(workspace.data != nullptr &&
                 workspace.bytes() >= linear_workspace(in.rows, in.columns, weight));
  const float* x = f32_data(in);
  float* y = f32_data(rounded);
  for_rows(in.rows, in.columns, [&](std::int64_t first, std::int64_t last) {
    for (std::int64_t t = first; t < last; ++t) {
      round_row_to_fp8(x + t * in.columns, in.columns, y + t * in.columns);
    }
  });
  workspace = {static_cast<std::byte*>(workspace.data) + rounded.bytes().n, DType::kI8, 1,
               (workspace.bytes() - rounded.bytes()).n};
  return rounded;
}

namespace {

/// Rows of a weight that is multiplied by unrounded inputs, in f32.
class DequantisedRows {
 public:
  explicit DequantisedRows(const TensorView& weight)
      : weight_(weight),
        packed_(is_packed_weight(weight.dtype)),
        row_bytes_(packed_ ? 0 : bytes_of(weight.dtype, 1, weight.columns).n) {}

  void read(std::int64_t row, std::int64_t count, float* rows) const {
    if (packed_) return dequantise_packed(weight_, row, static_cast<int>(count), rows);
    const auto* base = static_cast<const std::uint8_t*>(weight_.data) + row * row_bytes_;
    for (std::int64_t r = 0; r < count; ++r) {
      dequantise_row(weight_.dtype, base + r * row_bytes_, rows + r * weight_.columns,
                     weight_.columns);
    }
  }

 private:
  const TensorView& weight_;
  bool packed_;
  std::int64_t row_bytes_;
};

/// Rows of such a weight times all inputs.
struct RowsTimes {
  DequantisedRows source;
  const TensorView& w;
  const float* x;
  std::int64_t tokens;
  float* y;
  const float* bias;

  const float* bias_of(std::int64_t row) const { return bias ? bias + row : nullptr; }

  /// A few rows as they lie, or a panel of 16 for many tokens; `room` holds them, and the panel.
  void by_rows(std::int64_t row, std::int64_t count, float* room) const {
    const std::int64_t columns = w.columns;
    source.read(row, count, room);
    if (count == kDequantisedPanel && tokens > kGemvTokens) {
      float* panel = room + kDequantisedPanel * columns;
      pack_dense_panel(DType::kF32, columns, room, panel);
      const std::int64_t block = token_block(columns * 4);
      for (std::int64_t begin = 0; begin < tokens; begin += block) {
        dense_panel_product(DType::kF32, columns, panel, x, begin, std::min(begin + block, tokens),
                            bias_of(row), y + row, w.rows);
      }
      return;
    }
    for (std::int64_t r = 0; r < count; r += kDequantisedRows) {
      const auto few = static_cast<int>(std::min(kDequantisedRows, count - r));
      dense_row_product(DType::kF32, columns, room + r * columns, few, x, 0, tokens,
                        bias_of(row + r), y + row + r, w.rows);
    }
  }

  /// Many rows, as many columns at a time as `held` floats take, so that each word is read once.
  void by_columns(std::int64_t row, std::int64_t count, float* room, std::int64_t held) const {
    const std::int64_t rows = count / 16 * 16;
    const std::int64_t most = rows == 0 ? 0 : held / rows / 8 * 8;
    for (std::int64_t column = 0; rows > 0 && column < w.columns; column += most) {
      const std::int64_t columns = std::min(most, w.columns - column);
      dequantise_panels(w, {row, rows, column, columns}, room);
      const std::int64_t block = token_block(columns * 4);
      for (std::int64_t begin = 0; begin < tokens; begin += block) {
        const std::int64_t end = std::min(begin + block, tokens);
        for (std::int64_t r = 0; r < rows; r += 16) {
          f32_panel_part({room + r * columns, columns, x + column, w.columns, column > 0}, begin,
                         end, bias_of(row + r), y + row + r, w.rows);
        }
      }
    }
    for (std::int64_t r = rows; r < count; r += kDequantisedRows) {
      by_rows(row + r, std::min(kDequantisedRows, count - r), room);
    }
  }
};

/// Rows of an item whose columns are read together: up to a cache line of them, but enough items
/// for the threads, and eight columns in `held` floats.
std::int64_t rows_at_once(std::int64_t rows, std::int64_t columns, std::int64_t held, int threads) {
  std::int64_t at_once = kMostPanelRows;
  const auto few = [&] {
    return rows < 2 * at_once * threads || held < at_once * std::min<std::int64_t>(8, columns);
  };
  while (at_once > 16 && few()) at_once /= 2;
  return at_once;
}

}  // namespace

void CpuOps::linear_dequantised(TensorView out, TensorView in, const WeightView& weight,
                                const float* bias, TensorView workspace) {
  const TensorView& w = weight.tensor;
  const std::int64_t held = dequantised_rows(in.rows) * w.columns;  // floats of a thread
  VRAMPLAN_CHECK(weight.packing == 0 && workspace.data != nullptr &&
                 workspace.bytes() >= Bytes{4} * held * pool_.size());
  const RowsTimes product{DequantisedRows(w), w, f32_data(in), in.rows, f32_data(out), bias};
  const std::int64_t step = lies_by_columns(w.dtype)
                                ? rows_at_once(w.rows, w.columns, held, pool_.size())
                            : in.rows > kGemvTokens ? kDequantisedPanel
                                                    : kDequantisedRows;
  const std::int64_t items = ceil_div(w.rows, step);
  pool_.parallel_for(items, chunk_of(items, pool_.size()),
                     [&](std::int64_t first, std::int64_t last, int thread) {
                       float* room = static_cast<float*>(workspace.data) + thread * held;
                       for (std::int64_t i = first; i < last; ++i) {
                         const std::int64_t count = std::min(step, w.rows - i * step);
                         if (lies_by_columns(w.dtype))
                           product.by_columns(i * step, count, room, held);
                         else
                           product.by_rows(i * step, count, room);
                       }
                     });
}

void CpuOps::linear_quantised(TensorView out, TensorView in, const WeightView& weight,
                              const float* bias, TensorView workspace) {
  const TensorView& w = weight.tensor;
  const QuantFormat& format = quant_format(w.dtype);
  const Bytes needed = linear_workspace(in.rows, in.columns, w.dtype);
  VRAMPLAN_CHECK(workspace.data != nullptr && workspace.bytes() >= needed);
  const QuantInput input = quant_input_in(workspace.data, in.rows, in.columns);
  const float* x = f32_data(in);
  for_rows(in.rows, in.columns, [&](std::int64_t first, std::int64_t last) {
    for (std::int64_t t = first; t < last; ++t) {
      quantise_input_row(input, t, x + t * in.columns, format);
    }
  });
  const std::int64_t row_bytes = bytes_of(w.dtype, 1, w.columns).n;
  const auto* base = static_cast<const std::uint8_t*>(w.data);
  float* y = f32_data(out);
  const std::int64_t panels = panels_of(weight);
  const std::int64_t items = panels + (w.rows - panels * kPanel);
  const std::int64_t block = token_block(in.columns * 5 / 4);
  for (std::int64_t begin = 0; begin < in.rows; begin += block) {
    const std::int64_t end = std::min(begin + block, in.rows);
    pool_.parallel_for(
        items, chunk_of(items, pool_.size()), [&](std::int64_t first, std::int64_t last, int) {
          for (std::int64_t i = first; i < last; ++i) {
            const std::int64_t row = i < panels ? i * kPanel : panels * kPanel + (i - panels);
            const std::uint8_t* data = base + row * row_bytes;
            if (i < panels) {
              quant_panel_product(format, data, input, begin, end, bias ? bias + row : nullptr,
                                  y + row, out.columns);
            } else {
              quant_row_product(format, data, input, begin, end, bias ? bias[row] : 0.0F, y + row,
                                out.columns);
            }
          }
        });
  }
}

void CpuOps::linear_dense(TensorView out, TensorView in, const WeightView& weight,
                          const float* bias) {
  const TensorView& w = weight.tensor;
  const std::int64_t row_bytes = bytes_of(w.dtype, 1, w.columns).n;
  const auto* base = static_cast<const std::uint8_t*>(w.data);
  const float* x = f32_data(in);
  float* y = f32_data(out);
  const std::int64_t panels = panels_of(weight), packed = panels * kPanel;
  const std::int64_t items = panels + ceil_div(w.rows - packed, 4);
  const std::int64_t block = token_block(in.columns * 4);
  for (std::int64_t begin = 0; begin < in.rows; begin += block) {
    const std::int64_t end = std::min(begin + block, in.rows);
    pool_.parallel_for(
        items, chunk_of(items, pool_.size()), [&](std::int64_t first, std::int64_t last, int) {
          for (std::int64_t i = first; i < last; ++i) {
            const std::int64_t row = i < panels ? i * kPanel : packed + (i - panels) * 4;
            const float* b = bias ? bias + row : nullptr;
            if (i < panels) {
              dense_panel_product(w.dtype, w.columns, base + row * row_bytes, x, begin, end, b,
                                  y + row, out.columns);
            } else {
              const int count = static_cast<int>(std::min<std::int64_t>(4, w.rows - row));
              dense_row_product(w.dtype, w.columns, base + row * row_bytes, count, x, begin, end, b,
                                y + row, out.columns);
            }
          }
        });
  }
}

}  // namespace vramplan::cpu
