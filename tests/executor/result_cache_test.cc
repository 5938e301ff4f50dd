#include "executor/result_cache.h"

#include <gtest/gtest.h>

#include "modelcards/error.h"

namespace vramplan {
namespace {

using namespace literals;

TEST(ResultCache, FindsWhatWasInsertedAndNothingElse) {
  ResultCache cache(1_MiB);
  EXPECT_EQ(cache.find("a"), nullptr);
  cache.insert("a", {1, 2, 3});
  ASSERT_NE(cache.find("a"), nullptr);
  EXPECT_EQ(*cache.find("a"), (std::vector<std::int32_t>{1, 2, 3}));
  EXPECT_EQ(cache.find("b"), nullptr);
  cache.insert("a", {4});
  EXPECT_EQ(*cache.find("a"), (std::vector<std::int32_t>{4}));
  EXPECT_EQ(cache.entries(), 1);
  EXPECT_EQ(cache.bytes().n, ResultCache::kEntryBytes + 1 + 4);
}

TEST(ResultCache, TheLeastRecentlyUsedGoesWhenTheBoundIsReached) {
  const Bytes one{ResultCache::kEntryBytes + 1 + 4};
  ResultCache cache(one * 2);
  cache.insert("a", {1});
  cache.insert("b", {2});
  cache.find("a");
  cache.insert("c", {3});
  EXPECT_NE(cache.find("a"), nullptr);
  EXPECT_EQ(cache.find("b"), nullptr);
  EXPECT_NE(cache.find("c"), nullptr);
  EXPECT_EQ(cache.bytes(), one * 2);
  cache.insert("large", std::vector<std::int32_t>(1000));
  EXPECT_EQ(cache.find("large"), nullptr);
  EXPECT_LE(cache.bytes(), cache.most());
}

TEST(ResultCache, AFileKeepsEntriesAndTheirOrder) {
  ResultCache cache(1_MiB);
  cache.insert(std::string("a\0\n ", 4), {1, 2});
  cache.insert("b", {});
  cache.find(std::string("a\0\n ", 4));
  ResultCache back = ResultCache::read(cache.write(), "file", 1_MiB);
  EXPECT_EQ(back.entries(), 2);
  EXPECT_EQ(*back.find(std::string("a\0\n ", 4)), (std::vector<std::int32_t>{1, 2}));
  EXPECT_TRUE(back.find("b")->empty());
  ResultCache small =
      ResultCache::read(cache.write(), "file", Bytes{ResultCache::kEntryBytes + 4 + 8});
  EXPECT_EQ(small.entries(), 1);
  EXPECT_EQ(small.find("b"), nullptr) << "the one that was used last stays";
}

TEST(ResultCache, AFileThatWasCutOrEditedIsRefused) {
  ResultCache cache(1_MiB);
  cache.insert("abc", {10, 20});
  const std::string text = cache.write();
  for (std::size_t length = 0; length < text.size(); ++length) {
    EXPECT_THROW(ResultCache::read(text.substr(0, length), "file", 1_MiB), Error) << length;
  }
  for (std::size_t at = 0; at < text.size(); ++at) {
    std::string edited = text;
    edited[at] = static_cast<char>(edited[at] ^ 1);
    EXPECT_THROW(ResultCache::read(edited, "file", 1_MiB), Error) << at;
  }
}

}  // namespace
}  // namespace vramplan
