#pragma once
// Where things lie for the warpgroup tensor cores of sm_90a: tiles in shared memory, the
// descriptors of matrices in them, and which boxes of the paged cache make a tile. Plain integer
// arithmetic, for device, host and tests alike.
// Source: PTX ISA 9.0, wgmma "Shared Memory Matrix Layout" and "Matrix Descriptor Format".
#include <cstdint>

#if defined(__CUDACC__)
#define VRAMPLAN_EVERYWHERE __host__ __device__ constexpr
#else
#define VRAMPLAN_EVERYWHERE constexpr
#endif

namespace vramplan::cuda {

/// A tile [rows, columns] of 16-bit elements lies as panels of 64 columns one after another; in a
/// panel a row is 128 bytes, and the eight 16-byte chunks of a row are exchanged by the row number,
/// so that eight rows of one chunk touch all banks. Tiles start at multiples of 1024 bytes.
inline constexpr int kPanelColumns = 64, kPanelRowBytes = 128, kTileAlign = 1024;

/// The 128-byte swizzle of a byte's address: bits 4-6 are changed by bits 7-9. Its own inverse.
VRAMPLAN_EVERYWHERE int swizzle_128(int byte) { return byte ^ ((byte >> 3) & 0x70); }

/// Byte offset of an element in a tile of `rows` rows, a multiple of 8.
VRAMPLAN_EVERYWHERE int tile_byte(int rows, int row, int column) {
  return swizzle_128((column / kPanelColumns * rows + row) * kPanelRowBytes +
                     column % kPanelColumns * 2);
}

/// A matrix operand in shared memory with the 128-byte swizzle. `address`: of its first element;
/// bytes are multiples of 16 below 2^18. Where contraction runs along a row (K-major), `stride`
/// goes from eight rows to the next eight and `leading` is not used. Where it runs across rows
/// (MN-major), `leading` goes from a panel to the next and `stride` from eight rows to the next.
VRAMPLAN_EVERYWHERE std::uint64_t matrix_descriptor(std::uint32_t address, std::uint32_t leading,
                                                    std::uint32_t stride) {
  const std::uint64_t swizzle_mode = 1;  // 128 bytes
  return (std::uint64_t{address} & 0x3FFFFU) >> 4 | (std::uint64_t{leading} & 0x3FFFFU) >> 4 << 16 |
         (std::uint64_t{stride} & 0x3FFFFU) >> 4 << 32 | swizzle_mode << 62;
}

/// Rows row..row+63 (or all columns of B) and elements k..k+15 of a K-major tile.
VRAMPLAN_EVERYWHERE std::uint64_t k_major(std::uint32_t tile, int rows, int row, int k) {
  const int byte = (k / kPanelColumns * rows + row) * kPanelRowBytes + k % kPanelColumns * 2;
  return matrix_descriptor(tile + static_cast<std::uint32_t>(byte), 16, 8 * kPanelRowBytes);
}
/// All columns of rows row..row+15 of a tile whose rows are contracted.
VRAMPLAN_EVERYWHERE std::uint64_t mn_major(std::uint32_t tile, int rows, int row) {
  return matrix_descriptor(tile + static_cast<std::uint32_t>(row * kPanelRowBytes),
                           static_cast<std::uint32_t>(rows * kPanelRowBytes), 8 * kPanelRowBytes);
}

/// A tile of the cache is filled by boxes, each with up to kTileTokens tokens of one block.
inline constexpr int kTileTokens = 128;

/// Tokens of a box; blocks are multiples of 8 that divide a tile or are divided by it.
VRAMPLAN_EVERYWHERE int box_tokens(int block_tokens) {
  return block_tokens < kTileTokens ? block_tokens : kTileTokens;
}
VRAMPLAN_EVERYWHERE bool has_boxes(std::int64_t block_tokens) {
  return block_tokens > 0 && block_tokens % 8 == 0 &&
         (kTileTokens % block_tokens == 0 || block_tokens % kTileTokens == 0);
}

/// The tiles over tokens [first, last), first < last: they begin with the box of `first`.
struct TileWalk {
  int start, last, box;

  VRAMPLAN_EVERYWHERE int tiles() const { return (last - start + kTileTokens - 1) / kTileTokens; }
  VRAMPLAN_EVERYWHERE int token(int tile) const { return start + tile * kTileTokens; }
  /// Boxes of a tile that hold a token before `last`; blocks behind may not exist.
  VRAMPLAN_EVERYWHERE int boxes(int tile) const {
    const int left = last - token(tile);
    return ((left < kTileTokens ? left : kTileTokens) + box - 1) / box;
  }
};
VRAMPLAN_EVERYWHERE TileWalk tile_walk(int first, int last, int block_tokens) {
  const int box = box_tokens(block_tokens);
  return {first / box * box, last, box};
}

/// Where a box lies in the cache: in which block of the sequence, from which of its tokens on.
struct BoxPlace {
  int block, token;
};
VRAMPLAN_EVERYWHERE BoxPlace box_place(int token, int block_tokens) {
  return {token / block_tokens, token % block_tokens};
}

/// Whether queries at positions [first_query, last_query] all see all tokens [token, token +
/// count): then the tile needs no mask. window 0: no window.
VRAMPLAN_EVERYWHERE bool sees_whole_tile(int first_query, int last_query, int token, int count,
                                         int window) {
  return token + count - 1 <= first_query && (window <= 0 || token > last_query - window);
}

}  // namespace vramplan::cuda
