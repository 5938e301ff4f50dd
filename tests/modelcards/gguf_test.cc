#include "modelcards/gguf.h"

#include <gtest/gtest.h>

#include <cmath>
#include <limits>

#include "tests/modelcards/gguf_writer.h"

namespace vramplan {
namespace {

using test::GgufWriter;
using test::packed;
using test::read_gguf;

GgufWriter all_types() {
  GgufWriter w;
  w.raw("u8", GgufType::kU8, packed<std::uint8_t>(200))
      .raw("i8", GgufType::kI8, packed<std::int8_t>(-5));
  w.raw("u16", GgufType::kU16, packed<std::uint16_t>(60000));
  w.raw("i16", GgufType::kI16, packed<std::int16_t>(-6000)).u32("u32", 4000000000U);
  w.raw("i32", GgufType::kI32, packed<std::int32_t>(-7)).f32("f32", 0.5F).boolean("true", true);
  w.text("text", "words").raw("u64", GgufType::kU64, packed<std::uint64_t>(1ULL << 62));
  w.raw("i64", GgufType::kI64, packed<std::int64_t>(-9)).raw("f64", GgufType::kF64, packed(0.25));
  w.raw("too large", GgufType::kU64, packed(~std::uint64_t{0}));
  w.f32("nan", std::nanf("")).f32("inf", std::numeric_limits<float>::infinity());
  w.numbers<std::uint8_t>("bytes", GgufType::kU8, {1, 255});
  w.numbers<std::int16_t>("shorts", GgufType::kI16, {-1, 2});
  w.numbers<std::uint64_t>("longs", GgufType::kU64, {1, 1ULL << 63});
  w.numbers<float>("reals", GgufType::kF32, {1.5F, -2.0F});
  w.numbers<double>("nans", GgufType::kF64, {1.0, std::nan("")});
  w.numbers<std::uint8_t>("flags", GgufType::kBool, {1, 0, 1});
  w.texts("texts", {"a", "", "c"});
  w.tensor("cube", {2, 3, 32}, DType::kQ4_0);
  w.tensor("row", {7}, DType::kF16);
  return w;
}

void expect_names_key(const std::function<void()>& access, const std::string& key) {
  try {
    access();
    FAIL() << key;
  } catch (const Error& error) {
    EXPECT_EQ(error.code(), ErrorCode::kBadGguf);
    EXPECT_EQ(error.field(), key);
    EXPECT_EQ(error.file(), "tiny.gguf");
  }
}

TEST(Gguf, EveryTypeOfValueIsReadExactly) {
  const Gguf gguf = read_gguf(all_types().bytes());
  EXPECT_EQ(gguf.integer("u8"), 200);
  EXPECT_EQ(gguf.integer("i8"), -5);
  EXPECT_EQ(gguf.integer("u16"), 60000);
  EXPECT_EQ(gguf.integer("i16"), -6000);
  EXPECT_EQ(gguf.integer("u32"), 4000000000);
  EXPECT_EQ(gguf.integer("i32"), -7);
  EXPECT_EQ(gguf.integer("u64"), std::int64_t{1} << 62);
  EXPECT_EQ(gguf.integer("i64"), -9);
  EXPECT_EQ(gguf.real_or("f32", 0), 0.5);
  EXPECT_EQ(gguf.real_or("f64", 0), 0.25);
  EXPECT_TRUE(gguf.boolean_or("true", false));
  EXPECT_EQ(gguf.text("text"), "words");
  EXPECT_EQ(gguf.texts("texts"), (std::vector<std::string>{"a", "", "c"}));
  EXPECT_EQ(gguf.integers("bytes"), (std::vector<std::int64_t>{1, 255}));
  EXPECT_EQ(gguf.integers("shorts"), (std::vector<std::int64_t>{-1, 2}));
  EXPECT_EQ(gguf.integers("flags"), (std::vector<std::int64_t>{1, 0, 1}));
  EXPECT_EQ(gguf.reals("reals"), (std::vector<double>{1.5, -2.0}));
  EXPECT_TRUE(gguf.is_array("texts"));
  EXPECT_FALSE(gguf.is_array("text"));
}

TEST(Gguf, FallbacksAreForAbsentKeysOnly) {
  const Gguf gguf = read_gguf(all_types().bytes());
  EXPECT_EQ(gguf.integer_or("absent", 3), 3);
  EXPECT_EQ(gguf.real_or("absent", 0.5), 0.5);
  EXPECT_EQ(gguf.text_or("absent", "x"), "x");
  EXPECT_TRUE(gguf.boolean_or("absent", true));
  expect_names_key([&] { gguf.integer("absent"); }, "absent");
  expect_names_key([&] { gguf.integer_or("text", 3); }, "text");
  expect_names_key([&] { gguf.integer_or("f32", 3); }, "f32");
  expect_names_key([&] { gguf.integer_or("true", 3); }, "true");
  expect_names_key([&] { gguf.integer("too large"); }, "too large");
  expect_names_key([&] { gguf.real_or("u32", 1); }, "u32");
  expect_names_key([&] { gguf.real_or("nan", 1); }, "nan");
  expect_names_key([&] { gguf.real_or("inf", 1); }, "inf");
  expect_names_key([&] { gguf.boolean_or("u8", true); }, "u8");
  expect_names_key([&] { gguf.text("u8"); }, "u8");
  expect_names_key([&] { gguf.texts("bytes"); }, "bytes");
  expect_names_key([&] { gguf.integers("texts"); }, "texts");
  expect_names_key([&] { gguf.integers("reals"); }, "reals");
  expect_names_key([&] { gguf.integers("longs"); }, "longs");
  expect_names_key([&] { gguf.reals("bytes"); }, "bytes");
  expect_names_key([&] { gguf.reals("nans"); }, "nans");
}

TEST(Gguf, TensorsHaveTheirShapeOutermostFirstAndTheirPlaceInTheFile) {
  const std::string bytes = all_types().bytes();
  const Gguf gguf = read_gguf(bytes);
  const GgufTensor* cube = gguf.find_tensor("cube");
  ASSERT_NE(cube, nullptr);
  EXPECT_EQ(cube->shape, (std::vector<std::int64_t>{2, 3, 32}));
  EXPECT_EQ(cube->rows(), 6);
  EXPECT_EQ(cube->columns(), 32);
  EXPECT_EQ(cube->bytes, 108_B);
  EXPECT_EQ(cube->offset, gguf.header_bytes());
  EXPECT_EQ(cube->offset.n % 32, 0);
  const GgufTensor* row = gguf.find_tensor("row");
  ASSERT_NE(row, nullptr);
  EXPECT_EQ(row->rows(), 1);
  EXPECT_EQ((row->offset + row->bytes).n, static_cast<std::int64_t>(bytes.size()));
  EXPECT_EQ(gguf.find_tensor("ro"), nullptr);
  EXPECT_EQ(gguf.find_tensor("zz"), nullptr);
}

TEST(Gguf, TheAlignmentOfTheFileIsUsed) {
  GgufWriter w;
  w.alignment = 128;
  w.u32("general.alignment", 128);
  w.tensor("a", {3});
  w.tensor("b", {3});
  const Gguf gguf = read_gguf(w.bytes());
  EXPECT_EQ(gguf.find_tensor("b")->offset - gguf.find_tensor("a")->offset, 128_B);
  EXPECT_EQ(gguf.header_bytes().n % 128, 0);
}

}  // namespace
}  // namespace vramplan
