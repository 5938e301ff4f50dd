#pragma once
// The linears that calibration times: shapes, tokens and weights in every format that runs.
#include <cstddef>
#include <span>
#include <vector>

#include "kernels/ops.h"
#include "planner/latency.h"

namespace vramplan {

/// Weight formats that get a cost line.
std::span<const DType> calibrated_weights();

/// What a linear may use: a pool for weights, the largest input and output.
struct LinearRoom {
  std::byte* pool = nullptr;
  std::int64_t pool_bytes = 0, most_tokens = 0, most_columns = 0;
  bool quick = false;  // every second point
};

struct LinearPoint {
  DType dtype = DType::kF32;
  bool unrounded = false;  // by f32 inputs, of a format that otherwise rounds them
  std::int64_t out = 0, in = 0;
  std::vector<std::int64_t> tokens;
  std::int64_t most_columns = 0;

  bool head() const { return out > most_columns; }  // only the few rows that need logits
  OpWork work(std::int64_t count) const;
};

std::vector<LinearPoint> linear_points(DType dtype, bool unrounded, const LinearRoom& room);

/// As many weights of the point's shape as the pool holds, made ready by ops.pack: each is used
/// once before one is used again, as in a decode step. None when the pool is too small. The pool
/// must be full of harmless bytes; formats that hold indices write theirs over them, and so come
/// last.
std::vector<WeightView> linear_weights(const LinearPoint& point, const LinearRoom& room, Ops& ops);

}  // namespace vramplan
