#include "planner/advice.h"

#include <gtest/gtest.h>

#include <cstdlib>

#include "cards.h"

namespace vramplan {
namespace {

using namespace test;

std::string first_with(const Plan& plan, const std::string& start) {
  for (const std::string& text : plan.predictions.advice) {
    if (text.compare(0, start.size(), start) == 0) return text;
  }
  return {};
}

TEST(Advice, ChangesThatWouldFitDoFit) {
  const ModelCard card = llama_3_70b();
  const PlanRequest asked = ask(2'048, 64, 2);
  const Plan plan = plan_of(card, gpu_80gb(), asked);
  ASSERT_FALSE(plan.predictions.fits);
  const std::string batch = first_with(plan, "--batch ");
  ASSERT_NE(batch.find("and fits"), std::string::npos) << batch;
  PlanRequest fewer = asked;
  fewer.batch = std::atoll(batch.c_str() + 8);
  EXPECT_TRUE(plan_of(card, gpu_80gb(), fewer).predictions.fits);
  const std::string count = first_with(plan, "--count ");
  ASSERT_FALSE(count.empty());
  PlanRequest more = asked;
  more.count = std::atoi(count.c_str() + 8);
  EXPECT_TRUE(plan_of(card, gpu_80gb(), more).predictions.fits);
  ASSERT_FALSE(first_with(plan, "--weights fp8").empty());
  PlanRequest lighter = asked;
  lighter.weights = DType::kF8E4M3;
  EXPECT_TRUE(plan_of(card, gpu_80gb(), lighter).predictions.fits);
}

TEST(Advice, SavedBytesAreTheDifferenceOfTwoPlans) {
  const ModelCard card = llama_3_70b();
  const Plan plan = plan_of(card, gpu_80gb(), ask(2'048, 64, 2));
  PlanRequest lighter = ask(2'048, 64, 2);
  lighter.weights = DType::kF8E4M3;
  const Plan other = plan_of(card, gpu_80gb(), lighter);
  const Bytes saved =
      plan.predictions.devices[0].predicted - other.predictions.devices[0].predicted;
  std::string digits;
  for (const char c : first_with(plan, "--weights fp8")) {
    if (c >= '0' && c <= '9') digits += c;
  }
  EXPECT_NE(digits.find(std::to_string(saved.n)), std::string::npos) << digits;
}

TEST(Advice, OneCardBeforeManyOneMachineBeforeMany) {
  const Plan two = plan_of(llama_2_7b(), gpu_80gb(), ask(2'048, 1, 2));
  EXPECT_NE(first_with(two, "--count 1").find("one card before many"), std::string::npos);
  const Plan sixteen = plan_of(llama_3_70b(), gpu_80gb(), ask(2'048, 1, 16));
  EXPECT_NE(first_with(sixteen, "16 devices").find("one machine before many"), std::string::npos);
}

TEST(Advice, SpareMemoryIsGivenInTokens) {
  const Plan plan = plan_of(llama_2_7b(), gpu_80gb(), ask(2'048, 1));
  EXPECT_FALSE(first_with(plan, "spare ").empty());
  EXPECT_TRUE(first_with(plan, "--count").empty());
}

TEST(Advice, AnArtificialCapacityCanBeRaised) {
  PlanRequest request = ask(128, 1);
  request.capacity = 1_MiB;
  const Plan plan = plan_of(tiny(), cpu(1_GiB), request);
  ASSERT_FALSE(plan.predictions.fits);
  const std::string text = first_with(plan, "--capacity ");
  ASSERT_FALSE(text.empty());
  request.capacity = Bytes{std::atoll(text.c_str() + 11)};
  EXPECT_TRUE(plan_of(tiny(), cpu(1_GiB), request).predictions.fits);
  request.capacity = *request.capacity - 1_B;
  EXPECT_FALSE(plan_of(tiny(), cpu(1_GiB), request).predictions.fits);
}

}  // namespace
}  // namespace vramplan
