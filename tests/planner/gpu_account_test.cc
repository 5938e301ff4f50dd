#include "planner/gpu_account.h"

#include <gtest/gtest.h>

#include "modelcards/library.h"
#include "planner/account.h"
#include "planner/plan.h"

namespace vramplan {
namespace {

std::int64_t step_kernels(DType linear_inputs) {
  ModelSource source;
  source.card = model_card("smollm2-135m");
  const DeviceCard device = device_card("h200-sxm-141gb");
  PlanRequest request;
  request.weights = DType::kFp8Channel;
  request.context = Tokens{512};
  if (linear_inputs == DType::kF8E4M3) request.linear_inputs = linear_inputs;
  const Decisions decisions = make_plan(source, device, request).decisions;
  const std::vector<StageAccount> stages = stage_accounts(source, device, decisions, {});
  return gpu_account(stages.front().model, device, decisions).decode_calls;
}

/// Inputs are quantised by a kernel of their own: one more for each of the seven matrices of 30
/// layers. The head is no fp8 matrix.
TEST(GpuAccount, AProductOfFp8InputsIsTwoKernels) {
  EXPECT_EQ(step_kernels(DType::kF8E4M3) - step_kernels(DType::kI8), 30 * 7);
}

// The model's step and the draft's two kinds of step, of two tokens a sequence and of one, each in
// pages of 2 MiB.
TEST(GpuAccount, EachKindOfADraftsStepsIsCaptured) {
  GpuAccount gpu;
  gpu.graph_node = 1_MiB;
  gpu.decode_calls = 3;
  gpu.draft_calls = 1;
  Decisions d;
  d.context = Tokens{256};
  d.output = Tokens{128};
  d.speculation = {Guess::kDraft, 4, "", 0, 0.5};
  EXPECT_EQ(graph_bytes(gpu, d), 4_MiB + 2 * 2_MiB);
  d.speculation.tokens = 1;
  EXPECT_EQ(graph_bytes(gpu, d), 4_MiB + 2_MiB);
}

}  // namespace
}  // namespace vramplan
