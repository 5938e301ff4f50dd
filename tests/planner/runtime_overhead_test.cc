#include "planner/runtime_overhead.h"

#include <gtest/gtest.h>

#include "cards.h"

namespace vramplan {
namespace {

using namespace test;

TEST(RuntimeOverhead, AGpuHasAContextAndItsHostAProcess) {
  const auto rows = runtime_rows(gpu_80gb(), {}, 3, 2);
  ASSERT_EQ(rows.size(), 5U);
  EXPECT_EQ(rows[0].name, "context");
  EXPECT_EQ(rows[0].bytes.n, 415'236'096);
  EXPECT_NE(rows[0].formula.find("datasheet"), std::string::npos);
  EXPECT_EQ(rows[3].name, "communicator");
  EXPECT_EQ(rows[4].tier, TierKind::kHost);
  EXPECT_EQ(rows[4].rank, 3);
  EXPECT_EQ(runtime_rows(gpu_80gb(), {}, 0, 1).size(), 4U) << "one rank needs no communicator";
}

TEST(RuntimeOverhead, ATokenizerTakesMemoryWithItsVocabulary) {
  TokenizerTables tables;
  EXPECT_FALSE(tables.present());
  EXPECT_EQ(runtime_rows(cpu(1_GiB), tables, 0, 1).size(), 1U);
  tables.tokens = tables.types = 1000;
  const Bytes tokens = tokenizer_bytes(tables);
  tables.merges = 900;
  EXPECT_GT(tokenizer_bytes(tables), tokens);
  const auto rows = runtime_rows(cpu(1_GiB), tables, 0, 1);
  ASSERT_EQ(rows.size(), 2U);
  EXPECT_EQ(rows[1].name, "tokenizer");
  EXPECT_EQ(rows[1].tier, TierKind::kDevice);
  EXPECT_EQ(rows[1].bytes, tokenizer_bytes(tables));
  EXPECT_NE(rows[1].formula.find("1000 tokens"), std::string::npos);
}

TEST(RuntimeOverhead, TablesOfAMeasuredVocabularyTakeWhatWasMeasured) {
  // SmolLM2's vocabulary, counted in its GGUF header; resident bytes added by opening it: 7.00
  // to 7.09 MB.
  TokenizerTables tables;
  tables.tokens = tables.types = 49'152;
  tables.merges = 48'900;
  tables.token_text_bytes = 369'170;
  tables.long_texts = 473 + 929;
  tables.long_text_bytes = 12'142 + 19'909;
  EXPECT_NEAR(static_cast<double>(tokenizer_bytes(tables).n), 7.05e6, 0.05e6);
}

TEST(RuntimeOverhead, ACardNameHasNoTokenizer) {
  EXPECT_FALSE(tokenizer_tables(source_of(tiny())).present());
}

}  // namespace
}  // namespace vramplan
