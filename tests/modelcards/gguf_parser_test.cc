// Hostile GGUF files: each class of published vulnerability as a named case, every truncation,
// random damage, and the memory that reading may take.
#include <gtest/gtest.h>
#include <malloc.h>

#include <algorithm>
#include <atomic>
#include <cstdlib>
#include <functional>
#include <new>
#include <random>

#include "tests/modelcards/allocation_meter.h"
#include "tests/modelcards/gguf_writer.h"
#include "tests/modelcards/hostile_gguf.h"

namespace {
std::atomic<std::int64_t> live_bytes{0}, peak_live_bytes{0};

void* counted_allocation(std::size_t size) {
  void* memory = std::malloc(size == 0 ? 1 : size);
  if (memory == nullptr) throw std::bad_alloc();
  const auto now = live_bytes += static_cast<std::int64_t>(malloc_usable_size(memory));
  std::int64_t peak = peak_live_bytes;
  while (now > peak && !peak_live_bytes.compare_exchange_weak(peak, now)) {
  }
  return memory;
}
void counted_release(void* memory) noexcept {
  if (memory == nullptr) return;
  live_bytes -= static_cast<std::int64_t>(malloc_usable_size(memory));
  std::free(memory);
}
}  // namespace

void* operator new(std::size_t size) { return counted_allocation(size); }
void* operator new[](std::size_t size) { return counted_allocation(size); }
// Under a sanitizer the nothrow forms do not come here by themselves.
void* operator new(std::size_t size, const std::nothrow_t&) noexcept {
  try {
    return counted_allocation(size);
  } catch (const std::bad_alloc&) {
    return nullptr;
  }
}
void* operator new[](std::size_t size, const std::nothrow_t& tag) noexcept {
  return operator new(size, tag);
}
void operator delete(void* memory, const std::nothrow_t&) noexcept { counted_release(memory); }
void operator delete[](void* memory, const std::nothrow_t&) noexcept { counted_release(memory); }
void operator delete(void* memory) noexcept { counted_release(memory); }
void operator delete[](void* memory) noexcept { counted_release(memory); }
void operator delete(void* memory, std::size_t) noexcept { counted_release(memory); }
void operator delete[](void* memory, std::size_t) noexcept { counted_release(memory); }

