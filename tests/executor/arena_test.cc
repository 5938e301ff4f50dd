#include "executor/arena.h"

#include <gtest/gtest.h>
#include <rapidcheck/gtest.h>

#include <numeric>

namespace vramplan {
namespace {

constexpr Bytes kPlenty{std::int64_t{1} << 40};

TEST(Arena, CountsEachTensorRoundedUpAndRemembersTheMost) {
  auto tier = make_dry_tier(TierKind::kDevice, kPlenty);
  Arena arena(*tier, 4_KiB, "a test");
  TensorView a = arena.take(DType::kF32, 1, 64, "a");  // 256 B
  TensorView b = arena.take(DType::kF32, 1, 65, "b");  // 260 B -> 512 B
  EXPECT_EQ(arena.live(), 768_B);
  EXPECT_EQ(arena.padding(), 252_B);
  arena.give_back(b);
  EXPECT_EQ(arena.live(), 256_B);
  EXPECT_EQ(arena.high_water(), 768_B);
  EXPECT_EQ(b.data, nullptr);
  arena.reset_high_water();
  EXPECT_EQ(arena.high_water(), 256_B);
  EXPECT_EQ(arena.extent(), 768_B);
  arena.give_back(a);
}

TEST(Arena, TakesTheLowestGapThatFits) {
  auto tier = make_dry_tier(TierKind::kDevice, kPlenty);
  Arena arena(*tier, 4_KiB, "a test");
  TensorView a = arena.take(DType::kI8, 1, 512, "a");
  TensorView b = arena.take(DType::kI8, 1, 256, "b");
  TensorView c = arena.take(DType::kI8, 1, 256, "c");
  void* const hole = a.data;
  arena.give_back(a);
  TensorView large = arena.take(DType::kI8, 1, 768, "large");
  EXPECT_GT(large.data, c.data);
  TensorView small = arena.take(DType::kI8, 1, 1, "small");
  EXPECT_EQ(small.data, hole);
  for (TensorView* t : {&b, &c, &large, &small}) arena.give_back(*t);
  arena.check_integrity();
  EXPECT_EQ(arena.live(), 0_B);
}

TEST(Arena, SaysWhichTensorIsMissingHowMuch) {
  auto tier = make_dry_tier(TierKind::kDevice, kPlenty);
  Arena arena(*tier, 1_KiB, "the activation region");
  TensorView a = arena.take(DType::kI8, 1, 768, "a");
  try {
    arena.take(DType::kI8, 1, 257, "logits");
    FAIL();
  } catch (const Error& error) {
    EXPECT_EQ(error.code(), ErrorCode::kOutOfPlan);
    EXPECT_NE(error.message().find("logits"), std::string::npos);
    EXPECT_NE(error.message().find("256 B are missing"), std::string::npos) << error.message();
  }
  EXPECT_EQ(arena.live(), 768_B);
  arena.give_back(a);
}

TEST(Arena, AnEmptyTensorTakesNothing) {
  auto tier = make_dry_tier(TierKind::kDevice, kPlenty);
  Arena arena(*tier, 0_B, "a test");
  TensorView none = arena.take(DType::kI8, 1, 0, "no scratch");
  EXPECT_EQ(none.data, nullptr);
  arena.give_back(none);
}

TEST(ArenaDeathTest, GivingBackTwiceStopsTheProgram) {
  auto tier = make_dry_tier(TierKind::kDevice, kPlenty);
  Arena arena(*tier, 4_KiB, "a test");
  TensorView a = arena.take(DType::kI8, 1, 1, "a");
  TensorView copy = a;
  arena.give_back(a);
  EXPECT_DEATH(arena.give_back(copy), "does not hold");
}

// Against a bitmap of 256 B cells that is searched from the start.
RC_GTEST_PROP(Arena, FitsWhereABitmapFits, ()) {
  constexpr std::size_t kCells = 64;
  auto tier = make_dry_tier(TierKind::kDevice, kPlenty);
  Arena arena(*tier, Bytes{static_cast<std::int64_t>(kCells) * 256}, "a test");
  std::vector<bool> used(kCells, false);
  struct Held {
    TensorView view;
    std::size_t first, count;
  };
  std::vector<Held> held;
  TensorView origin = arena.take(DType::kI8, 1, 1, "origin");
  used[0] = true;
  const auto* const base = static_cast<std::byte*>(origin.data);
  for (const auto& [take, size] : *rc::gen::container<std::vector<std::pair<bool, int>>>(
           rc::gen::pair(rc::gen::arbitrary<bool>(), rc::gen::inRange(1, 6000)))) {
    if (!take && !held.empty()) {
      const std::size_t at = static_cast<std::size_t>(size) % held.size();
      for (std::size_t i = 0; i < held[at].count; ++i) used[held[at].first + i] = false;
      arena.give_back(held[at].view);
      held.erase(held.begin() + static_cast<std::ptrdiff_t>(at));
    } else {
      const std::size_t cells = (static_cast<std::size_t>(size) + 255) / 256;
      std::size_t first = 0;
      for (std::size_t run = 0; first + cells <= kCells; ++first) {
        for (run = 0; run < cells && !used[first + run]; ++run) {
        }
        if (run == cells) break;
      }
      const bool fits = first + cells <= kCells;
      try {
        TensorView view = arena.take(DType::kI8, 1, size, "t");
        RC_ASSERT(fits);
        RC_ASSERT(static_cast<std::byte*>(view.data) - base ==
                  static_cast<std::ptrdiff_t>(first * 256));
        for (std::size_t i = 0; i < cells; ++i) used[first + i] = true;
        held.push_back({view, first, cells});
      } catch (const Error&) {
        RC_ASSERT(!fits);
      }
    }
    arena.check_integrity();
    const auto count = std::count(used.begin(), used.end(), true);
    RC_ASSERT(arena.live().n == count * 256);
  }
}

}  // namespace
}  // namespace vramplan
