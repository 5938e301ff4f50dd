#include "planner/forward_work.h"

#include <gtest/gtest.h>
#include <rapidcheck/gtest.h>

#include <map>

#include "cards.h"

namespace vramplan {
namespace {

using namespace test;

std::map<std::string, OpWork> by_name(const std::vector<OpWork>& works) {
  std::map<std::string, OpWork> out;
  for (const OpWork& work : works) out[name_of(work.op)] = work;
  return out;
}

TEST(ForwardWork, ListsTheCallsOfAPass) {
  const Decisions d = decisions_of();
  const auto works =
      by_name(forward_work(rank_model(tiny(), d, {}, 0), d, {3, 3, 3, 40}, DeviceKind::kCpu));
  EXPECT_EQ(works.at("embed").calls, 1);
  EXPECT_EQ(works.at("norm").calls, 2 * 2 + 1);
  EXPECT_EQ(works.at("linear_decode").calls, 2 * 7 + 1);
  EXPECT_EQ(works.at("rope").calls, 2 * 2);
  EXPECT_EQ(works.at("kv_write").calls, 2);
  EXPECT_EQ(works.at("attention_decode").calls, 2);
  EXPECT_EQ(works.at("activation").calls, 2);
  EXPECT_EQ(works.at("add").calls, 2 * 2);
  EXPECT_EQ(works.at("gather").calls, 1);
  EXPECT_EQ(works.count("all_reduce"), 0U);
}

TEST(ForwardWork, AStepReadsEveryMatrixOnce) {
  const Decisions d = decisions_of();
  const RankModel model = rank_model(tiny(), d, {}, 0);
  const OpWork linear =
      by_name(forward_work(model, d, {1, 1, 1, 40}, DeviceKind::kCpu)).at("linear_decode");
  double weights = 0, widths = 0;
  for (const WeightTensor& t : rank_weight_tensors(tiny(), d, 0, {})) {
    if (t.part == Part::kVector || t.part == Part::kEmbedding) continue;
    weights += static_cast<double>(t.bytes().n);
    widths += static_cast<double>(t.rows + t.columns);
  }
  EXPECT_DOUBLE_EQ(linear.bytes, weights + widths * 4);
}

TEST(ForwardWork, SplitLayersReduceTwiceAndTheHeadGathers) {
  const Decisions d = decisions_of(2, 2);
  const auto first =
      by_name(forward_work(rank_model(tiny(), d, {}, 0), d, {1, 1, 1, 4}, DeviceKind::kCpu));
  EXPECT_EQ(first.at("all_reduce").calls, 2 + 1);  // two in its layer, one after the split table
  EXPECT_EQ(first.at("send").calls, 1);
  EXPECT_EQ(first.count("all_gather"), 0U);
  const auto last =
      by_name(forward_work(rank_model(tiny(), d, {}, 2), d, {1, 1, 1, 4}, DeviceKind::kCpu));
  EXPECT_EQ(last.at("all_reduce").calls, 2);
  EXPECT_EQ(last.at("all_gather").calls, 1);
  EXPECT_EQ(last.count("send"), 0U);
}

TEST(ForwardWork, FewTokensReachFewExperts) {
  Decisions d = decisions_of();
  const ModelCard card = mixtral_8x7b();
  const RankModel model = rank_model(card, d, {}, 0);
  const auto weight_share = [&](std::int64_t tokens) {
    const char* op = tokens <= kLinearDecodeTokens ? "linear_decode" : "linear";
    const double bytes =
        by_name(forward_work(model, d, {tokens, 0, 1, tokens}, DeviceKind::kCpu)).at(op).bytes;
    return bytes / (2 * 46.7e9);
  };
  EXPECT_NEAR(weight_share(1), 12.7 / 46.7, 0.01);  // its two experts of eight
  EXPECT_GT(weight_share(64), 0.98);                // all of them
}

RC_GTEST_PROP(ForwardWork, PrefillIsTheSumOfItsChunks, ()) {
  Decisions d = decisions_of();
  d.output = 1_tokens;
  d.context = Tokens{1 + *rc::gen::inRange<std::int64_t>(1, 300)};
  d.prefill_chunk = Tokens{*rc::gen::inRange<std::int64_t>(2, 100)};
  ModelCard card = tiny();
  card.layers[0].mixer.window_tokens = *rc::gen::inRange<std::int64_t>(0, 200);
  const RankModel model = rank_model(card, d, {}, 0);
  const std::int64_t prompt = d.context.n - 1;
  double bytes = 0, flops = 0;
  std::int64_t calls = 0;
  for (std::int64_t done = 0; done < prompt;) {
    const std::int64_t chunk = std::min(d.prefill_chunk.n, prompt - done);
    done += chunk;
    for (const OpWork& w :
         forward_work(model, d, {chunk, done == prompt ? 1 : 0, 1, done}, DeviceKind::kCpu)) {
      bytes += w.bytes;
      flops += w.flops;
      calls += w.calls;
    }
  }
  for (const OpWork& w : prefill_work(model, d, DeviceKind::kCpu)) {
    bytes -= w.bytes;
    flops -= w.flops;
    calls -= w.calls;
  }
  RC_ASSERT(std::abs(bytes) < 1);
  RC_ASSERT(std::abs(flops) < 1);
  RC_ASSERT(calls == 0);
}

/// On a GPU each sum that a norm follows is one operation with it, and rope goes with the cache's
/// write: n layers save 2 n - 1 sums and 2 n rotations.
TEST(ForwardWork, AGpuMakesSumAndNormInOneOperation) {
  const Decisions d = decisions_of();
  const RankModel model = rank_model(tiny(), d, {}, 0);
  const PassWork pass{1, 1, 1, 4};
  auto cpu = by_name(forward_work(model, d, pass, DeviceKind::kCpu));
  auto gpu = by_name(forward_work(model, d, pass, DeviceKind::kGpu));
  const std::int64_t layers = static_cast<std::int64_t>(model.kind_of_layer.size());
  EXPECT_EQ(cpu.at("add").calls, 2 * layers);
  EXPECT_EQ(gpu.at("add").calls, 1);
  EXPECT_EQ(gpu.at("norm").calls, cpu.at("norm").calls);
  EXPECT_EQ(gpu.count("rope"), 0U);
  EXPECT_EQ(gpu.at("kv_write").calls, layers);
  // What is saved: x is not read again for its norm, nor K for the cache.
  const double elements = static_cast<double>(model.hidden) * 4;
  const double saved = static_cast<double>(2 * layers - 1) * elements;
  EXPECT_EQ(cpu.at("add").bytes + cpu.at("norm").bytes - saved,
            gpu.at("add").bytes + gpu.at("norm").bytes);
}

/// A chunk of one token at the end of a prompt drives a block out of the residual window like any
/// other chunk; it is no step of decode, of which one in 32 does.
TEST(ForwardWork, AChunkOfOneTokenIsPrefill) {
  Decisions d = decisions_of();
  d.kv_format = KvFormat::kKivi2;
  d.kv_residual.tokens = Tokens{64};
  d.prefill_chunk = Tokens{32};
  d.context = Tokens{98};
  d.output = Tokens{1};
  const RankModel model = rank_model(tiny(), d, {}, 0);
  const auto layers = static_cast<std::int64_t>(model.kind_of_layer.size());
  const LayerShape& shape = model.kinds.front().shape;
  for (const DeviceKind device : {DeviceKind::kCpu, DeviceKind::kGpu}) {
    std::int64_t calls = 0;
    double bytes = 0;
    for (const OpWork& work : prefill_work(model, d, device)) {
      if (work.op != OpKind::kKvWrite || work.dtype != DType::kKivi2) continue;
      calls += work.calls;
      bytes += work.bytes;
    }
    // Of 97 tokens the first 64 leave a window of 64: a block with token 96, one with token 97.
    const OpWork both = kv_pack_work(2, shape.k + shape.v, 2 * shape.kv_heads, DType::kKivi2, 1);
    EXPECT_EQ(calls, 2 * layers);
    EXPECT_DOUBLE_EQ(bytes, static_cast<double>(layers) * both.bytes);
  }
}

}  // namespace
}  // namespace vramplan
