#include <gtest/gtest.h>

#include <cstring>
#include <random>

#include "modelcards/safetensors.h"
#include "tests/modelcards/allocation_meter.h"

namespace vramplan {
namespace {

std::string with_length(std::uint64_t length, const std::string& rest) {
  std::string out(8, '\0');
  std::memcpy(out.data(), &length, 8);
  return out + rest;
}
std::string file_bytes(const std::string& header, std::size_t data_bytes) {
  return with_length(header.size(), header + std::string(data_bytes, '\0'));
}
std::vector<SafetensorsTensor> parsed(const std::string& bytes) {
  return read_safetensors(*memory_file("m.safetensors", bytes));
}

const char* const kGood =
    R"({"__metadata__":{"format":"pt"},"b":{"dtype":"BF16","shape":[2,3],"data_offsets":[4,16]},)"
    R"("a":{"dtype":"F32","shape":[],"data_offsets":[0,4]},)"
    R"("z":{"dtype":"F4","shape":[4,2],"data_offsets":[16,20]},)"
    R"("empty":{"dtype":"I64","shape":[0,7],"data_offsets":[16,16]}}   )";

TEST(Safetensors, TensorsComeInFileOrderWithTheirShape) {
  const auto tensors = parsed(file_bytes(kGood, 20));
  ASSERT_EQ(tensors.size(), 4U);
  EXPECT_EQ(tensors[0].name, "a");
  EXPECT_TRUE(tensors[0].shape.empty());
  EXPECT_EQ(tensors[1].name, "b");
  EXPECT_EQ(tensors[1].dtype, DType::kBF16);
  EXPECT_EQ(tensors[1].shape, (std::vector<std::int64_t>{2, 3}));
  EXPECT_EQ(tensors[1].end, 16_B);
  EXPECT_EQ(tensors[3].dtype, DType::kF4);
  EXPECT_TRUE(parsed(file_bytes("{}", 0)).empty());
}

struct Hostile {
  const char* name;
  std::string bytes;
  ErrorCode code = ErrorCode::kBadSafetensors;
};

std::string one(const std::string& entry, std::size_t data_bytes) {
  return file_bytes("{\"w\":" + entry + "}", data_bytes);
}

TEST(Safetensors, HostileHeadersAreTypedErrors) {
  const std::string good = R"({"dtype":"F32","shape":[2],"data_offsets":[0,8]})";
  ASSERT_NO_THROW(parsed(one(good, 8)));
  const std::vector<Hostile> cases = {
      {"empty", ""},
      {"seven_bytes", "1234567"},
      {"length_huge", with_length(~0ULL, "{}")},
      {"length_over_the_cap", with_length(100'000'001, "{}")},
      {"length_beyond_the_file", with_length(3, "{}")},
      {"length_0", with_length(0, "{}")},
      {"length_cuts_the_json", with_length(20, "{\"w\":" + good + "}        ")},
      {"not_an_object", file_bytes("[1]", 0)},
      {"leading_space", file_bytes(" {}", 0)},
      {"zip_prefix", file_bytes("PK\x03\x04", 0)},
      {"zero_byte_hides_text", file_bytes(std::string("{}\0PK", 5), 0)},
      {"text_after_the_object", file_bytes("{}{}", 0)},
      {"not_utf8", file_bytes("{\"\xff\":1}", 0)},
      {"deep", file_bytes("{\"w\":" + std::string(100'000, '['), 0)},
      {"value_is_a_number", one("5", 0)},
      {"value_is_null", one("null", 0)},
      {"value_is_a_list", one("[]", 0)},
      {"field_missing", one(R"({"dtype":"F32","shape":[2]})", 8)},
      {"field_unknown", one(R"({"dtype":"F32","shape":[2],"data_offsets":[0,8],"x":1})", 8)},
      {"field_twice", one(R"({"dtype":"F32","shape":[2],"shape":[2],"data_offsets":[0,8]})", 8)},
      {"field_is_an_object", one(R"({"dtype":{},"shape":[2],"data_offsets":[0,8]})", 8)},
      {"name_twice",
       file_bytes("{\"w\":" + good + R"(,"w":{"dtype":"F32","shape":[2],"data_offsets":[8,16]}})",
                  16)},
      {"metadata_twice", file_bytes(R"({"__metadata__":{},"__metadata__":{}})", 0)},
      {"metadata_not_text", file_bytes(R"({"__metadata__":{"a":1}})", 0)},
      {"metadata_nested", file_bytes(R"({"__metadata__":{"a":{}}})", 0)},
      {"dtype_unknown", one(R"({"dtype":"F33","shape":[2],"data_offsets":[0,8]})", 8)},
      {"dtype_refused", one(R"({"dtype":"C64","shape":[1],"data_offsets":[0,8]})", 8),
       ErrorCode::kUnsupported},
      {"dtype_is_a_list", one(R"({"dtype":[1],"shape":[2],"data_offsets":[0,8]})", 8)},
      {"shape_negative", one(R"({"dtype":"F32","shape":[-2],"data_offsets":[0,8]})", 8)},
      {"shape_real", one(R"({"dtype":"F32","shape":[2.0],"data_offsets":[0,8]})", 8)},
      {"shape_nested", one(R"({"dtype":"F32","shape":[[2]],"data_offsets":[0,8]})", 8)},
      {"shape_too_large",
       one(R"({"dtype":"F32","shape":[18446744073709551615],"data_offsets":[0,8]})", 8)},
      {"shape_beyond_64_bits",
       one(R"({"dtype":"F32","shape":[99999999999999999999],"data_offsets":[0,8]})", 8)},
      {"size_wraps",
       one(R"({"dtype":"F32","shape":[4294967296,4294967296],"data_offsets":[0,0]})", 0)},
      {"size_in_bits_wraps",
       one(R"({"dtype":"F64","shape":[288230376151711744],"data_offsets":[0,0]})", 0)},
      {"shape_of_17",
       one(R"({"dtype":"F32","shape":[1,1,1,1,1,1,1,1,1,1,1,1,1,1,1,1,2],"data_offsets":[0,8]})",
           8)},
      {"half_a_byte", one(R"({"dtype":"F4","shape":[3],"data_offsets":[0,2]})", 2)},
      {"offsets_short", one(R"({"dtype":"F32","shape":[2],"data_offsets":[0]})", 8)},
      {"offsets_reversed", one(R"({"dtype":"F32","shape":[2],"data_offsets":[8,0]})", 8)},
      {"offsets_disagree", one(R"({"dtype":"F32","shape":[2],"data_offsets":[0,4]})", 4)},
      {"offsets_beyond_the_file", one(good, 7)},
      {"bytes_left_over", one(good, 9)},
      {"hole_at_the_start", one(R"({"dtype":"F32","shape":[2],"data_offsets":[4,12]})", 12)},
      {"hole_between",
       file_bytes("{\"a\":" + good + R"(,"b":{"dtype":"F32","shape":[1],"data_offsets":[12,16]}})",
                  16)},
      {"overlap",
       file_bytes("{\"a\":" + good + R"(,"b":{"dtype":"F32","shape":[2],"data_offsets":[4,12]}})",
                  12)},
      {"same_place", file_bytes("{\"a\":" + good + ",\"b\":" + good + "}", 8)},
  };
  for (const Hostile& hostile : cases) {
    SCOPED_TRACE(hostile.name);
    test::AllocationMeter meter;
    try {
      parsed(hostile.bytes);
      ADD_FAILURE() << "was accepted";
    } catch (const Error& error) {
      EXPECT_EQ(error.code(), hostile.code) << error.what();
      EXPECT_EQ(error.file(), "m.safetensors");
    }
    EXPECT_LE(meter.peak_bytes(), 4 * static_cast<std::int64_t>(hostile.bytes.size()) + (1 << 20));
  }
}

TEST(Safetensors, EveryTruncationIsATypedError) {
  const std::string whole = file_bytes(kGood, 20);
  for (std::size_t length = 0; length < whole.size(); ++length) {
    EXPECT_THROW(parsed(whole.substr(0, length)), Error) << length;
  }
}

TEST(Safetensors, RandomDamageNeverCrashes) {
  const std::string whole = file_bytes(kGood, 20);
  std::mt19937_64 random(7);
  int refused = 0;
  for (int i = 0; i < 10'000; ++i) {
    std::string bytes = whole;
    for (int edits = 1 + static_cast<int>(random() % 3); edits > 0; --edits) {
      bytes[random() % (bytes.size() - 20)] = "0123456789[]{},:\"\\ x\xff"[random() % 21];
    }
    try {
      parsed(bytes);
    } catch (const Error& error) {
      ++refused;
      ASSERT_NE(error.code(), ErrorCode::kInternal);
    }
  }
  EXPECT_GT(refused, 5000);
}

}  // namespace
}  // namespace vramplan
