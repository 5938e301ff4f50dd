#include "kernels/cuda/warpgroup_layout.h"

#include <gtest/gtest.h>

#include <map>
#include <set>
#include <vector>

namespace vramplan::cuda {
namespace {

TEST(WarpgroupLayout, EveryElementOfATileHasAPlaceOfItsOwn) {
  for (const int rows : {8, 64, 128}) {
    for (const int columns : {64, 128}) {
      std::set<int> bytes;
      for (int r = 0; r < rows; ++r) {
        for (int c = 0; c < columns; ++c) bytes.insert(tile_byte(rows, r, c));
      }
      EXPECT_EQ(bytes.size(), static_cast<std::size_t>(rows * columns));
      EXPECT_EQ(*bytes.begin(), 0);
      EXPECT_EQ(*bytes.rbegin(), 2 * rows * columns - 2);
    }
  }
}

TEST(WarpgroupLayout, EightRowsOfAChunkTouchAllBanks) {
  for (int row = 0; row < 128; row += 8) {
    for (int column = 0; column < 128; column += 8) {
      std::set<int> banks;  // groups of 16 bytes of the 128 that one cycle delivers
      for (int r = 0; r < 8; ++r) banks.insert(tile_byte(128, row + r, column) / 16 % 8);
      EXPECT_EQ(banks.size(), 8U);
    }
  }
}

TEST(WarpgroupLayout, TheSwizzleIsItsOwnInverseAndMovesWholeChunks) {
  for (int byte = 0; byte < 4096; ++byte) {
    EXPECT_EQ(swizzle_128(swizzle_128(byte)), byte);
    EXPECT_EQ(swizzle_128(byte) / 128, byte / 128);
    EXPECT_EQ(swizzle_128(byte) % 16, byte % 16);
  }
}

struct Fields {
  int address, leading, stride, base, mode;
};
Fields fields_of(std::uint64_t descriptor) {
  const auto field = [&](int at, int bits) {
    return static_cast<int>(descriptor >> at & ((1ULL << bits) - 1));
  };
  return {field(0, 14) * 16, field(16, 14) * 16, field(32, 14) * 16, field(49, 3), field(62, 2)};
}

/// The canonical layouts of the PTX ISA in bytes, for elements of two bytes: K-major
/// ((8, m), (T, 2k)) : ((8T, SBO), (1, T)), MN-major ((T, 8, m), (8, k)) : ((1, T, LBO), (8T,
/// SBO)).
int k_major_byte(const Fields& f, int row, int k) {
  return swizzle_128(f.address + row % 8 * 128 + row / 8 * f.stride + 2 * k);
}
int mn_major_byte(const Fields& f, int column, int k) {
  return swizzle_128(f.address + column % 64 * 2 + column / 64 * f.leading + k % 8 * 128 +
                     k / 8 * f.stride);
}

TEST(WarpgroupLayout, DescriptorsNameTheElementsOfTheTile) {
  constexpr int kRows = 128, kTile = 3 * kTileAlign;
  for (const int columns : {64, 128}) {
    for (int k = 0; k < columns; k += 16) {
      for (const int row0 : {0, 64}) {
        const Fields f = fields_of(k_major(kTile, kRows, row0, k));
        EXPECT_EQ(f.mode, 1);
        EXPECT_EQ(f.base, 0);
        for (int r = 0; r < 64; ++r) {
          for (int e = 0; e < 16; ++e) {
            ASSERT_EQ(k_major_byte(f, r, e), kTile + tile_byte(kRows, row0 + r, k + e));
          }
        }
      }
    }
    for (int row = 0; row < kRows; row += 16) {
      const Fields f = fields_of(mn_major(kTile, kRows, row));
      for (int c = 0; c < columns; ++c) {
        for (int e = 0; e < 16; ++e) {
          ASSERT_EQ(mn_major_byte(f, c, e), kTile + tile_byte(kRows, row + e, c));
        }
      }
    }
  }
}

TEST(WarpgroupLayout, BoxesCoverEveryTokenOnceAtItsRowOfTheTile) {
  for (const int block_tokens : {8, 16, 32, 64, 128, 256}) {
    ASSERT_TRUE(has_boxes(block_tokens));
    for (const int first : {0, 1, 7, 100, 129, 300}) {
      for (const int length : {1, 8, 127, 128, 129, 500}) {
        const int last = first + length;
        const TileWalk walk = tile_walk(first, last, block_tokens);
        std::map<int, std::pair<int, int>> place;  // token -> tile, row in the tile
        for (int tile = 0; tile < walk.tiles(); ++tile) {
          EXPECT_LT(walk.token(tile), last);
          for (int b = 0; b < walk.boxes(tile); ++b) {
            const int token = walk.token(tile) + b * walk.box;
            const BoxPlace at = box_place(token, block_tokens);
            EXPECT_LE(at.token + walk.box, block_tokens);  // inside one block
            // Of blocks with a token in [first, last): the others may be gone or not exist.
            EXPECT_GE(at.block, first / block_tokens);
            EXPECT_LE(at.block, (last - 1) / block_tokens);
            for (int r = 0; r < walk.box; ++r) {
              const bool is_new =
                  place.insert({at.block * block_tokens + at.token + r, {tile, b * walk.box + r}})
                      .second;
              EXPECT_TRUE(is_new);
            }
          }
        }
        for (int token = first; token < last; ++token) {
          ASSERT_EQ(place.count(token), 1U);
          EXPECT_EQ(walk.token(place[token].first) + place[token].second, token);
        }
      }
    }
  }
  for (const int odd : {0, 4, 12, 24, 96, 192}) EXPECT_FALSE(has_boxes(odd)) << odd;
}

TEST(WarpgroupLayout, ATileWithoutAMaskIsOneThatEveryQuerySeesWhole) {
  for (const int window : {0, 1, 5, 40}) {
    for (int query = 0; query < 60; query += 7) {
      for (int token = 0; token < 60; ++token) {
        constexpr int kQueries = 6, kCount = 4;
        bool all = true;
        for (int q = query; q < query + kQueries; ++q) {
          for (int t = token; t < token + kCount; ++t) {
            all = all && t <= q && (window == 0 || t > q - window);
          }
        }
        EXPECT_EQ(sees_whole_tile(query, query + kQueries - 1, token, kCount, window), all)
            << window << " " << query << " " << token;
      }
    }
  }
}

}  // namespace
}  // namespace vramplan::cuda
