#include "modelcards/units.h"

#include <gtest/gtest.h>

namespace vramplan {
namespace {

template <class A, class B>
concept CanAdd = requires(A a, B b) {
  a + b;
};
static_assert(CanAdd<Bytes, Bytes>);
static_assert(!CanAdd<Bytes, Tokens>, "bytes and tokens must not add");
static_assert(!CanAdd<Bytes, int>, "a bare number is no count");
static_assert(80_GB < 80_GiB);
static_assert((BytesPerToken{327'680} * 32'768_tokens).n == (10_GiB).n);

TEST(Units, OverflowIsAnErrorNotAWrap) {
  const Bytes most{std::numeric_limits<std::int64_t>::max()};
  EXPECT_THROW(most + 1_B, Error);
  EXPECT_THROW(most * 2, Error);
  EXPECT_THROW(-most - 2_B, Error);
  EXPECT_THROW((BytesPerToken{1LL << 40} * Tokens{1LL << 40}), Error);
}

TEST(Units, DivisionsSayHowTheyRound) {
  EXPECT_EQ(ceil_div(17, 16), 2);
  EXPECT_EQ(floor_div(17, 16), 1);
  EXPECT_EQ(blocks_for(Tokens{16}, TokensPerBlock{16}).n, 1);
  EXPECT_EQ(blocks_for(Tokens{17}, TokensPerBlock{16}).n, 2);
  EXPECT_EQ(round_up(257_B, 256_B), 512_B);
}

TEST(Units, SizesParseExactlyOrNameTheFlag) {
  EXPECT_EQ(parse_bytes("80GiB", "--capacity"), 80_GiB);
  EXPECT_EQ(parse_bytes("80GB", "--capacity"), 80_GB);
  EXPECT_EQ(parse_bytes("1.5GiB", "--capacity"), 1536_MiB);
  EXPECT_EQ(parse_tokens("32k", "--context").n, 32768);
  EXPECT_EQ(parse_tokens("9007199254740993", "--context").n, 9007199254740993);
  for (const char* bad :
       {"", "k", "-1", "1e400", "nan", "12 parsecs", "99999999999999999999", "0.3"}) {
    try {
      parse_tokens(bad, "--context");
      FAIL() << bad;
    } catch (const Error& error) {
      EXPECT_EQ(error.code(), ErrorCode::kUsage);
      EXPECT_EQ(error.field(), "--context");
    }
  }
}

}  // namespace
}  // namespace vramplan
