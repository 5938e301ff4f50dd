#include <gtest/gtest.h>

#include <cmath>

#include "kernels/cpu/cpu_ops.h"
#include "random_tensors.h"

namespace vramplan {
namespace {

TEST(Embed, RowsOfEveryFormatPlainAndPacked) {
  const std::vector<std::int32_t> ids = {0, 36, 15, 16, 31, 32, 16, 3};
  for (const DType dtype : kWeightTypes) {
    const std::int64_t columns = is_block_quantised(dtype) ? 512 : 77;
    RandomWeight table(dtype, 37, columns, 41);
    const std::vector<float> values = table.values();
    const auto ops = make_cpu_ops(2);
    for (const bool packed : {false, true}) {
      if (packed) ops->pack(table.weight);
      std::vector<float> out(ids.size() * static_cast<std::size_t>(columns), NAN);
      const auto rows = static_cast<std::int64_t>(ids.size());
      ops->embed(view(out, rows, columns), table.weight, ids, 3.0F);
      for (std::int64_t i = 0; i < rows * columns; ++i) {
        const std::int64_t row = ids[static_cast<std::size_t>(i / columns)];
        ASSERT_EQ(out[static_cast<std::size_t>(i)],
                  values[static_cast<std::size_t>(row * columns + i % columns)] * 3.0F)
            << info(dtype).name << (packed ? " packed" : " plain");
      }
      const std::vector<float> before = out;
      ops->add_rows(view(out, rows, columns), table.weight, ids);
      for (std::int64_t i = 0; i < rows * columns; ++i) {
        const std::int64_t row = ids[static_cast<std::size_t>(i / columns)];
        const float expected = before[static_cast<std::size_t>(i)] +
                               values[static_cast<std::size_t>(row * columns + i % columns)];
        ASSERT_FLOAT_EQ(out[static_cast<std::size_t>(i)], expected);
      }
    }
  }
}

TEST(Embed, AnIdOutsideTheTableIsAnError) {
  const auto ops = make_cpu_ops(1);
  RandomWeight table(DType::kF16, 10, 8, 1);
  std::vector<float> out(8);
  for (const std::int32_t id : {-1, 10}) {
    EXPECT_THROW(ops->embed(view(out, 1, 8), table.weight, std::vector<std::int32_t>{id}, 1.0F),
                 Error);
  }
}

}  // namespace
}  // namespace vramplan
