#include "planner/engines/flag_value.h"

#include <gtest/gtest.h>

#include <rapidcheck/gtest.h>

#include "modelcards/error.h"

namespace vramplan {
namespace {

/// The fix of the refusal, "taken" when there is none.
std::string asked(const std::string& name, const std::string& value, const char* version,
                  EngineKind engine = EngineKind::kVllm) {
  const EngineTable table = engine_table({engine, version});
  try {
    check_flag_value({name, value}, *table.flag(name), table);
  } catch (const Error& error) {
    EXPECT_EQ(error.code(), ErrorCode::kUsage);
    return error.fix();
  }
  return "taken";
}

std::string plain(const std::string& value, const char* version = "0.19.0") {
  return plain_value(value, *engine_table({EngineKind::kVllm, version}).flag("--max-model-len"));
}

// The examples of vLLM's own help, and its arithmetic in doubles that are cut.
TEST(FlagValue, SmallLettersAreDecimalAndLargeOnesBinary) {
  EXPECT_EQ(plain("1k"), "1000");
  EXPECT_EQ(plain("1K"), "1024");
  EXPECT_EQ(plain("2M"), "2097152");
  EXPECT_EQ(plain("2m"), "2000000");
  EXPECT_EQ(plain("25.6k"), "25600");
  EXPECT_EQ(plain("1.0005k"), "1000") << "cut";
  EXPECT_EQ(plain("1T"), "1099511627776");
  EXPECT_EQ(plain("32768"), "32768");
  for (const char* word : {"", "k", ".5k", "5.k", "1.2.3k", "1e3k", "-1k", "1 k", "1kk", "auto"}) {
    EXPECT_EQ(plain(word), word);
  }
}

TEST(FlagValue, ASuffixIsTakenWhereThatVersionTakesIt) {
  EXPECT_EQ(asked("--max-model-len", "32k", "0.19.0"), "taken");
  EXPECT_EQ(asked("--max-num-batched-tokens", "32k", "0.9.1"), "taken");
  EXPECT_EQ(asked("--max-num-batched-tokens", "32k", "0.9.0"),
            "vllm reads suffixes there from 0.9.1: write 32000");
  EXPECT_EQ(asked("--max-num-seqs", "1K", "0.19.0"), "vllm reads no suffix 'K' there: write 1024");
  EXPECT_EQ(asked("--kv-cache-memory-bytes", "1T", "0.13.0"),
            "vllm reads no suffix 'T' there: write 1099511627776");
  EXPECT_EQ(asked("--kv-cache-memory-bytes", "1T", "0.14.0"), "taken");
  EXPECT_EQ(asked("--max-model-len", "auto", "0.14.0"), "taken");
  EXPECT_NE(asked("--max-model-len", "auto", "0.13.0"), "taken");
  EXPECT_EQ(asked("--max-model-len", "25.6K", "0.19.0"),
            "decimals go with small letters: 25.6k, or write the number out");
  EXPECT_EQ(asked("--context-length", "32k", "", EngineKind::kSglang),
            "sglang reads no suffix 'k' there: write 32000");
}

TEST(FlagValue, MoreThanACountCanHoldIsRefused) {
  EXPECT_EQ(asked("--max-model-len", "99999999999T", "0.19.0"), "that is more than can be counted");
  EXPECT_EQ(asked("--max-model-len", std::string(400, '9') + "k", "0.19.0"),
            "that is more than can be counted");
}

RC_GTEST_PROP(FlagValue, AnyTextIsTakenOrRefusedAndWhatIsTakenIsAnInteger, ()) {
  const std::string text =
      *rc::gen::container<std::string>(rc::gen::elementOf(std::string("0123456789.kKmMgGtT-+e ")));
  const EngineTable table = engine_table({EngineKind::kVllm, "0.19.0"});
  const TableFlag& flag = *table.flag("--max-model-len");
  try {
    check_flag_value({flag.name, text}, flag, table);
  } catch (const Error& error) {
    RC_ASSERT(error.code() == ErrorCode::kUsage);
    return;
  }
  const std::string number = plain_value(text, flag);
  RC_ASSERT(number.find_first_not_of("-0123456789") == std::string::npos);
}

}  // namespace
}  // namespace vramplan
