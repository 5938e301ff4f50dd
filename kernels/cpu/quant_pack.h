#pragma once
// Packed block-quantised weights: 16 rows interleaved, so that one vector holds the same 4 columns
// of 16 rows. The bytes of 16 packed rows are exactly those of 16 plain rows.
//
// A panel of 16 rows, n columns:
//   per block of the format: its f16 fields, each 16 rows side by side (32 bytes a field), then
//     its scale bytes, each 16 rows side by side (16 bytes a byte)
//   then per 32 columns, vectors of 64 bytes = 16 rows x 4 codes. Call the 4 columns 4g..4g+3
//     group g, g = 0..7:
//     4 low bits: 4 vectors; vector v holds group v in the low and v + 4 in the high nibble
//     2 low bits: 2 vectors; vector v holds group v + 2j in bits 2j, 2j + 1
//     8 bits: 8 vectors, one a group
//     1 high bit: 1 vector; bit g belongs to group g
//     2 high bits: 2 vectors; vector v holds group v + 2j in bits 2j, 2j + 1
// Rows beyond the last multiple of 16 stay plain at the end.
#include <cstdint>

#include "kernels/cpu/quant_blocks.h"

namespace vramplan::cpu {

inline constexpr std::int64_t kPanel = 16;  // rows interleaved
inline constexpr int kVectorBytes = 64;     // 16 rows x 4 codes
inline constexpr int kGroups = 8;           // groups of 4 columns in 32

/// Sizes of a panel of `columns` columns.
struct PanelShape {
  std::int64_t meta_bytes = 0;    // of one block of the format, 16 rows
  std::int64_t codes_offset = 0;  // bytes from the panel to its codes
  std::int64_t sub_bytes = 0;     // bytes of codes per 32 columns, 16 rows
  std::int64_t panel_bytes = 0;   // = 16 * bytes of a plain row
};
PanelShape panel_shape(const QuantFormat& format, std::int64_t columns);

/// Packs 16 consecutive plain rows into `panel`; the two do not overlap.
void pack_panel(const QuantFormat& format, std::int64_t columns, const std::uint8_t* rows,
                std::uint8_t* panel);

/// Decodes sub-block `sub` of row `row` (0..15) of a panel.
void read_packed_sub_block(const QuantFormat& format, std::int64_t columns,
                           const std::uint8_t* panel, int row, std::int64_t sub, SubBlock& out);

}  // namespace vramplan::cpu
