#include "executor/calibrate_linear.h"

#include <cstring>

#include "executor/calibrate_memory.h"
#include "executor/random_weights.h"

namespace vramplan {
namespace {

constexpr DType kWeights[] = {
    DType::kQ4_1,     DType::kQ8_0,        DType::kQ4_0,  DType::kQ4_K,   DType::kQ6_K,
    DType::kF16,      DType::kBF16,        DType::kF32,   DType::kF8E4M3, DType::kFp8Tensor,
    DType::kFp8Block, DType::kInt8Channel, DType::kAwqI4, DType::kGptqI4, DType::kPackedI4};

/// Formats whose rows are made f32 before they are multiplied: fewer points tell their line.
bool is_dequantised(DType dtype, bool unrounded) {
  return unrounded || packed_rule(dtype) != nullptr;
}

}  // namespace

std::span<const DType> calibrated_weights() { return kWeights; }

OpWork LinearPoint::work(std::int64_t count) const {
  return unrounded ? linear_f32_work(count, in, out, dtype, DType::kF32)
                   : linear_work(count, in, out, dtype, DType::kF32);
}

std::vector<LinearPoint> linear_points(DType dtype, bool unrounded, const LinearRoom& room) {
  struct Shape {
    std::int64_t out, in;
  };
  const bool few = is_dequantised(dtype, unrounded);
  const std::vector<Shape> shapes =
      few ? std::vector<Shape>{{512, 512}, {1536, 512}, {512, 1536}, {2048, 2048}}
          : std::vector<Shape>{{192, 576},  {576, 576},   {1536, 576},
                               {576, 1536}, {2048, 2048}, {16384, 576}};
  const std::int64_t block = info(dtype).block_elements;
  std::vector<LinearPoint> points;
  for (const Shape& shape : shapes) {
    LinearPoint point;
    point.dtype = dtype;
    point.unrounded = unrounded;
    point.out = shape.out;
    point.in = floor_div(shape.in, block) * block;
    point.most_columns = room.most_columns;
    for (const std::int64_t tokens : {1, 2, 4, 8, 16, 64, 256, 512}) {
      if (point.head() && tokens > kLinearDecodeTokens) continue;
      if ((few || room.quick) && (tokens == 2 || tokens == 64 || tokens == 256)) continue;
      if (tokens <= room.most_tokens) point.tokens.push_back(tokens);
    }
    points.push_back(point);
  }
  return points;
}

std::vector<WeightView> linear_weights(const LinearPoint& point, const LinearRoom& room, Ops& ops) {
  const WeightView first{{room.pool, point.dtype, point.out, point.in}, 0};
  const Bytes bytes = first.tensor.bytes();
  const std::int64_t stride = round_up(bytes, Bytes{256}).n;
  const std::int64_t copies = room.pool_bytes / stride;
  if (copies < 1) return {};
  // Packing is a load-time cost and slow; one weight is packed. The others are harmless bytes,
  // whose order means nothing, or copies of the first where they hold indices.
  const bool holds_indices = packed_rule(point.dtype) != nullptr;
  if (holds_indices) fill_random(first.tensor, "calibration", TensorRole::kMatrix, false, 1);
  std::vector<WeightView> weights = {first};
  ops.pack(weights.front());
  for (std::int64_t i = 1; i < copies; ++i) {
    weights.push_back(weights.front());
    weights.back().tensor.data = room.pool + i * stride;
    if (!holds_indices) continue;
    std::memcpy(weights.back().tensor.data, room.pool, static_cast<std::size_t>(bytes.n));
  }
  return weights;
}

}  // namespace vramplan
