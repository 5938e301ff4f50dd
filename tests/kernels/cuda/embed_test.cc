#include "weights.h"

namespace vramplan::cuda_test {
namespace {

class Embed : public CudaKernel {};

TEST_F(Embed, RowsOfEveryFormatScaled) {
  for (const DType format : kCudaWeights) {
    for (const DType dtype : kActivations) {
      const std::int64_t n = whole_blocks(format, 40);
      const DeviceWeight table(format, 9, n, 1);
      const std::vector<std::int32_t> ids = {8, 0, 3, 3};
      const Array<std::int32_t> device_ids(ids);
      for_each_schedule([&] {
        Tensor out(dtype, 4, n);
        cuda::embed({}, out.view(), table.tensor.view(), device_ids.data(), 1.5F);
        Values expected;
        for (const std::int32_t id : ids) {
          for (std::int64_t i = 0; i < n; ++i)
            expected.push_back(1.5 * at(table.values, id * n + i));
        }
        expect_close(out.values(), expected, tolerance_of(dtype), name(format) + " " + name(dtype));
      });
    }
  }
}

TEST_F(Embed, PositionsAreAddedToOddRows) {
  for (const DType format : kCudaWeights) {
    // 37 is no multiple of four: element by element, where blocks allow it.
    const std::int64_t n = info(format).block_elements == 1 ? 37 : whole_blocks(format, 32);
    const DeviceWeight table(format, 6, n, 2);
    const Array<std::int32_t> positions(std::vector<std::int32_t>{5, 1});
    for_each_schedule([&] {
      Tensor out(DType::kF32, 2, n, normal(2 * n, 3));
      Values expected = out.values();
      for (std::int64_t i = 0; i < n; ++i) {
        expected[static_cast<std::size_t>(i)] += at(table.values, 5 * n + i);
        expected[static_cast<std::size_t>(n + i)] += at(table.values, n + i);
      }
      cuda::add_rows({}, out.view(), table.tensor.view(), positions.data());
      expect_close(out.values(), expected, 1e-6, name(format));
    });
  }
}

TEST_F(Embed, GatheredRowsAreCopies) {
  for (const DType dtype : kActivations) {
    for (const std::int64_t n : {std::int64_t{64}, std::int64_t{35}}) {
      const Tensor x(dtype, 7, n, normal(7 * n, 4));
      const Array<std::int32_t> rows(std::vector<std::int32_t>{6, 0, 6});
      for_each_schedule([&] {
        Tensor out(dtype, 3, n);
        cuda::gather_rows({}, out.view(), x.view(), rows.data());
        Values expected;
        for (const std::int64_t r : {6, 0, 6}) {
          for (std::int64_t i = 0; i < n; ++i) expected.push_back(at(x.values(), r * n + i));
        }
        EXPECT_EQ(out.values(), expected) << name(dtype) << " " << n;
      });
    }
  }
}

TEST_F(Embed, AFormatWithoutAKernelIsRefusedByName) {
  Tensor out(DType::kF32, 1, 256), table(DType::kQ8_K, 1, 256);
  const Array<std::int32_t> ids(std::vector<std::int32_t>{0});
  try {
    cuda::embed({}, out.view(), table.view(), ids.data(), 1.0F);
    FAIL();
  } catch (const Error& error) {
    EXPECT_EQ(error.code(), ErrorCode::kUnsupported);
    EXPECT_NE(error.message().find("q8_k"), std::string::npos);
  }
}

}  // namespace
}  // namespace vramplan::cuda_test
