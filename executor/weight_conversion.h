#pragma once
// WeightConversion: a matrix of a file in another format than the file's, a few rows at a time:
// read, dequantised, rounded to the format, given away. What it holds meanwhile is bounded whatever
// the matrix: kConversionRead bytes of the file (or one row) and one row of f32.
#include <cstdint>
#include <functional>
#include <span>

#include "kernels/tensor.h"
#include "modelcards/file.h"

namespace vramplan {

inline constexpr Bytes kConversionRead{256 * 1024};

/// [rows, columns] elements of a file from `offset` on.
struct StoredMatrix {
  DType dtype = DType::kF32;
  Bytes offset;
  std::int64_t rows = 0, columns = 0;
};

/// Whether convert_rows makes that format. One that published encoders search for scales in is
/// none.
bool converts_to(DType dtype);

/// Every row in order, encoded as `to` (see kernels/cpu/quantise.h). `place` gives room for the
/// bytes of rows that are about to be made; `done` is told when they are there, and how many bytes
/// of the file that took. Errors: those of the file; kUnsupported by name for a format that no
/// kernel reads or none makes.
void convert_rows(
    const File& file, const StoredMatrix& from, DType to,
    const std::function<std::byte*(std::int64_t first_byte, std::int64_t bytes)>& place,
    const std::function<void(std::int64_t first_byte, std::int64_t bytes, std::int64_t file_bytes)>&
        done);

}  // namespace vramplan
