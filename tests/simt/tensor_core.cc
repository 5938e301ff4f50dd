#include "tensor_core.h"

#include <cstring>

namespace simt {
namespace {

struct Matrices {
  const void* row;
  bool transposed;
  std::uint32_t out[4];
};

void deal_matrices(void* const* payload, std::uint32_t) {
  for (int lane = 0; lane < 32; ++lane) {
    auto* own = static_cast<Matrices*>(payload[lane]);
    for (int i = 0; i < 4; ++i) {
      std::uint16_t two[2];
      for (int e = 0; e < 2; ++e) {
        int r = lane / 4, c = 2 * (lane % 4) + e;
        if (own->transposed) std::swap(r, c);
        const auto* from = static_cast<const Matrices*>(payload[8 * i + r]);
        std::memcpy(&two[e], static_cast<const std::uint16_t*>(from->row) + c, 2);
      }
      own->out[i] = static_cast<std::uint32_t>(two[0]) | static_cast<std::uint32_t>(two[1]) << 16;
    }
  }
}

struct Tile {
  const std::uint32_t* a;
  std::uint32_t b[2];
  float* c;
  float (*value)(std::uint16_t);
};

float half_of(const Tile& tile, std::uint32_t word, int which) {
  return tile.value(static_cast<std::uint16_t>(which == 0 ? word & 0xffffU : word >> 16));
}

void multiply_lanes(void* const* payload, std::uint32_t) {
  float a[16][16], b[16][8];
  for (int lane = 0; lane < 32; ++lane) {
    const auto& own = *static_cast<const Tile*>(payload[lane]);
    const int group = lane / 4, pair = 2 * (lane % 4);
    for (int e = 0; e < 2; ++e) {
      for (int r = 0; r < 4; ++r) {
        a[group + 8 * (r % 2)][pair + e + 8 * (r / 2)] = half_of(own, own.a[r], e);
      }
      for (int r = 0; r < 2; ++r) b[pair + e + 8 * r][group] = half_of(own, own.b[r], e);
    }
  }
  for (int lane = 0; lane < 32; ++lane) {
    const auto& own = *static_cast<const Tile*>(payload[lane]);
    for (int i = 0; i < 4; ++i) {
      const int row = lane / 4 + 8 * (i / 2), column = 2 * (lane % 4) + i % 2;
      float sum = own.c[i];
      for (int k = 0; k < 16; ++k) sum += a[row][k] * b[k][column];
      own.c[i] = sum;
    }
  }
}

}  // namespace

void load_matrices(std::uint32_t (&out)[4], const void* row, bool transposed, Site site) {
  if (reinterpret_cast<std::uintptr_t>(row) % 16 != 0) {
    fault("ldmatrix: a row is not aligned to 16 bytes", site);
  }
  Matrices own{row, transposed, {}};
  collective("ldmatrix", &deal_matrices, &own, 0xffffffffU, Ordering::kValues, site);
  std::memcpy(out, own.out, sizeof out);
}

void multiply_tile(float (&c)[4], const std::uint32_t (&a)[4], std::uint32_t b0, std::uint32_t b1,
                   float (*value)(std::uint16_t), Site site) {
  Tile own{a, {b0, b1}, c, value};
  collective("mma", &multiply_lanes, &own, 0xffffffffU, Ordering::kValues, site);
}

}  // namespace simt
