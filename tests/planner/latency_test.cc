#include "planner/latency.h"

#include <gtest/gtest.h>

#include <cmath>

#include "cards.h"
#include "planner/kv_cache.h"

namespace vramplan {
namespace {

using namespace test;

TEST(Latency, SeventyBillionInSixteenBitsTakeFortySixMilliseconds) {
  EXPECT_NEAR(decode_floor(140_GB, {3e12}).v, 46.67e-3, 0.01e-3);
  // The embedding table is not read in a step; an empty-handed sequence of 2 tokens adds nothing to
  // see.
  Decisions d = decisions_of();
  d.activations = DType::kBF16;
  const RankModel model = rank_model(llama_3_70b(), d, {}, 0);
  const Bytes bytes = decode_bytes(model, d, 2_tokens);
  EXPECT_EQ(bytes.n, 141'107'412'992 - 128'256LL * 8192 * 2 + 2 * 327'680);
  EXPECT_NEAR(decode_floor(bytes, {3e12}).v, 46e-3, 0.5e-3);
  EXPECT_NEAR(1 / decode_floor(bytes, {3e12}).v, 21, 1);
}

TEST(Latency, MeasuredCostLinesWinOverTheDataSheet) {
  DeviceCard device = bare_gpu(80_GiB);
  const OpWork work = linear_work(1, 4096, 4096, DType::kQ4_0, DType::kBF16);
  const double analytic = op_seconds(device, work).v;
  EXPECT_DOUBLE_EQ(analytic, work.bytes / 3e12 + work.flops / 1e15);
  device.op_costs = {{"linear", "any", 1e-6, 1e12, 0}, {"linear", "q4_0", 2e-6, 5e11, 1e13}};
  EXPECT_DOUBLE_EQ(op_seconds(device, work).v, 2e-6 + work.bytes / 5e11 + work.flops / 1e13);
  const OpWork other = linear_work(1, 4096, 4096, DType::kF16, DType::kBF16);
  EXPECT_DOUBLE_EQ(op_seconds(device, other).v, 1e-6 + other.bytes / 1e12);
}

TEST(Latency, AttainableSharesAndLaunchesSlowTheAnalyticModelDown) {
  DeviceCard device = bare_gpu(80_GiB);
  device.memory_efficiency = given(0.5);
  device.compute_efficiency = given(0.25);
  device.launch_s = given(1e-3);
  OpWork work = add_work(1000, 1000, DType::kBF16);
  work.calls = 3;
  const OpTime time = op_time(device, work);
  EXPECT_DOUBLE_EQ(time.launch.v, 3e-3);
  EXPECT_DOUBLE_EQ(time.memory.v, work.bytes / 1.5e12);
  EXPECT_DOUBLE_EQ(time.compute.v, work.flops / 0.25e15);
  EXPECT_DOUBLE_EQ(time.link.v, 0);
}

TEST(Latency, UnroundedInputsTakeTheirOwnLineOrThatOfF32) {
  DeviceCard device = bare_gpu(80_GiB);
  device.op_costs = {{"linear", "q4_0", 0, 1e11, 0},
                     {"linear", "f32", 0, 2e11, 0},
                     {"linear_decode", "f32", 0, 4e11, 0}};
  const OpWork few = linear_f32_work(8, 4096, 4096, DType::kQ4_0, DType::kF32);
  const OpWork many = linear_f32_work(9, 4096, 4096, DType::kQ4_0, DType::kF32);
  EXPECT_DOUBLE_EQ(op_seconds(device, few).v, few.bytes / 4e11);
  EXPECT_DOUBLE_EQ(op_seconds(device, many).v, many.bytes / 2e11);
  device.op_costs.push_back({"linear_f32_decode", "q4_0", 0, 3e10, 0});
  device.op_costs.push_back({"linear_f32", "q4_0", 0, 5e10, 0});
  EXPECT_DOUBLE_EQ(op_seconds(device, few).v, few.bytes / 3e10);
  EXPECT_DOUBLE_EQ(op_seconds(device, many).v, many.bytes / 5e10);
}

/// Without lines: two kernels and the peak of fp8. A GPU's line of wider inputs says nothing about
/// many tokens; a CPU multiplies in f32 either way.
TEST(Latency, Fp8InputsTakeTheirOwnLineOrThePeakOfFp8) {
  DeviceCard device = bare_gpu(80_GiB);
  device.launch_s.value = 1e-6;
  device.flops_per_s["fp8"].value = 4e15;
  const OpWork few = linear_fp8_work(8, 4096, 4096, DType::kFp8Channel, DType::kBF16);
  const OpWork many = linear_fp8_work(9, 4096, 4096, DType::kFp8Channel, DType::kBF16);
  EXPECT_DOUBLE_EQ(many.bytes, linear_work(9, 4096, 4096, DType::kFp8Channel, DType::kBF16).bytes +
                                   2 * 9 * 4096);
  EXPECT_DOUBLE_EQ(op_time(device, many).launch.v, 2e-6);
  const double efficiency = device.compute_efficiency.value;
  EXPECT_DOUBLE_EQ(op_time(device, many).compute.v, many.flops / (4e15 * efficiency));
  device.op_costs = {{"linear", "fp8-channel", 0, 1e11, 0},
                     {"linear_decode", "fp8-channel", 0, 4e11, 0}};
  EXPECT_DOUBLE_EQ(op_seconds(device, few).v, few.bytes / 4e11);
  EXPECT_DOUBLE_EQ(op_time(device, many).compute.v, many.flops / (4e15 * efficiency));
  DeviceCard cpu = device;
  cpu.kind = DeviceKind::kCpu;
  EXPECT_DOUBLE_EQ(op_seconds(cpu, many).v, many.bytes / 1e11);
  device.op_costs.push_back({"linear_fp8", "any", 1e-5, 0, 0});
  EXPECT_DOUBLE_EQ(op_seconds(device, many).v, 1e-5);
}

TEST(Latency, AHistoryBehindAWindowTakesItsOwnLineOrThatOfItsFormat) {
  DeviceCard device = bare_gpu(80_GiB);
  AttentionShape shape;
  shape.heads = shape.kv_heads = 8;
  shape.head_dim = shape.value_dim = 64;
  shape.kv = DType::kKivi2;
  shape.residual_tokens = 128;
  const OpWork one = attention_work(shape, 1, 1000), many = attention_work(shape, 16, 1000);
  device.op_costs = {{"attention_decode", "kivi2", 0, 1e11, 0},
                     {"attention_prefill", "kivi2", 0, 2e11, 0}};
  EXPECT_DOUBLE_EQ(op_seconds(device, one).v, one.bytes / 1e11);
  EXPECT_DOUBLE_EQ(op_seconds(device, many).v, many.bytes / 2e11);
  device.op_costs.push_back({"attention_history_decode", "kivi2", 0, 5e11, 0});
  device.op_costs.push_back({"attention_history_prefill", "kivi2", 0, 7e11, 0});
  EXPECT_DOUBLE_EQ(op_seconds(device, one).v, one.bytes / 5e11);
  EXPECT_DOUBLE_EQ(op_seconds(device, many).v, many.bytes / 7e11);
}

TEST(Latency, AFewTokensMayHaveACostLineOfTheirOwn) {
  DeviceCard device = bare_gpu(80_GiB);
  device.op_costs = {{"linear", "q4_0", 0, 1e11, 0}};
  const OpWork few = linear_work(8, 4096, 4096, DType::kQ4_0, DType::kF32);
  const OpWork many = linear_work(9, 4096, 4096, DType::kQ4_0, DType::kF32);
  EXPECT_DOUBLE_EQ(op_seconds(device, few).v, few.bytes / 1e11);  // one line for both
  device.op_costs.push_back({"linear_decode", "q4_0", 0, 3e10, 0});
  EXPECT_DOUBLE_EQ(op_seconds(device, few).v, few.bytes / 3e10);
  EXPECT_DOUBLE_EQ(op_seconds(device, many).v, many.bytes / 1e11);
}

TEST(Latency, CollectivesTakeTheLinkOfTheirReach) {
  const DeviceCard device = bare_gpu(80_GiB);
  const OpWork inside = all_reduce_work(1, 1'000'000, DType::kBF16, 8);
  EXPECT_DOUBLE_EQ(op_seconds(device, inside).v, 3e-6 + inside.bytes / 4.5e11);
  const OpWork across = all_reduce_work(1, 1'000'000, DType::kBF16, 16);
  EXPECT_DOUBLE_EQ(op_seconds(device, across).v, 1e-5 + across.bytes / 5e10);
  DeviceCard lonely = device;
  lonely.links.clear();
  EXPECT_EQ(code_of([&] { op_time(lonely, inside); }), ErrorCode::kBadCard);
}

TEST(Latency, ACardWithoutBandwidthOrPeakIsRefusedByName) {
  DeviceCard device = bare_gpu(80_GiB);
  device.memory_bytes_per_s = {};
  std::string text;
  EXPECT_EQ(code_of([&] { op_time(device, add_work(1, 1, DType::kBF16)); }, &text),
            ErrorCode::kBadCard);
  EXPECT_NE(text.find("memory_bytes_per_s"), std::string::npos);
  device = bare_gpu(80_GiB);
  device.flops_per_s.clear();
  EXPECT_EQ(code_of([&] { op_time(device, add_work(1, 1, DType::kBF16)); }), ErrorCode::kBadCard);
}

double seconds_of(const std::vector<TimeTerm>& terms) {
  double sum = 0;
  for (const TimeTerm& term : terms) sum += term.seconds.v;
  return sum;
}

TEST(Latency, PhasesAreTheSumOfTheirTermsAndNameTheirLimit) {
  const DeviceCard device = bare_gpu(400_GiB);
  Decisions d = decisions_of();
  d.activations = DType::kBF16;
  d.context = 8192_tokens;
  d.output = 128_tokens;
  d.prefill_chunk = 2048_tokens;
  const Performance p = predict_performance({rank_model(llama_3_70b(), d, {}, 0)}, d, device);
  EXPECT_NEAR(seconds_of(p.prefill_terms), p.ttft.v, 1e-9);
  EXPECT_NEAR(seconds_of(p.decode_terms), p.tpot.v, 1e-12);
  EXPECT_EQ(p.limited_by, "memory bandwidth");
  EXPECT_EQ(p.prefill_terms.front().op, "linear f16");
  EXPECT_EQ(p.prefill_terms.front().limited_by, "compute");
  EXPECT_GT(p.tpot.v, p.decode_floor.v);
  EXPECT_LT(p.tpot.v, p.decode_floor.v * 1.02);
  // 2 flops a token and parameter of the layers; the weights are read in each of 4 chunks.
  const double layers = 70.55e9 - 2 * 1.05e9;
  const double linear = p.prefill_terms.front().seconds.v;
  EXPECT_GT(linear, 8064 * 2 * layers / 1e15 + 4 * 2 * layers / 3e12);
  EXPECT_LT(linear,
            (8064 * 2 * layers / 1e15 + 4 * 2 * layers / 3e12) * 1.1);  // inputs and outputs
  EXPECT_NEAR(p.tokens_per_second, 1 / p.tpot.v, 1e-9);
  DeviceCard slow_launch = device;
  slow_launch.launch_s = given(1e-3);
  const Performance q = predict_performance({rank_model(llama_3_70b(), d, {}, 0)}, d, slow_launch);
  EXPECT_EQ(q.limited_by, "launch");
}

TEST(Latency, BatchingSharesTheWeights) {
  const DeviceCard device = bare_gpu(400_GiB);
  Decisions d = decisions_of();
  d.activations = DType::kBF16;
  const RankModel model = rank_model(llama_3_70b(), d, {}, 0);
  const Performance one = predict_performance({model}, d, device);
  d.batch = 16;
  const Performance many = predict_performance({model}, d, device);
  EXPECT_GT(many.tokens_per_second, 14 * one.tokens_per_second);
  EXPECT_LT(many.tokens_per_second, 16 * one.tokens_per_second);
}

TEST(Latency, StagesWorkOneAfterAnother) {
  const DeviceCard device = bare_gpu(400_GiB);
  Decisions one = decisions_of(), two = decisions_of(1, 2);
  one.activations = two.activations = DType::kBF16;
  const ModelCard card = llama_3_70b();
  const Performance p = predict_performance({rank_model(card, one, {}, 0)}, one, device);
  const Performance q = predict_performance(
      {rank_model(card, two, {}, 0), rank_model(card, two, {}, 1)}, two, device);
  // What is sent, and one norm that is no longer made with the sum before it.
  const DType a = DType::kBF16;
  const double apart =
      op_seconds(device, send_work(1, 8192, a)).v + op_seconds(device, add_work(1, 8192, a)).v +
      op_seconds(device, norm_work(1, 8192, a)).v - op_seconds(device, add_norm_work(1, 8192, a)).v;
  EXPECT_NEAR(q.tpot.v, p.tpot.v + apart, 1e-12);
}

TEST(Latency, WhatLiesBetweenOperationsIsATermOfItsOwn) {
  const std::vector<OpWork> works = {norm_work(1, 64, DType::kF32), add_work(1, 64, DType::kF32),
                                     sample_work(1, 1000), all_reduce_work(1, 64, DType::kF32, 2)};
  EXPECT_EQ(between_work(works).calls, 2) << "tokens are chosen, and ranks meet, outside of Ops";
  DeviceCard device = gpu_80gb();
  device.flops_per_s["f32"] = given(6e13);
  const double before = work_seconds(device, {works[0], works[1]}).v;
  device.op_costs.push_back({"between", "any", 1e-6, 0, 0});
  EXPECT_NEAR(work_seconds(device, {works[0], works[1]}).v - before, 2e-6, 1e-12);
}

}  // namespace
}  // namespace vramplan
