#include "planner/weight_mix.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <functional>
#include <map>

#include "modelcards/library.h"
#include "planner/plan.h"
#include "planner/weights.h"
#include "tests/planner/cards.h"

namespace vramplan {
namespace {

using namespace test;

Error error_of(const std::function<void()>& run) {
  try {
    run();
  } catch (const Error& error) {
    return error;
  }
  ADD_FAILURE() << "no error";
  return {ErrorCode::kInternal, ""};
}

TEST(WeightMix, WordsNameLayersAndFormats) {
  const auto layers = parse_weight_layers("0-3:q8_0,29:fp16,5:stored", "--weight-layers");
  ASSERT_EQ(layers.size(), 3U);
  EXPECT_EQ(layers[0], (WeightLayerRange{0, 4, DType::kQ8_0}));
  EXPECT_EQ(layers[1], (WeightLayerRange{29, 30, DType::kF16}));
  EXPECT_EQ(layers[2], (WeightLayerRange{5, 6, std::nullopt}));
  EXPECT_EQ(text_of(layers), "0-3:q8_0,29:f16,5:stored");
  for (const char* text : {"", "0", "0:", "0:q9_0", "0:i32", "0:q8_0/1", "3-2:f16"}) {
    const Error error = error_of([&] { parse_weight_layers(text, "--weight-layers"); });
    EXPECT_EQ(error.code(), ErrorCode::kUsage) << text;
    EXPECT_EQ(error.field(), "--weight-layers") << text;
    EXPECT_FALSE(error.fix().empty()) << text;
  }
}

TEST(WeightMix, OneWayToWriteAMix) {
  const ModelCard card = llama_2_7b();
  Decisions d;
  d.weights = DType::kQ4_0;
  d.weight_layers = parse_weight_layers("9:f16,4:q4_0,2-3:q8_0,0-1:q8_0,5:stored", "");
  settle_weight_layers(card, d);
  EXPECT_EQ(text_of(d.weight_layers), "0-3:q8_0,5:stored,9:f16");
  EXPECT_EQ(weight_format(d, 2), DType::kQ8_0);
  EXPECT_EQ(weight_format(d, 4), DType::kQ4_0);
  EXPECT_EQ(weight_format(d, 5), std::nullopt);
  EXPECT_EQ(weight_format(d, -1), DType::kQ4_0);
  EXPECT_EQ(weight_formats(d).size(), 3U);
  d.weight_layers = parse_weight_layers("31-32:f16", "");
  EXPECT_EQ(error_of([&] { settle_weight_layers(card, d); }).field(), "--weight-layers");
  d.weight_layers = parse_weight_layers("1:f16,1:q8_0", "");
  EXPECT_EQ(error_of([&] { settle_weight_layers(card, d); }).code(), ErrorCode::kUsage);
  EXPECT_EQ(error_of([&] { refuse_weight_mix(d, "vLLM"); }).code(), ErrorCode::kUnsupported);
}

std::map<std::string, std::int64_t> rows_of(const RankModel& model) {
  std::map<std::string, std::int64_t> rows;
  for (const GroupBytes& group : weight_groups(model)) rows[group.row()] = group.bytes.n;
  return rows;
}

/// 7B: hidden 4096, intermediate 11008, 32 layers.
TEST(WeightMix, RowsOfACardAreOneAFormatAndExact) {
  const ModelCard card = llama_2_7b();
  Decisions d = decisions_of();
  d.weights = DType::kQ4_0;
  d.weight_layers = parse_weight_layers("0-3:q8_0,31:f16", "");
  auto rows = rows_of(rank_model(card, d, {}, 0));
  constexpr std::int64_t kAttention = 4LL * 4096 * 4096, kFeedForward = 3LL * 4096 * 11008;
  EXPECT_EQ(rows["attention q8_0"], 4 * kAttention / 32 * 34);
  EXPECT_EQ(rows["attention q4_0"], 27 * kAttention / 32 * 18);
  EXPECT_EQ(rows["attention f16"], kAttention * 2);
  EXPECT_EQ(rows["feed_forward q8_0"], 4 * kFeedForward / 32 * 34);
  EXPECT_EQ(rows["feed_forward q4_0"], 27 * kFeedForward / 32 * 18);
  EXPECT_EQ(rows["feed_forward f16"], kFeedForward * 2);
  EXPECT_EQ(rows["embedding"], 32000LL * 4096 / 32 * 18);
  EXPECT_EQ(rows["norms"], 65LL * 4096 * 4);
  EXPECT_EQ(rows.count("attention"), 0U);
  d.weight_layers.clear();
  EXPECT_EQ(rows_of(rank_model(card, d, {}, 0)).count("attention"), 1U);
}

/// What a file holds: matrices q4_1, vectors f16, the table q8_0.
std::vector<StoredTensor> file_of(const ModelCard& card) {
  Decisions d = decisions_of();
  d.weights = DType::kQ4_1;
  std::vector<StoredTensor> stored;
  for (WeightTensor t : rank_weight_tensors(card, d, 0, {})) {
    if (t.part == Part::kVector) t.dtype = DType::kF16;
    if (t.part == Part::kEmbedding) t.dtype = DType::kQ8_0;
    stored.push_back({t.name, t.dtype, t.rows, t.columns, t.bytes()});
  }
  return stored;
}

TEST(WeightMix, AFilesVectorsStayAndItsMatricesAreWhatWasAsked) {
  const ModelCard card = llama_2_7b();
  const std::vector<StoredTensor> stored = file_of(card);
  Decisions d = decisions_of();
  d.weight_layers = parse_weight_layers("0-1:q8_0,2:q4_1", "");
  constexpr std::int64_t kAttention = 4LL * 4096 * 4096;
  auto rows = rows_of(rank_model(card, d, stored, 0));
  EXPECT_EQ(rows["attention q8_0"], 2 * kAttention / 32 * 34);
  EXPECT_EQ(rows["attention q4_1"], 30 * kAttention / 32 * 20);
  EXPECT_EQ(rows["embedding"], 32000LL * 4096 / 32 * 34);
  EXPECT_EQ(rows["norms"], 65LL * 4096 * 2);
  d.weights = DType::kQ4_0;
  d.weight_layers = parse_weight_layers("5:stored", "");
  rows = rows_of(rank_model(card, d, stored, 0));
  EXPECT_EQ(rows["attention q4_1"], kAttention / 32 * 20);
  EXPECT_EQ(rows["attention q4_0"], 31 * kAttention / 32 * 18);
  EXPECT_EQ(rows["embedding"], 32000LL * 4096 / 32 * 18);
  EXPECT_EQ(rows["norms"], 65LL * 4096 * 2);
}

TEST(WeightMix, ARowThatDoesNotDivideNamesTheFlagThatAsked) {
  ModelCard card = tiny();
  for (Layer& layer : card.layers) layer.feed_forward.intermediate = 72;
  Decisions d = decisions_of();
  d.weight_layers = parse_weight_layers("0:q8_0", "");
  EXPECT_EQ(error_of([&] { rank_model(card, d, {}, 0); }).field(), "--weight-layers");
  d.weight_layers.clear();
  d.weights = DType::kQ8_0;
  EXPECT_EQ(error_of([&] { rank_model(card, d, {}, 0); }).field(), "--weights");
}

TEST(WeightMix, ThePlanSaysWhatIsConvertedAndWhatTwice) {
  ModelSource source;
  source.card = llama_2_7b();
  source.stored = file_of(source.card);
  PlanRequest request;
  request.context = Tokens{1024};
  request.weight_layers = parse_weight_layers("0-3:q8_0,9:stored", "");
  const Plan plan = make_plan(source, device_card("cpu-generic"), request);
  EXPECT_EQ(text_of(plan.decisions.weight_layers), "0-3:q8_0");
  const auto says = [&](const char* what, const char* value) {
    return std::any_of(plan.assumptions.begin(), plan.assumptions.end(), [&](const auto& a) {
      return a.what == what && a.value.find(value) != std::string::npos;
    });
  };
  EXPECT_TRUE(says("weights at load", "matrices of layers converted to q8_0 by rounding"));
  EXPECT_TRUE(says("quantised twice", "the file holds q"));
}

}  // namespace
}  // namespace vramplan
