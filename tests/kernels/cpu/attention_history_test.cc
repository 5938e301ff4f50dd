#include <gtest/gtest.h>

#include "kernels/cpu/cpu_ops.h"
#include "tests/kernels/cpu/two_caches.h"

namespace vramplan {
namespace {

struct Case {
  TwoCaches::Shape shape;
  std::int64_t group = 3, before = 256, recent = 70, queries = 1;
  int threads = 2;
  float softcap = 0.0F, query_size = 1.0F;
};

/// The definition in double, over what the caches hold.
void expect_attention(const Case& c) {
  const auto ops = make_cpu_ops(c.threads);
  TwoCaches caches(c.shape);
  const TwoCaches::Shape& s = c.shape;
  const auto grow = [&](std::int64_t count, unsigned seed) {
    std::vector<float> k = random_floats(count * s.kv_heads * s.head_dim, seed);
    std::vector<float> v = random_floats(count * s.kv_heads * s.value_dim, seed + 1);
    caches.append(*ops, k, v, count);
  };
  grow(c.before, 20);
  if (c.before > 0) caches.pack_all(*ops);
  grow(c.recent, 30);
  const std::int64_t heads = s.kv_heads * c.group;
  std::vector<float> q = random_floats(c.queries * heads * s.head_dim, 1, c.query_size);
  std::vector<float> out(static_cast<std::size_t>(c.queries * heads * s.value_dim), NAN);
  caches.attend(*ops, q, out, c.queries, heads, c.softcap);
  const double scale = 1.0 / std::sqrt(static_cast<double>(s.head_dim));
  for (std::int64_t j = 0; j < c.queries; ++j) {
    const std::int64_t seen = caches.rows() - c.queries + j + 1;
    for (std::int64_t h = 0; h < heads; ++h) {
      const float* query = &q[static_cast<std::size_t>((j * heads + h) * s.head_dim)];
      std::vector<double> wanted(static_cast<std::size_t>(s.value_dim), 0.0);
      double sum = 0;
      for (std::int64_t row = 0; row < seen; ++row) {
        double dot = 0;
        for (std::int64_t d = 0; d < s.head_dim; ++d)
          dot += static_cast<double>(query[d]) * caches.key(row, h / c.group, d);
        dot *= scale;
        const auto cap = static_cast<double>(c.softcap);
        if (cap > 0) dot = cap * std::tanh(dot / cap);
        const double weight = std::exp(dot);
        sum += weight;
        for (std::int64_t d = 0; d < s.value_dim; ++d)
          wanted[static_cast<std::size_t>(d)] += weight * caches.value(row, h / c.group, d);
      }
      for (std::int64_t d = 0; d < s.value_dim; ++d) {
        const auto at = static_cast<std::size_t>((j * heads + h) * s.value_dim + d);
        // Queries and probabilities of packed tiles are whole numbers of 16 bits.
        ASSERT_NEAR(static_cast<double>(out[at]), wanted[static_cast<std::size_t>(d)] / sum, 3e-4)
            << info(s.dtype).name << " query " << j << " head " << h << " element " << d;
      }
    }
  }
}

constexpr DType kHistories[] = {DType::kKivi2, DType::kKivi4, DType::kF8E4M3,
                                DType::kI8,    DType::kQ8_0,  DType::kF16};

TEST(AttentionHistory, OneQueryOverHistoryAndWindow) {
  for (const DType dtype : kHistories) {
    for (const int threads : {1, 3}) {
      Case c;
      c.threads = threads;
      c.shape = {dtype, 3, 64, 64, 32, 1};
      for (const auto& [before, recent] :
           {std::pair{256, 70}, std::pair{32, 1}, std::pair{0, 5}, std::pair{544, 33}}) {
        c.before = before;
        c.recent = recent;
        expect_attention(c);
      }
    }
  }
}

TEST(AttentionHistory, ManyQueriesSeeAllOfTheHistory) {
  for (const DType dtype : kHistories) {
    for (const std::int64_t queries : {2, 40}) {
      Case c;
      c.shape = {dtype, 2, 64, 64, 64, 1};
      c.queries = queries;
      expect_attention(c);
      c.softcap = 4.0F;
      expect_attention(c);
    }
  }
}

TEST(AttentionHistory, HeadsAndGroupsOfManyShapes) {
  for (const DType dtype : {DType::kKivi2, DType::kKivi4}) {
    for (const std::int64_t group : {1, 4, 7, 17}) {
      for (const std::int64_t dim : {32, 96, 128}) {
        Case c;
        c.shape = {dtype, 1, dim, dim == 96 ? 32 : dim, 32, 1};
        c.group = group;
        c.before = 160;
        expect_attention(c);
        c.softcap = 4.0F;
        expect_attention(c);
      }
    }
  }
}

TEST(AttentionHistory, AStridedHistoryIsShorter) {
  for (const DType dtype : {DType::kF8E4M3, DType::kI8, DType::kF16}) {
    for (const std::int64_t queries : {1, 9}) {
      Case c;
      c.shape = {dtype, 2, 64, 64, 16, 4};
      c.queries = queries;
      c.before = 416;
      expect_attention(c);
    }
  }
}

TEST(AttentionHistory, HeadsInF16BesidePackedOnes) {
  for (const DType dtype : {DType::kKivi2, DType::kKivi4}) {
    for (const std::uint64_t full : {1U, 2U, 4U, 5U, 6U}) {
      for (const std::int64_t queries : {1, 9}) {
        Case c;
        c.shape = {dtype, 3, 64, 32, 64, 1, full};
        c.queries = queries;
        expect_attention(c);
      }
    }
  }
}

/// What all heads give in one format and what they give in the other: each head one of the two.
TEST(AttentionHistory, EachHeadIsAsInACacheOfItsFormatAlone) {
  constexpr std::int64_t kHeads = 4, kGroup = 2, kDim = 64, kBefore = 320;
  constexpr std::uint64_t kFull = 0b0110;
  for (const std::int64_t queries : {1, 5}) {
    const auto out_of = [&](DType dtype, std::uint64_t full) {
      const auto ops = make_cpu_ops(2);
      TwoCaches caches({dtype, kHeads, kDim, kDim, 32, 1, full});
      for (const auto& [count, seed] : {std::pair<std::int64_t, unsigned>{kBefore, 7}, {50, 11}}) {
        std::vector<float> k = random_floats(count * kHeads * kDim, seed);
        std::vector<float> v = random_floats(count * kHeads * kDim, seed + 1);
        caches.append(*ops, k, v, count);
        if (count == kBefore) caches.pack_all(*ops);
      }
      std::vector<float> q = random_floats(queries * kHeads * kGroup * kDim, 1);
      std::vector<float> out(q.size(), NAN);
      caches.attend(*ops, q, out, queries, kHeads * kGroup);
      return out;
    };
    const auto mixed = out_of(DType::kKivi2, kFull), packed = out_of(DType::kKivi2, 0),
               plain = out_of(DType::kF16, 0);
    for (std::size_t i = 0; i < mixed.size(); ++i) {
      const auto head = static_cast<std::int64_t>(i) / kDim % (kHeads * kGroup) / kGroup;
      const auto& alone = (kFull >> head & 1) != 0 ? plain : packed;
      ASSERT_FLOAT_EQ(mixed[i], alone[i]) << i;
    }
    EXPECT_NE(packed, plain);
  }
}

}  // namespace
}  // namespace vramplan
