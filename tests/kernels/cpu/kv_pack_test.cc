#include <gtest/gtest.h>

#include <cmath>
#include <cstring>

#include "kernels/cpu/cpu_ops.h"
#include "kernels/cpu/kv_cache.h"
#include "kernels/cpu/packed_tile.h"
#include "random_tensors.h"
#include "tests/kernels/cpu/two_caches.h"
#include "tests/reference/fixture.h"

namespace vramplan {
namespace {

std::vector<float> from_f16(const nlohmann::json& bits) {
  std::vector<float> out;
  for (const auto& b : bits) out.push_back(cpu::f16_to_f32(b.get<std::uint16_t>()));
  return out;
}

std::string hex(const std::byte* from, std::int64_t count) {
  std::string out;
  for (std::int64_t i = 0; i < count; ++i) {
    const auto b = std::to_integer<unsigned>(from[i]);
    out += "0123456789abcdef"[b >> 4];
    out += "0123456789abcdef"[b & 15];
  }
  return out;
}

TEST(KvPack, TilesAreNumpysToTheByteAndSoIsTheirAttention) {
  const auto fixture = reference::read_json("kivi_tiles.json");
  std::vector<float> k = from_f16(fixture.at("k")), v = from_f16(fixture.at("v"));
  std::vector<float> q = fixture.at("q").get<std::vector<float>>();
  for (const DType dtype : {DType::kKivi2, DType::kKivi4}) {
    TwoCaches c({dtype, 1, 64, 64, 32, 1});
    const auto ops = make_cpu_ops(1);
    c.append(*ops, k, v, 32);
    c.pack_all(*ops);
    const auto& expected = fixture.at(info(dtype).name);
    const cpu::PackedTile key = cpu::key_tile(c.history, c.history_table[0], 0, 0);
    EXPECT_EQ(hex(key.base, key.bytes()), expected.at("k").get<std::string>());
    const cpu::PackedTile value = cpu::value_tile(c.history, c.history_table[0], 0, 0, 0);
    EXPECT_EQ(hex(value.base, 2 * value.bytes()), expected.at("v").get<std::string>());
    EXPECT_EQ(key.bytes() * 8, 32 * 64 * (packed_bits_of(dtype) + 1)) << "3.0 or 5.0 bits";

    // One query over the tile; the window behind it holds no key yet but the query's own, which a
    // score of minus a thousand keeps out of the way.
    std::vector<float> far(64), nothing(64, 0.0F), out(64);
    double squares = 0;
    for (const float x : q) squares += static_cast<double>(x) * static_cast<double>(x);
    for (std::size_t i = 0; i < far.size(); ++i)
      far[i] = static_cast<float>(-8000.0 * static_cast<double>(q[i]) / squares);
    c.append(*ops, far, nothing, 1);
    c.attend(*ops, q, out, 1, 1);
    const auto wanted = expected.at("out").get<std::vector<double>>();
    for (std::size_t i = 0; i < out.size(); ++i) {
      // Large keys spread the scores over tens: queries of 16 bits move a probability by a
      // thousandth of itself.
      EXPECT_NEAR(static_cast<double>(out[i]), wanted[i], 1e-3) << info(dtype).name << " " << i;
    }
  }
}

TEST(KvPack, AnElementIsWithinHalfAStepOfItsGroup) {
  for (const DType dtype : {DType::kKivi2, DType::kKivi4}) {
    std::vector<float> x = random_floats(32 * 48, 9, 3.0F);
    const int bits = cpu::packed_bits(dtype);
    std::vector<std::byte> bytes(static_cast<std::size_t>(48 * (4 * bits + 4)));
    const cpu::PackedTile tile{bits, 48, bytes.data()};
    cpu::pack_tile({x.data(), 1, 48}, tile);
    for (std::int64_t i = 0; i < 48; ++i) {
      const float scale = cpu::f16_to_f32(tile.scales()[i]);
      for (std::int64_t lane = 0; lane < 32; ++lane) {
        EXPECT_NEAR(cpu::tile_element(tile, i, lane), x[static_cast<std::size_t>(lane * 48 + i)],
                    0.5F * scale * 1.01F);
      }
    }
  }
}

TEST(KvPack, NoNumberStaysNoNumberForItsGroupOnly) {
  std::vector<float> x = random_floats(32 * 16, 4);
  x[3 * 16 + 7] = NAN;
  std::vector<std::byte> bytes(16 * 12);
  const cpu::PackedTile tile{2, 16, bytes.data()};
  cpu::pack_tile({x.data(), 1, 16}, tile);
  for (std::int64_t i = 0; i < 16; ++i)
    EXPECT_EQ(std::isnan(cpu::tile_element(tile, i, 0)), i == 7) << i;
}

TEST(KvPack, OfAStridedHistoryEveryFourthTokenStays) {
  for (const DType dtype : {DType::kF8E4M3, DType::kI8, DType::kF16}) {
    TwoCaches c({dtype, 2, 64, 32, 16, 4});
    const auto ops = make_cpu_ops(2);
    std::vector<float> k = random_floats(96 * 2 * 64, 5), v = random_floats(96 * 2 * 32, 6);
    c.append(*ops, k, v, 96);
    c.pack_all(*ops);
    ASSERT_EQ(c.packed, 96);
    std::vector<std::byte> row(256);
    for (std::int64_t token = 0; token < 96; token += 4) {
      const std::int64_t at = token / 4;
      const std::int64_t block = c.history_table[static_cast<std::size_t>(at / 16)];
      for (std::int64_t head = 0; head < 2; ++head) {
        std::vector<float> wanted(64);  // as the window held it
        for (std::int64_t i = 0; i < 64; ++i)
          wanted[static_cast<std::size_t>(i)] = cpu::f16_to_f32(
              cpu::f32_to_f16(k[static_cast<std::size_t>((token * 2 + head) * 64 + i)]));
        cpu::store_kv_row(dtype, wanted.data(), 64, row.data());
        const auto bytes = static_cast<std::size_t>(kv_row_bytes(dtype, 64).n);
        EXPECT_EQ(std::memcmp(cpu::key_row(c.history, block, head, at % 16), row.data(), bytes), 0)
            << info(dtype).name << " token " << token;
      }
    }
  }
}

}  // namespace
}  // namespace vramplan
