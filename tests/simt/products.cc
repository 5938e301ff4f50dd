// wgmma as plain arithmetic: operands through their descriptors, as the PTX ISA lays them out.
#include <algorithm>
#include <cstring>
#include <limits>

#include "async_units.h"
#include "block_run.h"
#include "quiet.h"

namespace simt {
namespace {

struct Matrix {
  std::uint32_t address, leading, stride;
};

Matrix matrix_of(std::uint64_t descriptor, Site site) {
  const auto field = [&](int at) {
    return static_cast<std::uint32_t>((descriptor >> at) & 0x3FFFU) * 16;
  };
  if (descriptor >> 62 != 1 || ((descriptor >> 49) & 7U) != 0) {
    fault("wgmma: only the 128-byte swizzle with base offset 0 is stood in for", site);
  }
  return {field(0), field(16), field(32)};
}

/// The element at an address before its swizzle.
std::uint16_t element(std::uint32_t address) {
  const BlockRun& run = block_run();
  address ^= ((address >> 7) & 7U) << 4;
  const std::uint32_t base = shared_address(run.dynamic_, Site::here());
  if (address < base || address + 2 > base + run.dynamic_bytes_) {
    fault("wgmma reads outside dynamic shared memory", Site::here());
  }
  std::uint16_t bits = 0;
  std::memcpy(&bits, static_cast<const std::byte*>(run.dynamic_) + (address - base), 2);
  return bits;
}

/// Row `row` (of A, or column of B) and element k of a K-major operand.
std::uint16_t k_major(const Matrix& m, std::uint32_t row, std::uint32_t k) {
  return element(m.address + row % 8 * 128 + row / 8 * m.stride + 2 * k);
}
std::uint16_t mn_major(const Matrix& m, std::uint32_t column, std::uint32_t k) {
  return element(m.address + column % 64 * 2 + column / 64 * m.leading + k % 8 * 128 +
                 k / 8 * m.stride);
}

/// The 16 x 16 of A that belong to this warp: out of the lanes' registers, or of shared memory.
void load_a(void* const* payload, std::size_t index, std::uint32_t warp, float (&a)[16][16]) {
  const auto of = [&](int lane) -> const StartedProduct& {
    return (*static_cast<const std::vector<StartedProduct>*>(payload[lane]))[index];
  };
  const Product& what = of(0).what;
  if (what.registers == nullptr) {
    const Matrix m = matrix_of(what.a, Site::here());
    for (std::uint32_t r = 0; r < 16; ++r) {
      for (std::uint32_t k = 0; k < 16; ++k) a[r][k] = what.value(k_major(m, 16 * warp + r, k));
    }
    return;
  }
  for (int lane = 0; lane < 32; ++lane) {
    for (int i = 0; i < 4; ++i) {
      for (int e = 0; e < 2; ++e) {
        const std::uint32_t word = of(lane).a[i];
        a[lane / 4 + 8 * (i % 2)][2 * (lane % 4) + e + 8 * (i / 2)] =
            what.value(static_cast<std::uint16_t>(e == 0 ? word & 0xffffU : word >> 16));
      }
    }
  }
}

/// All lanes' part of one product.
void multiply(void* const* payload, std::size_t index, std::uint32_t warp) {
  const Product& what = (*static_cast<const std::vector<StartedProduct>*>(payload[0]))[index].what;
  float a[16][16];
  load_a(payload, index, warp, a);
  const auto columns = static_cast<std::uint32_t>(8 * what.tiles);
  const Matrix m = matrix_of(what.b, Site::here());
  std::vector<float> b(16 * columns);
  for (std::uint32_t k = 0; k < 16; ++k) {
    for (std::uint32_t c = 0; c < columns; ++c) {
      b[k * columns + c] = what.value(what.b_mn_major ? mn_major(m, c, k) : k_major(m, c, k));
    }
  }
  for (int lane = 0; lane < 32; ++lane) {
    const StartedProduct& own =
        (*static_cast<const std::vector<StartedProduct>*>(payload[lane]))[index];
    if (own.first) std::memcpy(own.what.c, own.before.data(), own.before.size() * sizeof(float));
    for (int i = 0; i < 4 * what.tiles; ++i) {
      const int row = lane / 4 + 8 * (i % 4 / 2);
      const auto column = static_cast<std::uint32_t>(8 * (i / 4) + 2 * (lane % 4) + i % 2);
      float sum = own.what.add ? own.what.c[i] : 0.0F;
      for (std::uint32_t k = 0; k < 16; ++k) sum += a[row][k] * b[k * columns + column];
      own.what.c[i] = sum;
    }
  }
}

#if VRAMPLAN_SIMT_TSAN
/// ThreadSanitizer sees copies that go through its own memcpy: 16 bytes of shared memory are read.
void touch(std::uint32_t address) {
  static void* (*volatile const copy)(void*, const void*, std::size_t) = &std::memcpy;
  const BlockRun& run = block_run();
  address ^= ((address >> 7) & 7U) << 4;
  address -= shared_address(run.dynamic_, Site::here());
  std::byte chunk[16];
  if (address + 16 <= run.dynamic_bytes_) {
    copy(chunk, static_cast<const std::byte*>(run.dynamic_) + address, 16);
  }
}

void touch_operands(const Product& what, std::uint32_t warp) {
  const Matrix b = matrix_of(what.b, Site::here());
  const auto columns = static_cast<std::uint32_t>(8 * what.tiles);
  for (std::uint32_t c = 0; c < columns; c += what.b_mn_major ? 8 : 1) {
    for (std::uint32_t k = 0; k < 16; k += what.b_mn_major ? 1 : 8) {
      touch(what.b_mn_major
                ? b.address + c % 64 * 2 + c / 64 * b.leading + k % 8 * 128 + k / 8 * b.stride
                : b.address + c % 8 * 128 + c / 8 * b.stride + 2 * k);
    }
  }
  if (what.registers != nullptr) return;
  const Matrix a = matrix_of(what.a, Site::here());
  for (std::uint32_t r = 16 * warp; r < 16 * warp + 16; ++r) {
    for (std::uint32_t k = 0; k < 16; k += 8) {
      touch(a.address + r % 8 * 128 + r / 8 * a.stride + 2 * k);
    }
  }
}
#else
void touch_operands(const Product&, std::uint32_t) {}
#endif

void finish_group(void* const* payload, std::uint32_t) {
  const auto& group = *static_cast<const std::vector<StartedProduct>*>(payload[0]);
  const std::uint32_t warp = block_run().self().linear / kWarpLanes % 4;
  for (const StartedProduct& started : group) touch_operands(started.what, warp);
  const Quiet quiet;
  for (int lane = 1; lane < 32; ++lane) {
    if (static_cast<const std::vector<StartedProduct>*>(payload[lane])->size() != group.size()) {
      fault("wgmma: lanes started different products", Site::here());
    }
  }
  for (std::size_t i = 0; i < group.size(); ++i) multiply(payload, i, warp);
}

bool in_flight(const Products& products, const float* c) {
  const auto touches = [&](const StartedProduct& p) { return p.what.c == c; };
  if (std::any_of(products.open.begin(), products.open.end(), touches)) return true;
  return std::any_of(products.groups.begin(), products.groups.end(), [&](const auto& group) {
    return std::any_of(group.begin(), group.end(), touches);
  });
}

}  // namespace

void product(const Product& what, Site site) {
  matrix_of(what.b, site);
  const Quiet quiet;
  Products& products = block_run().self().products;
  StartedProduct started;
  started.what = what;
  if (what.registers != nullptr) std::memcpy(started.a, what.registers, sizeof started.a);
  const auto count = static_cast<std::size_t>(4 * what.tiles);
  if (!in_flight(products, what.c)) {
    started.first = true;
    started.before.assign(what.c, what.c + count);
    std::fill_n(what.c, count, std::numeric_limits<float>::quiet_NaN());
  }
  products.open.push_back(std::move(started));
}

void products_commit() {
  const Quiet quiet;
  Products& products = block_run().self().products;
  products.groups.push_back(std::move(products.open));
  products.open.clear();
}

void products_wait(int groups_left, Site site) {
  Products& products = block_run().self().products;
  while (products.groups.size() > static_cast<std::size_t>(groups_left)) {
    collective("wgmma.wait_group", &finish_group, &products.groups.front(), 0xffffffffU,
               Ordering::kMemory, site);
    const Quiet quiet;
    products.groups.pop_front();
  }
}

}  // namespace simt
