#include "planner/engines/engine_table.h"

#include <gtest/gtest.h>

#include <fmt/format.h>

#include "modelcards/error.h"

namespace vramplan {
namespace {

TEST(EngineTable, AnEngineIsANameAndAVersion) {
  const EngineId id = parse_engine("vllm@v0.19.0");
  EXPECT_EQ(id.kind, EngineKind::kVllm);
  EXPECT_EQ(id.version, "0.19.0");
  EXPECT_EQ(parse_engine("llamacpp@b4370").version, "b4370");
  EXPECT_EQ(parse_engine("trtllm").version, "");
}

TEST(EngineTable, AnUnknownEngineIsRefusedWithTheNearestName) {
  try {
    parse_engine("vlm@0.19.0");
    FAIL() << "no error";
  } catch (const Error& error) {
    EXPECT_EQ(error.code(), ErrorCode::kUnknownName);
    EXPECT_NE(error.fix().find("vllm"), std::string::npos) << error.fix();
  }
  EXPECT_THROW(parse_engine("vllm@latest"), Error);
  EXPECT_THROW(parse_engine(""), Error);
}

TEST(EngineTable, VersionsCompareByNumberAndCandidatesComeFirst) {
  EXPECT_LT(compare_versions("0.9.2", "0.19.0"), 0);
  EXPECT_EQ(compare_versions("1.2", "1.2.0"), 0);
  EXPECT_LT(compare_versions("1.2.0rc6", "1.2.0"), 0);
  EXPECT_GT(compare_versions("b4370", "b999"), 0);
}

TEST(EngineTable, AVersionWithoutATableTakesTheNearestLowerOne) {
  const EngineTable exact = engine_table({EngineKind::kVllm, "0.19.0"});
  EXPECT_EQ(exact.version, "0.19.0");
  EXPECT_FALSE(exact.nearest);
  const EngineTable between = engine_table({EngineKind::kVllm, "0.20.1"});
  EXPECT_EQ(between.version, "0.19.0");
  EXPECT_TRUE(between.nearest);
  const EngineTable old = engine_table({EngineKind::kVllm, "0.0.1"});
  EXPECT_EQ(old.version, table_versions(EngineKind::kVllm).front());
  EXPECT_TRUE(old.nearest);
}

TEST(EngineTable, ALaterVersionInheritsWhatItDidNotChange) {
  const EngineTable before = engine_table({EngineKind::kVllm, "0.19.0"});
  const EngineTable after = engine_table({EngineKind::kVllm, "0.22.0"});
  EXPECT_EQ(before.number("fraction_default"), 0.90);
  EXPECT_EQ(after.number("fraction_default"), 0.92);
  EXPECT_EQ(before.number("sampler_bytes_per_logit"), after.number("sampler_bytes_per_logit"));
}

TEST(EngineTable, EveryNumberOfEveryVersionHasASource) {
  for (const EngineKind kind : kEngineKinds) {
    for (const std::string& version : table_versions(kind)) {
      for (const auto& [name, entry] : engine_table({kind, version}).numbers) {
        EXPECT_GT(entry.source.size(), 5u) << name_of(kind) << " " << version << " " << name;
      }
    }
  }
}

TEST(EngineTable, VersionsAreListedOldestFirst) {
  for (const EngineKind kind : kEngineKinds) {
    const std::vector<std::string> versions = table_versions(kind);
    for (std::size_t i = 1; i < versions.size(); ++i) {
      EXPECT_LT(compare_versions(versions[i - 1], versions[i]), 0) << versions[i];
    }
  }
}

TEST(EngineTable, AMissingNumberIsOurBug) {
  const EngineTable table = engine_table({EngineKind::kVllm, ""});
  try {
    table.number("no_such_number");
    FAIL() << "no error";
  } catch (const Error& error) {
    EXPECT_EQ(error.code(), ErrorCode::kInternal);
  }
}

}  // namespace
}  // namespace vramplan
