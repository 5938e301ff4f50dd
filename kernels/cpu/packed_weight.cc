#include "kernels/cpu/packed_weight.h"

#include <cstring>

#include "kernels/cpu/half.h"
#include "kernels/cpu/simd.h"
#include "modelcards/error.h"

namespace vramplan::cpu {
namespace {

template <class T>
T read(const std::byte* base, std::int64_t index) {  // parts start at any byte
  T value;
  std::memcpy(&value, base + index * static_cast<std::int64_t>(sizeof(T)), sizeof(T));
  return value;
}
float read_f16(const std::byte* base, std::int64_t i) {
  return f16_to_f32(read<std::uint16_t>(base, i));
}
float read_bf16(const std::byte* base, std::int64_t i) {
  return bf16_to_f32(read<std::uint16_t>(base, i));
}
std::uint32_t nibble(std::uint32_t word, std::int64_t i) { return (word >> (4 * i)) & 15U; }

/// Where AWQ puts row r of eight: even ones in the low half of the word.
std::int64_t awq_place(std::int64_t r) { return r % 2 * 4 + r % 8 / 2; }

struct Packed {
  const std::byte* base;
  std::int64_t rows, columns;
  PackedParts parts;

  const std::byte* scales() const { return base + parts.scales; }
  const std::byte* zeros() const { return base + parts.zeros; }
};

void scaled_codes(const std::uint8_t* codes, std::int64_t n, float scale, float* out) {
  std::int64_t i = 0;
  for (; i + kLanes <= n; i += kLanes) store(out + i, load_f8(codes + i) * set1(scale));
  for (; i < n; ++i) out[i] = f8_to_f32(codes[i]) * scale;
}

void fp8_row(const Packed& w, DType dtype, std::int64_t row, float* out) {
  const auto* codes = reinterpret_cast<const std::uint8_t*>(w.base) + row * w.columns;
  if (dtype == DType::kFp8Tensor) {
    return scaled_codes(codes, w.columns, read<float>(w.base + w.parts.matrix, 0), out);
  }
  if (dtype == DType::kFp8Channel) {
    return scaled_codes(codes, w.columns, read_bf16(w.scales(), row), out);
  }
  const std::int64_t across = ceil_div(w.columns, 128);
  for (std::int64_t b = 0; b < across; ++b) {
    const std::int64_t n = w.columns - 128 * b < 128 ? w.columns - 128 * b : 128;
    scaled_codes(codes + 128 * b, n, read<float>(w.scales(), row / 128 * across + b),
                 out + 128 * b);
  }
}

void int8_row(const Packed& w, std::int64_t row, float* out) {
  const auto* codes = reinterpret_cast<const std::int8_t*>(w.base) + row * w.columns;
  const float scale = read_bf16(w.scales(), row);
  for (std::int64_t c = 0; c < w.columns; ++c) out[c] = static_cast<float>(codes[c]) * scale;
}

void awq_row(const Packed& w, std::int64_t row, float* out) {
  const std::int64_t words = w.rows / 8, place = awq_place(row);
  for (std::int64_t g = 0; g * w.parts.group < w.columns; ++g) {
    const float scale = read_f16(w.scales(), g * w.rows + row);
    const auto zero =
        static_cast<int>(nibble(read<std::uint32_t>(w.zeros(), g * words + row / 8), place));
    for (std::int64_t c = g * w.parts.group; c < (g + 1) * w.parts.group; ++c) {
      const std::uint32_t word = read<std::uint32_t>(w.base, c * words + row / 8);
      out[c] = static_cast<float>(static_cast<int>(nibble(word, place)) - zero) * scale;
    }
  }
}

void gptq_row(const Packed& w, std::int64_t row, float* out) {
  const std::byte* group_of = w.base + w.parts.groups;
  const std::int64_t groups = w.columns / w.parts.group;
  for (std::int64_t c = 0; c < w.columns; c += 8) {
    const std::uint32_t word = read<std::uint32_t>(w.base, c / 8 * w.rows + row);
    for (std::int64_t i = 0; i < 8; ++i) {
      const std::int64_t g = read<std::int32_t>(group_of, c + i);
      VRAMPLAN_CHECK(g >= 0 && g < groups);
      const auto zero = static_cast<int>(
          nibble(read<std::uint32_t>(w.zeros(), g * (w.rows / 8) + row / 8), row % 8) + 1);
      out[c + i] = static_cast<float>(static_cast<int>(nibble(word, i)) - zero) *
                   read_f16(w.scales(), g * w.rows + row);
    }
  }
}

void words_row(const Packed& w, std::int64_t row, float* out) {
  const std::int64_t groups = w.columns / w.parts.group;
  for (std::int64_t c = 0; c < w.columns; c += 8) {
    const std::uint32_t word = read<std::uint32_t>(w.base, (row * w.columns + c) / 8);
    const float scale = read_bf16(w.scales(), row * groups + c / w.parts.group);
    for (std::int64_t i = 0; i < 8; ++i) {
      out[c + i] = static_cast<float>(static_cast<int>(nibble(word, i)) - 8) * scale;
    }
  }
}

/// Scales and zero points of a group of columns, for the rows at hand. Changes with the column.
class GroupOfRows {
 public:
  GroupOfRows(const Packed& w, std::int64_t row, std::int64_t rows, bool awq)
      : w_(w), row_(row), rows_(rows), awq_(awq) {}

