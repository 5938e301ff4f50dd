#include "executor/weight_conversion.h"

#include <algorithm>
#include <vector>

#include "kernels/cpu/dequantise.h"
#include "kernels/cpu/quantise.h"

namespace vramplan {

bool converts_to(DType dtype) { return cpu::is_rounded_format(dtype); }

void convert_rows(const File& file, const StoredMatrix& from, DType to,
                  const std::function<std::byte*(std::int64_t, std::int64_t)>& place,
                  const std::function<void(std::int64_t, std::int64_t, std::int64_t)>& done) {
  cpu::require_supported_weight(from.dtype);
  const std::int64_t stored_row = bytes_of(from.dtype, 1, from.columns).n;
  const std::int64_t made_row = bytes_of(to, 1, from.columns).n;
  const std::int64_t most =
      std::clamp<std::int64_t>(kConversionRead.n / std::max(stored_row, made_row), 1, from.rows);
  std::vector<std::byte> stored(static_cast<std::size_t>(most * stored_row));
  std::vector<float> values(static_cast<std::size_t>(from.columns));
  for (std::int64_t row = 0; row < from.rows; row += most) {
    const std::int64_t count = std::min(most, from.rows - row);
    const std::span<std::byte> read(stored.data(), static_cast<std::size_t>(count * stored_row));
    file.read_at(from.offset + Bytes{row * stored_row}, read);
    std::byte* const made = place(row * made_row, count * made_row);
    for (std::int64_t r = 0; r < count; ++r) {
      cpu::dequantise_row(from.dtype, stored.data() + r * stored_row, values.data(), from.columns);
      cpu::quantise_row(to, values.data(), made + r * made_row, from.columns);
    }
    done(row * made_row, count * made_row, count * stored_row);
  }
}

}  // namespace vramplan
