#include "paged_cache.h"

namespace vramplan::cuda_test {
namespace {

class KvWrite : public CudaKernel {};

struct Rope {
  Array<float> frequency;
  cuda::DeviceRope view;
  Rope(std::int64_t head_dim, std::int64_t rotary_dim, bool interleaved, float magnitude)
      : frequency(frequencies(rotary_dim)) {
    view = {head_dim, rotary_dim, interleaved, frequency.data(), magnitude};
  }
  static std::vector<float> frequencies(std::int64_t rotary_dim) {
    std::vector<float> f;
    for (std::int64_t i = 0; i < rotary_dim / 2; ++i) {
      f.push_back(static_cast<float>(
          std::pow(10000.0, -2.0 * static_cast<double>(i) / static_cast<double>(rotary_dim))));
    }
    return f;
  }
};

Values rotated(Values x, std::int64_t columns, const std::vector<std::int32_t>& positions,
               const Rope& rope) {
  const std::vector<float> frequency = rope.frequency.read();
  const std::int64_t pairs = rope.view.rotary_dim / 2;
  for (std::size_t t = 0; t < positions.size(); ++t) {
    for (std::int64_t h = 0; h < columns; h += rope.view.head_dim) {
      for (std::int64_t i = 0; i < pairs; ++i) {
        const auto base = t * static_cast<std::size_t>(columns) + static_cast<std::size_t>(h);
        const auto a = base + static_cast<std::size_t>(rope.view.interleaved ? 2 * i : i);
        const auto b =
            base + static_cast<std::size_t>(rope.view.interleaved ? 2 * i + 1 : i + pairs);
        const double angle =
            positions[t] * static_cast<double>(frequency[static_cast<std::size_t>(i)]);
        const double c = std::cos(angle) * rope.view.magnitude,
                     s = std::sin(angle) * rope.view.magnitude;
        const double xa = x[a], xb = x[b];
        x[a] = xa * c - xb * s;
        x[b] = xa * s + xb * c;
      }
    }
  }
  return x;
}

TEST_F(KvWrite, RopeRotatesPartOfTheHeadInBothOrders) {
  const std::vector<std::int32_t> positions = {0, 1, 777, 1000000};
  const Array<std::int32_t> device_positions(positions);
  for (const DType dtype : kActivations) {
    for (const bool interleaved : {false, true}) {
      const Rope rope(16, 12, interleaved, 1.25F);
      for_each_schedule([&] {
        Tensor x(dtype, 4, 48, normal(192, 1));
        const Values expected = rotated(x.values(), 48, positions, rope);
        cuda::rope({}, x.view(), device_positions.data(), rope.view);
        expect_close(x.values(), expected, tolerance_of(dtype), name(dtype));
      });
    }
  }
}

/// Two heads of token t, as the CPU backend writes them.
void write_row(PagedCache& cache, std::int64_t slot, const Values& values, std::int64_t t,
               std::int64_t width, bool value) {
  for (std::int64_t head = 0; head < 2; ++head) {
    std::vector<float> row;
    for (std::int64_t i = 0; i < width; ++i)
      row.push_back(static_cast<float>(at(values, (2 * t + head) * width + i)));
    cache.set_row(slot, head, value, row);
  }
}

TEST_F(KvWrite, RowsGoToTheirSlotsAndNowhereElse) {
  const std::vector<std::int64_t> slots = {9, -1, 4};
  const Array<std::int64_t> device_slots(slots);
  for (const DType dtype : kActivations) {
    for (const DType kv : kCaches) {
      for_each_schedule([&] {
        PagedCache cache({kv, 2, 24, 16, 4}, 3), expected({kv, 2, 24, 16, 4}, 3);
        cache.send();
        const Tensor k(dtype, 3, 48, normal(144, 2)), v(dtype, 3, 32, normal(96, 3));
        cuda::kv_write({}, cache.view(), k.view(), v.view(), device_slots.data());
        cache.fetch();
        for (std::int64_t t = 0; t < 3; ++t) {
          const std::int64_t slot = slots[static_cast<std::size_t>(t)];
          if (slot < 0) continue;
          write_row(expected, slot, k.values(), t, 24, false);
          write_row(expected, slot, v.values(), t, 16, true);
        }
        EXPECT_EQ(cache.bytes(), expected.bytes()) << name(dtype) << " to " << name(kv);
      });
    }
  }
}

TEST_F(KvWrite, TheFusedKernelGivesTheBitsOfSeparateCalls) {
  const Array<std::int32_t> positions(std::vector<std::int32_t>{5, 99, 4096});
  const Array<std::int64_t> slots(std::vector<std::int64_t>{0, 7, -1});
  for (const DType dtype : kActivations) {
    for (const DType kv : kEveryCache) {
      const std::int64_t dim = info(kv).block_elements > 1 || kv == DType::kI8 ? 32 : 16;
      const Rope rope(dim, dim, false, 1.0F);
      for_each_schedule([&] {
        PagedCache fused({kv, 2, dim, dim, 4}, 2), separate({kv, 2, dim, dim, 4}, 2);
        fused.send();
        separate.send();
        Tensor q(dtype, 3, 4 * dim, normal(12 * dim, 4)), k(dtype, 3, 2 * dim, normal(6 * dim, 5));
        Tensor q2(dtype, 3, 4 * dim, normal(12 * dim, 4)), k2(dtype, 3, 2 * dim, normal(6 * dim, 5));
        const Tensor v(dtype, 3, 2 * dim, normal(6 * dim, 6));
        cuda::rope_kv_write({}, q.view(), k.view(), v.view(), positions.data(), rope.view,
                            fused.view(), slots.data());
        cuda::rope({}, q2.view(), positions.data(), rope.view);
        cuda::rope({}, k2.view(), positions.data(), rope.view);
        cuda::kv_write({}, separate.view(), k2.view(), v.view(), slots.data());
        fused.fetch();
        separate.fetch();
        EXPECT_EQ(q.bytes(), q2.bytes());
        EXPECT_EQ(k.bytes(), k2.bytes());
        EXPECT_EQ(fused.bytes(), separate.bytes()) << name(dtype) << " to " << name(kv);
      });
    }
  }
}

/// Codes and scales are those of the CPU backend to the bit, the largest magnitude in any place of
/// a block, and rows of zeros.
TEST_F(KvWrite, CodesAndScalesAreThoseOfTheCpu) {
  const Array<std::int64_t> slots(std::vector<std::int64_t>{9, -1, 4, 2});
  for (const DType dtype : kActivations) {
    for (const DType kv : kCodedCaches) {
      for_each_schedule([&] {
        PagedCache cache({kv, 2, 64, 32, 4}, 3), expected({kv, 2, 64, 32, 4}, 3);
        cache.send();
        std::vector<float> keys = normal(4 * 128, 7), values = normal(4 * 64, 8, 100.0F);
        std::fill(keys.begin(), keys.begin() + 32, 0.0F);
        keys[40] = -keys[50];
        keys[127] = -9.0F;
        const Tensor k(dtype, 4, 128, keys), v(dtype, 4, 64, values);
        cuda::kv_write({}, cache.view(), k.view(), v.view(), slots.data());
        cache.fetch();
        for (const auto& [t, slot] : {std::pair{0, 9}, std::pair{2, 4}, std::pair{3, 2}}) {
          write_row(expected, slot, k.values(), t, 64, false);
          write_row(expected, slot, v.values(), t, 32, true);
        }
        EXPECT_EQ(cache.bytes(), expected.bytes()) << name(dtype) << " to " << name(kv);
      });
    }
  }
}

TEST_F(KvWrite, ACacheFormatWithoutAKernelIsRefused) {
  PagedCache cache({DType::kQ8_0, 1, 32, 32, 4}, 1);
  const Array<std::int64_t> slots(std::vector<std::int64_t>{0});
  KvLayerView narrow = cache.view();
  narrow.head_dim = narrow.value_dim = 16;
  const Tensor k(DType::kF32, 1, 16, normal(16, 1));
  EXPECT_THROW(cuda::kv_write({}, narrow, k.view(), k.view(), slots.data()), Error);
  narrow.dtype = DType::kQ4_K;
  EXPECT_THROW(cuda::kv_write({}, narrow, k.view(), k.view(), slots.data()), Error);
}

}  // namespace
}  // namespace vramplan::cuda_test
