#include "kernels/cpu/quant_pack.h"

#include <cstring>

#include "modelcards/error.h"

namespace vramplan::cpu {
namespace {

/// Where group g keeps `bits` bits: which vector, and how far left.
struct Place {
  int vector, shift;
};
Place place(int bits, int group) {
  switch (bits) {
    case 1:
      return {0, group};
    case 2:
      return {group % 2, 2 * (group / 2)};
    case 4:
      return {group % 4, 4 * (group / 4)};
    default:
      return {group, 0};
  }
}

void put_codes(const QuantFormat& format, const std::uint8_t* codes, int row, std::uint8_t* out) {
  for (int i = 0; i < kSubBlock; ++i) {
    const int lane = row * 4 + i % 4, low_mask = (1 << format.low_bits) - 1;
    const Place low = place(format.low_bits, i / 4);
    std::uint8_t& target = out[low.vector * kVectorBytes + lane];
    target = static_cast<std::uint8_t>(target | ((codes[i] & low_mask) << low.shift));
    if (format.high_bits == 0) continue;
    const Place high = place(format.high_bits, i / 4);
    std::uint8_t& second = out[(format.low_bits + high.vector) * kVectorBytes + lane];
    second = static_cast<std::uint8_t>(second | ((codes[i] >> format.low_bits) << high.shift));
  }
}

void take_codes(const QuantFormat& format, const std::uint8_t* in, int row, std::uint8_t* codes) {
  for (int i = 0; i < kSubBlock; ++i) {
    const int lane = row * 4 + i % 4, low_mask = (1 << format.low_bits) - 1;
    const Place low = place(format.low_bits, i / 4);
    int code = (in[low.vector * kVectorBytes + lane] >> low.shift) & low_mask;
    if (format.high_bits != 0) {
      const Place high = place(format.high_bits, i / 4);
      const int bits = in[(format.low_bits + high.vector) * kVectorBytes + lane] >> high.shift;
      code |= (bits & ((1 << format.high_bits) - 1)) << format.low_bits;
    }
    codes[i] = static_cast<std::uint8_t>(code);
  }
}

}  // namespace

PanelShape panel_shape(const QuantFormat& format, std::int64_t columns) {
  const DTypeInfo& shape = info(format.dtype);
  PanelShape out;
  out.meta_bytes = kPanel * (format.half_count * 2 + format.byte_count);
  out.codes_offset = out.meta_bytes * (columns / shape.block_elements);
  out.sub_bytes = kVectorBytes * (format.low_bits + format.high_bits);
  out.panel_bytes = out.codes_offset + out.sub_bytes * (columns / kSubBlock);
  VRAMPLAN_CHECK(out.panel_bytes == kPanel * bytes_of(format.dtype, 1, columns).n);
  return out;
}

void pack_panel(const QuantFormat& format, std::int64_t columns, const std::uint8_t* rows,
                std::uint8_t* panel) {
  const DTypeInfo& info_ = info(format.dtype);
  const PanelShape shape = panel_shape(format, columns);
  const std::int64_t row_bytes = shape.panel_bytes / kPanel;
  std::memset(panel, 0, static_cast<std::size_t>(shape.panel_bytes));
  std::uint8_t codes[kSubBlock];
  for (int row = 0; row < kPanel; ++row) {
    const std::uint8_t* source = rows + row * row_bytes;
    for (std::int64_t b = 0; b < columns / info_.block_elements; ++b) {
      const std::uint8_t* block = source + b * info_.block_bytes;
      std::uint8_t* meta = panel + b * shape.meta_bytes;
      for (int h = 0; h < format.half_count; ++h, meta += kPanel * 2) {
        std::memcpy(meta + row * 2, block + format.half_offset + 2 * h, 2);
      }
      for (int i = 0; i < format.byte_count; ++i, meta += kPanel) {
        meta[row] = block[format.byte_offset + i];
      }
    }
    for (std::int64_t sub = 0; sub < columns / kSubBlock; ++sub) {
      read_codes(format, source, sub, codes);
      put_codes(format, codes, row, panel + shape.codes_offset + sub * shape.sub_bytes);
    }
  }
}

void read_packed_sub_block(const QuantFormat& format, std::int64_t columns,
                           const std::uint8_t* panel, int row, std::int64_t sub, SubBlock& out) {
  const PanelShape shape = panel_shape(format, columns);
  const std::int64_t block = sub * kSubBlock / info(format.dtype).block_elements;
  const std::uint8_t* meta = panel + block * shape.meta_bytes;
  std::uint16_t halves[2] = {0, 0};
  for (int h = 0; h < format.half_count; ++h, meta += kPanel * 2) {
    std::memcpy(&halves[h], meta + row * 2, 2);
  }
  std::uint8_t bytes[16] = {};
  for (int i = 0; i < format.byte_count; ++i, meta += kPanel) bytes[i] = meta[row];
  read_scales(format, halves, bytes, sub, out);
  take_codes(format, panel + shape.codes_offset + sub * shape.sub_bytes, row, out.codes);
}

}  // namespace vramplan::cpu
