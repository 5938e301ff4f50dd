#include "planner/serving_terms.h"

#include <gtest/gtest.h>

#include "modelcards/library.h"
#include "planner/engines/engine_model.h"

namespace vramplan {
namespace {

EngineModel model_of(const char* card, int tp, const EngineFormats& formats) {
  ModelSource source;
  source.card = model_card(card);
  Decisions d;
  d.sharding.tp = d.device_count = tp;
  return engine_model(source, d, formats, 0);
}

// Llama-3.1-8B has 6,979,321,856 weights in the matrices of its blocks: 32 x (4096 x 6144 + 4096 x
// 4096 + 3 x 4096 x 14336); two flops each, 1,000 tokens, 989 TFLOP/s.
TEST(PassModel, TheFloorIsTwoFlopsAWeightAndToken) {
  const EngineModel model = model_of("llama-3.1-8b", 1, {});
  const DeviceCard device = device_card("h200-sxm-141gb");
  const PassModel pass(EngineKind::kVllm, device, model, Quantization::kNone, 2, 1);
  EXPECT_NEAR(pass.floor_seconds(1000), 2 * 6979321856.0 * 1000 / 9.89e14, 1e-9);
}

TEST(PassModel, AStepReadsTheWeightsAndThePromptComputes) {
  const EngineModel model = model_of("llama-3.1-8b", 1, {});
  const DeviceCard device = device_card("h200-sxm-141gb");
  const PassModel pass(EngineKind::kVllm, device, model, Quantization::kNone, 2, 1);
  const PassTerms step = pass.decode(1, 1000);
  const double read = 2 * 6979321856.0 / 4.8e12;
  EXPECT_GT(step.matrices, read);
  EXPECT_LT(step.matrices, 1.6 * read);
  EXPECT_EQ(step.reduce + step.reduce_launch + step.experts + step.expert_launch, 0);
  EXPECT_GT(step.launch, 32 * 4 * 1e-6);
  const PassTerms prompt = pass.prefill(1, 8000);
  EXPECT_GT(prompt.matrices, pass.floor_seconds(8000));
  EXPECT_LT(prompt.matrices, 1.6 * pass.floor_seconds(8000));
  // Twice the prompts are twice the work, and no more launches.
  const PassTerms two = pass.prefill(2, 4000);
  EXPECT_DOUBLE_EQ(two.launch, prompt.launch);
  EXPECT_LT(two.attention, prompt.attention);
}

TEST(PassModel, RanksShareTheWorkAndAddCollectives) {
  EngineFormats formats;
  const EngineModel one = model_of("llama-3.1-70b", 1, formats),
                    eight = model_of("llama-3.1-70b", 8, formats);
  const DeviceCard device = device_card("h100-sxm-80gb");
  const PassTerms a =
      PassModel(EngineKind::kTrtllm, device, one, Quantization::kNone, 2, 1).decode(64, 2000);
  const PassTerms b =
      PassModel(EngineKind::kTrtllm, device, eight, Quantization::kNone, 2, 8).decode(64, 2000);
  EXPECT_GT(a.matrices, 4 * b.matrices);
  EXPECT_GT(a.attention, 4 * b.attention);
  EXPECT_GT(b.reduce_launch, 0);
}

// A window keeps the cache short: 18 of gpt-oss's 36 layers see 128 tokens.
TEST(PassModel, WindowsBoundTheCacheThatIsRead) {
  const EngineModel model = model_of("gpt-oss-120b", 1, {});
  const PassModel pass(EngineKind::kVllm, device_card("h200-sxm-141gb"), model,
                       Quantization::kMxfp4, 2, 1);
  const double longer = pass.decode(64, 64000).attention,
               shorter = pass.decode(64, 32000).attention;
  EXPECT_LT(longer, 2 * shorter);
  EXPECT_GT(longer, 1.8 * shorter);
}

TEST(PassModel, QuantisedPartsDecideWhichMatricesShrink) {
  EngineFormats formats;
  formats.quantization = Quantization::kInt4;
  formats.quantized_parts = QuantizedParts::kExperts;
  const EngineModel model = model_of("qwen3-235b-a22b", 4, formats);
  for (const EngineMatrix& matrix : model.matrices) EXPECT_FALSE(matrix.quantised);
  formats.quantized_parts = QuantizedParts::kAll;
  const EngineModel all = model_of("qwen3-235b-a22b", 4, formats);
  for (const EngineMatrix& matrix : all.matrices) EXPECT_TRUE(matrix.quantised);
  EXPECT_LT(all.linear_weights, model.linear_weights);
  EXPECT_EQ(all.expert_weights, model.expert_weights);
  EXPECT_THROW(parse_quantized_parts("attention"), Error);
}

}  // namespace
}  // namespace vramplan
