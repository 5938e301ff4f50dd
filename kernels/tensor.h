#pragma once
// TensorView: a pointer, a dtype and a shape; it owns nothing. On the dry backend
// the pointer is an address that cannot be read.
#include <array>
#include <cstdint>

#include "modelcards/dtype.h"

namespace vramplan {

struct TensorView {
  void* data = nullptr;
  DType dtype = DType::kF32;
  std::int64_t rows = 0;  // row-major; a row is contiguous and encoded by itself
  std::int64_t columns = 0;

  Bytes bytes() const { return bytes_of(dtype, rows, columns); }
};

/// A weight matrix [out_features, in_features]. `packing` is private to the Ops that packed it
/// (0 = plain rows): the bytes may be rearranged, never more or fewer.
struct WeightView {
  TensorView tensor;
  int packing = 0;
};

}  // namespace vramplan