namespace vramplan {
namespace test {
AllocationMeter::AllocationMeter() : start_(live_bytes) { peak_live_bytes = start_; }
std::int64_t AllocationMeter::peak_bytes() const { return peak_live_bytes - start_; }
}  // namespace test

namespace {

using test::AllocationMeter;
using test::GgufWriter;
using test::packed;
using test::packed_string;
using test::read_gguf;
using test::tiny_llama;

constexpr std::int64_t kBudgetConstant = std::int64_t{64} << 20;

void expect_typed_error(const HostileFile& hostile) {
  SCOPED_TRACE(hostile.name);
  const std::string bytes = hostile.bytes();
  const auto file = memory_file("hostile.gguf", bytes);
  AllocationMeter meter;
  try {
    Gguf::read(*file);
    FAIL() << "was accepted";
  } catch (const Error& error) {
    EXPECT_EQ(error.code(), hostile.code) << error.what();
    EXPECT_NE(std::string(error.what()).find(hostile.says), std::string::npos) << error.what();
    EXPECT_EQ(error.file(), "hostile.gguf");
    EXPECT_FALSE(error.field().empty());
  }
  EXPECT_LE(meter.peak_bytes(), 4 * static_cast<std::int64_t>(bytes.size()) + (2 << 20));
}

TEST(GgufParser, HostilePreamblesAreTypedErrors) {
  for (const HostileFile& hostile : preamble_cases()) expect_typed_error(hostile);
}
TEST(GgufParser, HostileKeysAreTypedErrors) {
  for (const HostileFile& hostile : key_cases()) expect_typed_error(hostile);
}
TEST(GgufParser, HostileTensorTablesAreTypedErrors) {
  for (const HostileFile& hostile : tensor_cases()) expect_typed_error(hostile);
}

TEST(GgufParser, TheUnchangedFilesAreAccepted) {
  EXPECT_NO_THROW(read_gguf(tiny_llama().bytes()));
  EXPECT_NO_THROW(read_gguf(one_tensor().bytes()));
  EXPECT_NO_THROW(read_gguf(with_key(GgufType::kBool, std::string(1, '\1'))));
  EXPECT_NO_THROW(read_gguf(with_array(8, 1, packed_string("a"))));
  EXPECT_NO_THROW(read_gguf(with_alignment(GgufType::kU32, packed<std::uint32_t>(32))));
  EXPECT_NO_THROW(read_gguf(changed([](auto& w) { w.version = 2; })));
}

TEST(GgufParser, EveryTruncationIsATypedError) {
  const std::string whole = tiny_llama(1).bytes();
  for (std::size_t length = 0; length < whole.size(); ++length) {
    try {
      read_gguf(whole.substr(0, length));
      FAIL() << "accepted the first " << length << " of " << whole.size() << " bytes";
    } catch (const Error& error) {
      ASSERT_EQ(error.code(), ErrorCode::kBadGguf) << length;
    }
  }
}

TEST(GgufParser, RandomDamageNeverCrashesOrTakesMemoryOverBudget) {
  GgufWriter w = tiny_llama(1);
  w.numbers<float>("tokenizer.ggml.scores", GgufType::kF32, {0.5F, -1.0F});
  const std::string whole = w.bytes();
  const auto header = static_cast<std::int64_t>(w.header().size());
  std::mt19937_64 random(20261121);
  const auto below = [&](std::int64_t n) {
    return static_cast<std::int64_t>(random() % static_cast<std::uint64_t>(n));
  };
  const std::uint64_t extremes[] = {0,          1,          0x7f,  0xff,     0x7fffffff,
                                    0xffffffff, 1ULL << 63, kHuge, kHuge / 2};
  int refused = 0;
  constexpr int kMutations = 20'000;
  for (int i = 0; i < kMutations; ++i) {
    std::string bytes = whole;
    for (std::int64_t edits = 1 + below(3); edits > 0; --edits) {
      const auto at = static_cast<std::size_t>(below(header - 8));
      const std::uint64_t value = extremes[below(std::size(extremes))];
      switch (below(4)) {
        case 0:
          bytes[at] = static_cast<char>(random());
          break;
        case 1:
          std::memcpy(&bytes[at], &value, 8);
          break;
        case 2:
          std::memcpy(&bytes[at], &value, 4);
          break;
        default:
          bytes.erase(at, static_cast<std::size_t>(1 + below(16)));
          break;
      }
    }
    const auto file = memory_file("damaged.gguf", bytes);
    AllocationMeter meter;
    try {
      const Gguf gguf = Gguf::read(*file);
      model_card_from_gguf(gguf);
    } catch (const Error& error) {
      ++refused;
      ASSERT_NE(error.code(), ErrorCode::kInternal) << error.what();
    }
    ASSERT_LE(meter.peak_bytes(), 4 * static_cast<std::int64_t>(bytes.size()) + (1 << 20)) << i;
  }
  // Damage in a tensor's name that nothing needs, or in a token, may pass; most must not.
  EXPECT_GT(refused, kMutations / 2);
}

TEST(GgufParser, MemoryStaysWithinFourTimesTheMetadata) {
  // The worst case per byte: empty strings (8 bytes each in the file, one std::string each here).
  constexpr std::uint64_t kCount = 3'000'000;
  GgufWriter w = one_tensor();
  w.array("k", GgufType::kString, kCount, std::string(8 * kCount, '\0'));
  const std::string bytes = w.bytes();
  const auto file = memory_file("strings.gguf", bytes);
  AllocationMeter meter;
  const Gguf gguf = Gguf::read(*file);
  EXPECT_EQ(gguf.texts("k").size(), kCount);
  EXPECT_LE(meter.peak_bytes(), 4 * static_cast<std::int64_t>(bytes.size()) + kBudgetConstant);
}

TEST(GgufParser, ALyingCountTakesNoMemoryForWhatDoesNotExist) {
  // 16 MiB of file behind the count, but only one string that parses.
  GgufWriter w = one_tensor();
  w.array("k", GgufType::kString, 1'000'000, packed_string("a") + std::string(16 << 20, '\xff'));
  const auto file = memory_file("lie.gguf", w.bytes());
  AllocationMeter meter;
  EXPECT_THROW(Gguf::read(*file), Error);
  EXPECT_LE(meter.peak_bytes(), 4 << 20);
}

/// Counts what is read: speed is a question of how many reads of what size, not of a clock.
class CountingFile final : public File {
 public:
  explicit CountingFile(std::string bytes) : file_(memory_file("vocab.gguf", std::move(bytes))) {}
  const std::string& name() const override { return file_->name(); }
  Bytes size() const override { return file_->size(); }
  void read_at(Bytes offset, std::span<std::byte> out) const override {
    ++reads;
    total += static_cast<std::int64_t>(out.size());
    file_->read_at(offset, out);
  }
  mutable std::int64_t reads = 0, total = 0;

 private:
  std::unique_ptr<File> file_;
};

TEST(GgufParser, AVocabularyOf250kTokensIsReadInFewLargeReads) {
  std::vector<std::string> tokens;
  for (int i = 0; i < 250'000; ++i) tokens.push_back("token" + std::to_string(i));
  GgufWriter w = one_tensor();
  w.texts("tokenizer.ggml.tokens", tokens);
  w.numbers<std::int32_t>("tokenizer.ggml.token_type", GgufType::kI32,
                          std::vector<std::int32_t>(250'000, 1));
  const CountingFile file(w.bytes());
  const Gguf gguf = Gguf::read(file);
  EXPECT_EQ(gguf.texts("tokenizer.ggml.tokens"), tokens);
  EXPECT_EQ(gguf.integers("tokenizer.ggml.token_type").size(), 250'000U);
  EXPECT_LE(file.reads, 16);
  EXPECT_LE(file.total, 4 * file.size().n);
}

TEST(GgufParser, StringsAcrossAndBeyondTheWindowAreWhole) {
  std::string large(3 << 20, '\0');
  for (std::size_t i = 0; i < large.size(); ++i) large[i] = static_cast<char>('a' + i % 23);
  std::vector<std::string> middle;  // 300 kB each: they straddle the 1 MiB window's edges
  for (std::size_t i = 0; i < 10; ++i) middle.push_back(large.substr(i, 300'000 + i));
  GgufWriter w = one_tensor();
  w.text("large", large).texts("middle", middle).text("after", "x");
  const Gguf gguf = read_gguf(w.bytes());
  EXPECT_EQ(gguf.text("large"), large);
  EXPECT_EQ(gguf.texts("middle"), middle);
  EXPECT_EQ(gguf.text("after"), "x");
}

}  // namespace
}  // namespace vramplan
