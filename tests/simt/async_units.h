#pragma once
// What sm_90 threads start and wait for: barriers that count arrivals and bytes (mbarrier), boxes
// copied into shared memory (cp.async.bulk.tensor), barriers of a part of a block (bar.sync) and
// products of a warpgroup (wgmma). Written from the PTX ISA, apart from the kernels' own
// arithmetic.
#include <cstdint>
#include <deque>
#include <map>
#include <utility>
#include <vector>

#include "simt.h"

namespace simt {

/// A tensor of 16-bit elements [blocks, rows, width] in global memory, cut into boxes of 64 columns
/// of `box_rows` rows of one block.
struct TensorMap {
  const std::byte* base = nullptr;
  std::int64_t width = 0, rows = 0, blocks = 0, block_stride = 0;  // the last in bytes
  int box_rows = 0;
};

void barrier_init(std::uint64_t* barrier, std::uint32_t arrivals, Site site);
/// One arrival, after `bytes` were added to what the phase waits for.
void barrier_arrive(std::uint64_t* barrier, std::int64_t bytes, Site site);
void barrier_wait(std::uint64_t* barrier, std::uint32_t parity, Site site);
/// With the 128-byte swizzle, zeros beyond the tensor. Lands at once or, the later the better to
/// find errors, when a thread waits for `barrier`.
void copy_box(void* to, const TensorMap& map, int column, int row, int block,
              std::uint64_t* barrier, Site site);
/// bar.sync or, when not `waits`, bar.arrive.
void named_barrier(int id, int threads, bool waits, Site site);

/// As the hardware sees dynamic shared memory: addresses of 18 bits, its base aligned to 128 bytes
/// and to no more.
std::uint32_t shared_address(const void* p, Site site);

/// One wgmma.mma_async.m64nNk16 of 16-bit inputs, f32 sums, by one warp: 16 rows of the result.
struct Product {
  float* c = nullptr;                        // [tiles][4], this lane's
  int tiles = 0;                             // N / 8
  bool add = true;                           // c += rather than c =
  const std::uint32_t* registers = nullptr;  // [4] of A, or null: A is in shared memory
  std::uint64_t a = 0, b = 0;                // descriptors
  bool b_mn_major = false;
  float (*value)(std::uint16_t) = nullptr;
};
/// Until its wait the result reads as NaN.
void product(const Product& product, Site site);
void products_commit();
void products_wait(int groups_left, Site site);

// Books of a block and of a thread, kept by BlockRun.

struct Thread;

struct BoxCopy {
  std::byte* to;
  TensorMap map;
  int column, row, block;
};

struct CountingBarrier {
  std::uint32_t arrivals = 0, pending = 0, parity = 0;  // parity of the phase that runs
  std::int64_t bytes = 0;                               // still to come
  std::vector<BoxCopy> copies;                          // under way
  std::vector<std::pair<Thread*, std::uint32_t>> waiting;
  char tag = 0;  // for ThreadSanitizer
};

struct NamedBarrier {
  int threads = 0, arrived = 0;
  unsigned turn = 0;
  std::vector<Thread*> waiting;
  char tags[2] = {};
};

struct AsyncUnits {
  std::map<const std::uint64_t*, CountingBarrier> counting;
  std::map<int, NamedBarrier> named;
};

struct StartedProduct {
  Product what;
  std::uint32_t a[4] = {};
  bool first = false;  // of those in flight on these sums: `before` holds what they were
  std::vector<float> before;
};

struct Products {
  std::vector<StartedProduct> open;
  std::deque<std::vector<StartedProduct>> groups;
};

}  // namespace simt