  void move_to(std::int64_t group) {
    if (group == group_) return;
    group_ = group;
    for (std::int64_t r = 0; r < rows_; ++r) {
      const std::int64_t row = row_ + r;
      const std::uint32_t word = read<std::uint32_t>(w_.zeros(), group * (w_.rows / 8) + row / 8);
      scale[r] = read_f16(w_.scales(), group * w_.rows + row);
      zero[r] = static_cast<float>(awq_ ? nibble(word, awq_place(row)) : nibble(word, row % 8) + 1);
    }
  }
  float scale[kMostPanelRows], zero[kMostPanelRows];

 private:
  const Packed& w_;
  std::int64_t row_, rows_, group_ = -1;
  bool awq_;
};

/// A word holds eight rows of a column.
void awq_panels(const Packed& w, const PanelPart& part, float* out) {
  alignas(64) static constexpr std::uint32_t kShift[16] = {0, 16, 4, 20, 8, 24, 12, 28,
                                                           0, 16, 4, 20, 8, 24, 12, 28};
  GroupOfRows group(w, part.row, part.rows, true);
  for (std::int64_t i = 0; i < part.count; ++i) {
    const std::int64_t column = part.column + i;
    group.move_to(column / w.parts.group);
    const std::byte* from = w.base + 4 * (column * (w.rows / 8) + part.row / 8);
    for (std::int64_t r = 0; r < part.rows; r += 16) {
      const std::uint32_t low = read<std::uint32_t>(from, r / 8);
      const std::uint32_t high = read<std::uint32_t>(from, r / 8 + 1);
      float* to = out + (r / 16 * part.count + i) * 16;
      for (std::size_t k = 0; k < 16; ++k) {
        const auto code = static_cast<int>(((k < 8 ? low : high) >> kShift[k]) & 15U);
        const std::size_t at = static_cast<std::size_t>(r) + k;
        to[k] = (static_cast<float>(code) - group.zero[at]) * group.scale[at];
      }
    }
  }
}

/// A word holds eight columns of a row, and words of neighbouring rows lie side by side.
void gptq_panels(const Packed& w, const PanelPart& part, float* out) {
  const std::byte* group_of = w.base + w.parts.groups;
  const std::int64_t groups = w.columns / w.parts.group;
  GroupOfRows group(w, part.row, part.rows, false);
  for (std::int64_t i = 0; i < part.count; ++i) {
    const std::int64_t column = part.column + i;
    const std::int64_t g = read<std::int32_t>(group_of, column);
    VRAMPLAN_CHECK(g >= 0 && g < groups);
    group.move_to(g);
    const auto shift = static_cast<std::uint32_t>(4 * (column % 8));
    const std::byte* from = w.base + 4 * (column / 8 * w.rows + part.row);
    for (std::int64_t r = 0; r < part.rows; r += 16) {
      std::uint32_t words[16];
      std::memcpy(words, from + 4 * r, sizeof words);
      float* to = out + (r / 16 * part.count + i) * 16;
      for (std::size_t k = 0; k < 16; ++k) {
        const auto code = static_cast<int>((words[k] >> shift) & 15U);
        const std::size_t at = static_cast<std::size_t>(r) + k;
        to[k] = (static_cast<float>(code) - group.zero[at]) * group.scale[at];
      }
    }
  }
}

Packed packed_of(const TensorView& weight) {
  return {static_cast<const std::byte*>(weight.data), weight.rows, weight.columns,
          packed_parts(weight.dtype, weight.rows, weight.columns)};
}

}  // namespace

bool lies_by_columns(DType dtype) {
  const PackedKind kind = packed_kind(dtype);
  return kind == PackedKind::kAwq || kind == PackedKind::kGptq;
}

void dequantise_panels(const TensorView& weight, const PanelPart& part, float* out) {
  VRAMPLAN_CHECK(part.rows % 16 == 0 && part.rows <= kMostPanelRows && part.row % 8 == 0);
  VRAMPLAN_CHECK(part.column % 8 == 0 && part.count % 8 == 0);
  const Packed w = packed_of(weight);
  if (packed_kind(weight.dtype) == PackedKind::kAwq)
    awq_panels(w, part, out);
  else
    gptq_panels(w, part, out);
}

void dequantise_packed(const TensorView& weight, std::int64_t row, int count, float* out) {
  const Packed w = packed_of(weight);
  const PackedKind kind = packed_kind(weight.dtype);
  for (int r = 0; r < count; ++r, out += w.columns) {
    if (kind == PackedKind::kFp8) fp8_row(w, weight.dtype, row + r, out);
    if (kind == PackedKind::kInt8) int8_row(w, row + r, out);
    if (kind == PackedKind::kAwq) awq_row(w, row + r, out);
    if (kind == PackedKind::kGptq) gptq_row(w, row + r, out);
    if (kind == PackedKind::kWords) words_row(w, row + r, out);
  }
}

}  // namespace vramplan::cpu
