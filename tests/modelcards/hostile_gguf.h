#pragma once
// HostileFile: GGUF files that must be refused, one a class of published vulnerability.
#include <functional>
#include <string>
#include <vector>

#include "tests/modelcards/gguf_writer.h"

namespace vramplan {
namespace {

using test::GgufWriter;
using test::packed;
using test::packed_string;
using test::tiny_llama;

constexpr std::uint64_t kHuge = ~std::uint64_t{0};

struct HostileFile {
  const char* name;
  std::function<std::string()> bytes;
  ErrorCode code = ErrorCode::kBadGguf;
  const char* says = "";  // must occur in the message
};

GgufWriter one_tensor() {
  GgufWriter w;
  w.tensor("w", {4, 32});
  return w;
}

/// The tiny model with one change.
std::string changed(const std::function<void(GgufWriter&)>& change) {
  GgufWriter w = tiny_llama();
  change(w);
  return w.bytes();
}

std::string changed_tensor(const std::function<void(GgufWriter::Tensor&)>& change) {
  GgufWriter w = one_tensor();
  change(w.find("w"));
  return w.bytes();
}

std::string with_key(GgufType type, const std::string& value) {
  GgufWriter w = one_tensor();
  w.raw("k", type, value);
  return w.bytes();
}

std::string with_array(std::uint32_t type, std::uint64_t count, const std::string& body) {
  return with_key(GgufType::kArray, packed(type) + packed(count) + body);
}

std::string with_alignment(GgufType type, const std::string& value) {
  GgufWriter w = one_tensor();
  w.raw("general.alignment", type, value);
  return w.bytes();
}

// Comments name the published defect whose shape the case has.
const std::vector<HostileFile>& preamble_cases() {
  static const std::vector<HostileFile> cases = {
      {"empty", [] { return std::string(); }},
      {"three_bytes", [] { return std::string("GGU"); }},
      {"magic_only", [] { return std::string("GGUF"); }},
      {"wrong_magic", [] { return changed([](auto& w) { w.magic = 0x21212121; }); },
       ErrorCode::kBadGguf, "magic"},
      {"zip_file", [] { return "PK\x03\x04" + std::string(100, 'x'); }},
      {"ggjt_file", [] { return changed([](auto& w) { w.magic = 0x67676a74; }); },
       ErrorCode::kUnsupported, "before GGUF"},
      {"version_0", [] { return changed([](auto& w) { w.version = 0; }); }},
      {"version_1", [] { return changed([](auto& w) { w.version = 1; }); }, ErrorCode::kUnsupported,
       "version 1"},
      {"version_99", [] { return changed([](auto& w) { w.version = 99; }); }, ErrorCode::kBadGguf,
       "99"},
      {"big_endian", [] { return changed([](auto& w) { w.version = 0x03000000; }); },
       ErrorCode::kUnsupported, "big-endian"},
      // CVE-2024-21825, CVE-2024-23605 and kin: counts that are multiplied and allocated.
      {"key_count_huge", [] { return changed([](auto& w) { w.key_count = kHuge; }); },
       ErrorCode::kBadGguf, "declares"},
      {"key_count_wraps_when_multiplied",
       [] { return changed([](auto& w) { w.key_count = kHuge / 13 + 2; }); }, ErrorCode::kBadGguf,
       "declares"},
      {"key_count_beyond_the_file", [] { return changed([](auto& w) { w.key_count = 100'000; }); },
       ErrorCode::kBadGguf, "declares"},
      {"key_count_one_more", [] { return changed([](auto& w) { w.key_count = 13; }); }},
      {"tensor_count_huge", [] { return changed([](auto& w) { w.tensor_count = kHuge; }); },
       ErrorCode::kBadGguf, "declares"},
      {"tensor_count_wraps_when_multiplied",
       [] { return changed([](auto& w) { w.tensor_count = kHuge / 24 + 2; }); },
       ErrorCode::kBadGguf, "declares"},
      {"tensor_count_one_more", [] { return changed([](auto& w) { w.tensor_count = 21; }); }},
  };
  return cases;
}

const std::vector<HostileFile>& key_cases() {
  static const std::vector<HostileFile> cases = {
      {"key_length_huge",
       [] {
         return GgufWriter().header().substr(0, 16) + packed<std::uint64_t>(1) + packed(kHuge) +
                std::string(64, 'k');
       }},  // CVE-2024-21802
      {"key_length_beyond_the_file",
       [] {
         return GgufWriter().header().substr(0, 16) + packed<std::uint64_t>(1) +
                packed<std::uint64_t>(500) + std::string(64, 'k');
       }},
      {"key_empty", [] { return changed([](auto& w) { w.u32("", 1); }); }, ErrorCode::kBadGguf,
       "empty"},
      {"key_longer_than_allowed",
       [] { return changed([](auto& w) { w.u32(std::string(70'000, 'k'), 1); }); }},
      {"key_twice", [] { return changed([](auto& w) { w.u32("x", 1).u32("x", 2); }); },
       ErrorCode::kBadGguf, "twice"},
      {"value_type_unknown", [] { return changed([](auto& w) { w.raw("k", 13, "12345678"); }); }},
      {"value_type_huge",
       [] { return changed([](auto& w) { w.raw("k", 0xffffffffU, "12345678"); }); }},
      {"boolean_is_2", [] { return with_key(GgufType::kBool, "\x02"); }, ErrorCode::kBadGguf,
       "boolean"},
      {"string_length_huge",  // CVE-2024-21836: length + 1 wraps to 0
       [] { return with_key(GgufType::kString, packed(kHuge)); }},
      {"string_length_negative",
       [] { return with_key(GgufType::kString, packed(std::uint64_t{1} << 63)); }},
      {"string_beyond_the_file",
       [] { return with_key(GgufType::kString, packed<std::uint64_t>(4096) + "short"); }},
      {"string_of_17_mib",
       [] { return with_key(GgufType::kString, packed_string(std::string(17 << 20, 's'))); },
       ErrorCode::kBadGguf, "at most"},
      {"array_count_huge", [] { return with_array(4, kHuge, "1234"); }, ErrorCode::kBadGguf,
       "declares"},  // CVE-2024-23496
      {"array_count_wraps", [] { return with_array(10, (kHuge >> 3) + 2, "12345678"); },
       ErrorCode::kBadGguf, "declares"},
      {"array_count_fits_as_bytes_not_as_elements", [] { return with_array(10, 200, "12345678"); },
       ErrorCode::kBadGguf, "declares"},
      {"array_beyond_the_file", [] { return with_array(4, 1000, "1234"); }, ErrorCode::kBadGguf,
       "declares"},
      {"array_of_strings_huge", [] { return with_array(8, kHuge, ""); }, ErrorCode::kBadGguf,
       "declares"},
      {"array_of_strings_lies", [] { return with_array(8, 40, packed_string("a")); },
       ErrorCode::kBadGguf, "declares"},
      {"array_string_length_huge", [] { return with_array(8, 1, packed(kHuge)); }},
      {"array_type_unknown", [] { return with_array(99, 1, "12345678"); }},
      {"array_of_booleans_with_7", [] { return with_array(7, 3, std::string("\x01\x07\x00", 3)); }},
      {"array_of_arrays",
       [] {
         return with_array(9, 1, packed<std::uint32_t>(4) + packed<std::uint64_t>(1) + "1234");
       },
       ErrorCode::kBadGguf, "arrays"},
      {"array_nested_a_thousand_deep",
       [] {
         std::string body;
         for (int i = 0; i < 1000; ++i) body += packed<std::uint32_t>(9) + packed<std::uint64_t>(1);
         return with_array(9, 1, body);
       }},
  };
  return cases;
}

const std::vector<HostileFile>& tensor_cases() {
  static const std::vector<HostileFile> cases = {
      // llama.cpp #8816, #9003: alignment 0 divides by zero, other types are read as garbage.
      {"alignment_0", [] { return with_alignment(GgufType::kU32, packed<std::uint32_t>(0)); }},
      {"alignment_3", [] { return with_alignment(GgufType::kU32, packed<std::uint32_t>(3)); }},
      {"alignment_2_mib",
       [] { return with_alignment(GgufType::kU32, packed<std::uint32_t>(2 << 20)); }},
      {"alignment_max",
       [] { return with_alignment(GgufType::kU32, packed<std::uint32_t>(0x80000000U)); }},
      {"alignment_u64", [] { return with_alignment(GgufType::kU64, packed<std::uint64_t>(32)); },
       ErrorCode::kBadGguf, "u32"},
      {"alignment_text", [] { return with_alignment(GgufType::kString, packed_string("32")); }},
      {"tensor_name_huge",
       [] { return changed_tensor([](auto& t) { t.name = std::string(300, 'n'); }); }},
      {"tensor_name_empty", [] { return changed_tensor([](auto& t) { t.name = ""; }); }},
      {"tensor_twice",
       [] { return changed([](auto& w) { w.tensor("output_norm.weight", {32}); }); },
       ErrorCode::kBadGguf, "twice"},
      {"dims_0", [] { return changed_tensor([](auto& t) { t.n_dims = 0; }); }},
      {"dims_5", [] { return changed_tensor([](auto& t) { t.n_dims = 5; }); }},  // gguf-tools #25
      {"dims_huge", [] { return changed_tensor([](auto& t) { t.n_dims = 0xffffffffU; }); }},
      {"dim_of_0", [] { return changed_tensor([](auto& t) { t.dims[1] = 0; }); }},
      {"dim_negative",
       [] { return changed_tensor([](auto& t) { t.dims[1] = std::uint64_t{1} << 63; }); }},
      // CVE-2025-53630, CVE-2026-27940, CVE-2026-33298: products and sums that wrap.
      {"size_wraps_to_0",
       [] {
         return changed_tensor([](auto& t) {
           t.dims = {std::uint64_t{1} << 32, std::uint64_t{1} << 30, 4};
         });
       },
       ErrorCode::kBadGguf, "64 bits"},
      {"size_wraps_to_small",
       [] {
         return changed_tensor([](auto& t) {
           t.dims = {32, (std::uint64_t{1} << 62) / 32 + 1, 2};
         });
       }},
      {"size_near_the_top",
       [] { return changed_tensor([](auto& t) { t.dims = {(std::uint64_t{1} << 61) - 1}; }); }},
      {"four_dims_wrap",
       [] { return changed_tensor([](auto& t) {
              t.dims = {65536, 65536, 65536, 65536};
            }); }},
      {"offset_huge", [] { return changed_tensor([](auto& t) { t.offset = kHuge - 31; }); }},
      {"offset_wraps_the_sum",
       [] { return changed_tensor([](auto& t) { t.offset = (std::uint64_t{1} << 63) - 512; }); }},
      // CVE-2026-7482, llama.cpp #6774: data beyond the end of the file.
      {"offset_at_the_end", [] { return changed_tensor([](auto& t) { t.offset = 96; }); },
       ErrorCode::kBadGguf, "ends"},
      {"offset_unaligned", [] { return changed_tensor([](auto& t) { t.offset = 8; }); },
       ErrorCode::kBadGguf, "alignment"},
      {"tensor_larger_than_the_file",
       [] { return changed_tensor([](auto& t) {
              t.dims = {32, 5000};
            }); }},
      {"tensors_overlap",
       [] { return changed([](auto& w) { w.find("blk.0.attn_q.weight").offset = 0; }); },
       ErrorCode::kBadGguf, "overlaps"},
      {"block_splits_a_row",
       [] {
         return changed_tensor([](auto& t) {
           t.type = 2;
           t.dims = {48, 4};
         });
       },
       ErrorCode::kBadGguf, "blocks"},
      {"type_withdrawn", [] { return changed_tensor([](auto& t) { t.type = 4; }); },
       ErrorCode::kUnsupported, "type 4"},
      {"type_unknown", [] { return changed_tensor([](auto& t) { t.type = 1000; }); },
       ErrorCode::kUnsupported},
      {"type_negative", [] { return changed_tensor([](auto& t) { t.type = 0xffffffffU; }); },
       ErrorCode::kUnsupported},
      {"rope_factors_not_f32",
       [] { return changed([](auto& w) { w.tensor("rope_freqs.weight", {32}, DType::kQ8_0); }); }},
  };
  return cases;
}

}  // namespace
}  // namespace vramplan
