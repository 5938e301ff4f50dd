#include "executor/run_local.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <limits>

#include "planner/preemption.h"
#include "tests/executor/tiny_model.h"

namespace vramplan {
namespace {

/// A process whose resident bytes go up by a fixed amount at every look.
class FakeMemory final : public ProcessMemory {
 public:
  ProcessSample now() const override {
    resident_ += 1_MiB;
    return {resident_, resident_, resident_};
  }
  bool reset_peak() override { return resets_; }
  bool resets_ = true;

 private:
  mutable Bytes resident_{10_MiB};
};

RunRequest tiny_request(FakeMemory& memory) {
  RunRequest request;
  request.random_weights = true;
  request.memory = &memory;
  return request;
}

Measurement run(const Decisions& decisions, const ModelCard& card, const RunRequest& request) {
  return run_local(decisions, source_of(card), DeviceCard{}, request,
                   [](Bytes capacity) { return std::make_unique<ReferenceBackend>(capacity); });
}

DeviceCard cpu_card() {
  DeviceCard card;
  card.kind = DeviceKind::kCpu;
  return card;
}

Measurement run_on_cpu_rules(const Decisions& decisions, const ModelCard& card,
                             const RunRequest& request) {
  return run_local(decisions, source_of(card), cpu_card(), request,
                   [](Bytes capacity) { return std::make_unique<ReferenceBackend>(capacity); });
}

Bytes row(const Measurement& m, Category category, const std::string& name,
          Phase phase = Phase::kLoad) {
  for (const LedgerRow& r : m.observed.rows()) {
    if (r.category == category && r.name == name && r.phase == phase) return r.bytes;
  }
  ADD_FAILURE() << "no row " << name;
  return {};
}

ErrorCode code_of(const std::function<void()>& action, std::string* message = nullptr) {
  try {
    action();
  } catch (const Error& error) {
    if (message != nullptr) *message = error.message();
    return error.code();
  }
  ADD_FAILURE() << "no error";
  return ErrorCode::kInternal;
}

TEST(RunLocal, RowsAreWhatAHandCountOfATinyModelSays) {
  FakeMemory memory;
  const ModelCard card = tiny_card();
  const Measurement m =
      run_on_cpu_rules(tiny_decisions(card, 18, 6, 2), card, tiny_request(memory));
  // hidden 24, vocab 40, 2 layers, q 32, k 16, v 16, o 32, intermediate 36, all f32.
  EXPECT_EQ(row(m, Category::kWeights, "embedding").n, 40 * 24 * 4);
  EXPECT_EQ(row(m, Category::kWeights, "head").n, 40 * 24 * 4);
  EXPECT_EQ(row(m, Category::kWeights, "attention").n, 2 * (32 + 16 + 16 + 32) * 24 * 4);
  EXPECT_EQ(row(m, Category::kWeights, "feed_forward").n, 2 * 3 * 36 * 24 * 4);
  EXPECT_EQ(row(m, Category::kWeights, "norms").n, 5 * 24 * 4);
  // 5 norms of 96 B lose 160 B each; ffn matrices of 3456 B lose 128 B, the others are multiples.
  EXPECT_EQ(row(m, Category::kRuntime, "arena padding").n, 5 * 160 + 6 * 128);
  // 2 sequences of ceil(18 / 4) blocks of 4 tokens, 2 layers, K and V of 16 f32.
  EXPECT_EQ(row(m, Category::kKvCache, "blocks").n, 2 * 5 * (4 * 2 * (16 + 16) * 4));
  // Prefill of 12 tokens is fullest in the feed-forward: x and n of 1152 B (1280 taken), gate and
  // up of 1728 B (1792 taken).
  EXPECT_EQ(row(m, Category::kActivations, "peak", Phase::kPrefill).n, 2 * 1280 + 2 * 1792);
  EXPECT_EQ(m.timings.prefill_tokens, 24);
  EXPECT_EQ(m.timings.decode_steps, 5);
  EXPECT_EQ(m.timings.decode_tokens, 10);
  ASSERT_EQ(m.output.size(), 2U);
  EXPECT_EQ(m.output[0].size(), 6U);
  EXPECT_TRUE(m.complete);
}

TEST(RunLocal, PreemptedSequencesSayWhatTheyWouldHaveSaid) {
  const ModelCard card = tiny_card();
  Decisions all = tiny_decisions(card, 40, 25, 4);
  FakeMemory memory;
  const Measurement whole = run_on_cpu_rules(all, card, tiny_request(memory));
  for (const Preempt way : {Preempt::kSwap, Preempt::kRecompute}) {
    SCOPED_TRACE(name_of(way));
    Decisions few = all;
    few.preempt = way;
    few = with_pool(few, Blocks{22});  // of 40
    const Measurement m = run_on_cpu_rules(few, card, tiny_request(memory));
    EXPECT_EQ(m.output, whole.output);
    EXPECT_EQ(m.preemption, replay_preemption(few).counts);
    EXPECT_GT(m.preemption->preempted, 0);
    EXPECT_EQ(row(m, Category::kKvCache, "blocks").n,
              row(whole, Category::kKvCache, "blocks").n / 40 * few.kv_blocks.n);
  }
}

TEST(RunLocal, CapacityIsFreePlusRowsPlusUnaccounted) {
  FakeMemory memory;
  const ModelCard card = tiny_card();
  const Measurement m = run_on_cpu_rules(tiny_decisions(card, 18, 6), card, tiny_request(memory));
  ASSERT_EQ(m.capacity.size(), 1U);
  const RankCapacity& c = m.capacity[0];
  EXPECT_EQ(c.capacity, c.free + c.rows + c.unaccounted);
  EXPECT_EQ(c.rows, m.observed.peak(0, TierKind::kDevice));
  EXPECT_EQ(c.capacity - c.free, m.process_peak);
  EXPECT_GT(m.process_peak, m.samples.back().resident);  // the system's own peak counts too
  EXPECT_EQ(row(m, Category::kRuntime, "process base"), 11_MiB);
  for (std::size_t i = 1; i < m.samples.size(); ++i)
    EXPECT_GE(m.samples[i].at, m.samples[i - 1].at);
  EXPECT_EQ(m.samples[0].taken, 0_B);
  EXPECT_GT(m.samples[1].taken, 0_B);
}

/// Bytes the tiny run takes: weights and their padding, blocks, and the activation region.
Bytes need(const ModelCard& card, const Decisions& decisions) {
  FakeMemory memory;
  Decisions small = decisions;
  small.capacity = Bytes{1};
  std::string message;
  code_of([&] { run_on_cpu_rules(small, card, tiny_request(memory)); }, &message);
  const std::size_t at = message.find(" B: ") + 4;
  return {std::stoll(message.substr(at))};
}

TEST(RunLocal, RunsAtExactlyItsNeedAndNotOneByteBelow) {
  const ModelCard card = tiny_card();
  Decisions decisions = tiny_decisions(card, 18, 6);
  const Bytes bytes = need(card, decisions);
  for (const bool check : {true, false}) {
    FakeMemory memory;
    RunRequest request = tiny_request(memory);
    request.process_base = 5_MiB;
    request.check_first = check;
    decisions.capacity = bytes + 5_MiB;
    EXPECT_TRUE(run_on_cpu_rules(decisions, card, request).complete);
    decisions.capacity -= 1_B;
    std::string message;
    const ErrorCode code = code_of([&] { run_on_cpu_rules(decisions, card, request); }, &message);
    EXPECT_EQ(code, check ? ErrorCode::kDoesNotFit : ErrorCode::kOutOfPlan) << message;
  }
}

TEST(RunLocal, AWindowPoolOfThePlanIsEnoughAndOneBlockLessIsNot) {
  ModelCard card = tiny_card();
  card.layers[1].mixer.kind = MixerKind::kSlidingWindow;
  card.layers[1].mixer.window_tokens = 6;
  Decisions decisions = tiny_decisions(card, 40, 20, 2);
  decisions.kv_policy = KvPolicy::kWindow;
  decisions.prefill_chunk = Tokens{5};
  // Chunks begin at 0, 5, 10 and 15 and see 5 tokens before: the last ones from token 10, in block
  // 2, to slot 20, in block 5; that sequence then keeps 15 .. 20, in blocks 3 to 5. Steps see 6
  // tokens and have a slot ahead: 7 tokens in at most 3 blocks.
  decisions.window_pools = {{Tokens{6}, Blocks{3 + 4}}};
  for (const bool check : {true, false}) {
    FakeMemory memory;
    RunRequest request = tiny_request(memory);
    request.check_first = check;
    decisions.window_pools[0].blocks = Blocks{7};
    const Measurement m = run_on_cpu_rules(decisions, card, request);
    EXPECT_EQ(row(m, Category::kKvCache, "blocks").n, 2 * 10 * (4 * (16 + 16) * 4));
    EXPECT_EQ(row(m, Category::kKvCache, "window blocks").n, 7 * (4 * (16 + 16) * 4));
    decisions.window_pools[0].blocks = Blocks{6};
    std::string message;
    const ErrorCode code = code_of([&] { run_on_cpu_rules(decisions, card, request); }, &message);
    EXPECT_EQ(code, check ? ErrorCode::kDoesNotFit : ErrorCode::kOutOfPlan) << message;
  }
  decisions.window_pools.clear();
  FakeMemory memory;
  EXPECT_EQ(code_of([&] { run_on_cpu_rules(decisions, card, tiny_request(memory)); }),
            ErrorCode::kStalePlan);
}

TEST(RunLocal, TheFirstBlockOverThePlanStopsTheRunCleanly) {
  const ModelCard card = tiny_card();
  Decisions decisions = tiny_decisions(card, 18, 6);
  decisions.kv_blocks -= Blocks{1};
  FakeMemory memory;
  RunRequest request = tiny_request(memory);
  std::vector<std::int32_t> tokens;
  request.on_token = [&](std::int64_t, std::int32_t token) { tokens.push_back(token); };
  std::string message;
  EXPECT_EQ(code_of([&] { run_on_cpu_rules(decisions, card, request); }, &message),
            ErrorCode::kDoesNotFit);
  EXPECT_TRUE(tokens.empty());
  request.check_first = false;
  EXPECT_EQ(code_of([&] { run_on_cpu_rules(decisions, card, request); }, &message),
            ErrorCode::kOutOfPlan);
  EXPECT_NE(message.find("all 4 KV blocks"), std::string::npos) << message;
  // 4 blocks hold 16 tokens: 12 of the prompt, and the slots of the tokens 13 to 16.
  EXPECT_EQ(tokens.size(), 4U);
}

TEST(RunLocal, EveryCapacityBelowTheNeedStopsWithOutOfPlan) {
  const ModelCard card = tiny_card(1);
  Decisions decisions = tiny_decisions(card, 10, 4);
  const Bytes bytes = need(card, decisions);
  FakeMemory memory;
  RunRequest request = tiny_request(memory);
  request.process_base = 1_MiB;
  request.check_first = false;
  for (std::int64_t missing = 1; missing <= bytes.n; missing += 499) {
    decisions.capacity = bytes + 1_MiB - Bytes{missing};
    EXPECT_EQ(code_of([&] { run_on_cpu_rules(decisions, card, request); }), ErrorCode::kOutOfPlan)
        << missing;
  }
}

TEST(RunLocal, TheSameSeedGivesTheSameTokensAndAnotherOneOthers) {
  const ModelCard card = tiny_card();
  Decisions decisions = tiny_decisions(card, 30, 20);
  FakeMemory memory;
  RunRequest request = tiny_request(memory);
  request.sampling = {1.0, 0.9, 3};
  const auto first = run(decisions, card, request).output;
  EXPECT_EQ(first, run(decisions, card, request).output);
  decisions.prefill_chunk = Tokens{3};
  EXPECT_EQ(first, run(decisions, card, request).output);
  request.sampling.seed = 4;
  EXPECT_NE(first, run(decisions, card, request).output);
}

TEST(RunLocal, AnEndTokenStopsItsSequenceOnly) {
  const ModelCard card = tiny_card();
  const Decisions decisions = tiny_decisions(card, 26, 20, 2);
  FakeMemory memory;
  RunRequest request = tiny_request(memory);
  const auto full = run(decisions, card, request).output;
  request.stop_at_end = true;
  request.end_tokens = {full[0][3]};
  const auto stopped = run(decisions, card, request).output;
  const auto end = std::find(full[0].begin(), full[0].end(), full[0][3]) + 1;
  EXPECT_EQ(stopped[0], std::vector<std::int32_t>(full[0].begin(), end));
  const auto other = std::find(full[1].begin(), full[1].end(), full[0][3]);
  const auto expected = other == full[1].end() ? other : other + 1;
  EXPECT_EQ(stopped[1], std::vector<std::int32_t>(full[1].begin(), expected));
}

TEST(RunLocal, PromptsThatDoNotFitThePlanAreNamed) {
  const ModelCard card = tiny_card();
  const Decisions decisions = tiny_decisions(card, 10, 4, 2);
  FakeMemory memory;
  RunRequest request = tiny_request(memory);
  const auto message_for = [&](std::vector<std::vector<std::int32_t>> prompts) {
    request.prompts = std::move(prompts);
    std::string message;
    EXPECT_EQ(code_of([&] { run(decisions, card, request); }, &message), ErrorCode::kUsage);
    return message;
  };
  EXPECT_NE(message_for({{1}, {1, 2, 3, 4, 5, 6, 7}}).find("prompt 1 has 7 tokens"),
            std::string::npos);
  EXPECT_NE(message_for({{1}, {}}).find("prompt 1 is empty"), std::string::npos);
  EXPECT_NE(message_for({{1}, {40}}).find("token id 40"), std::string::npos);
  EXPECT_NE(message_for({{1}, {-1}}).find("token id -1"), std::string::npos);
  EXPECT_NE(message_for({{1}}).find("1 prompts for a batch of 2"), std::string::npos);
  request.prompts = {{1}, {2, 3}};
  EXPECT_TRUE(run(decisions, card, request).complete);
}

TEST(RunLocal, NaNInTheWeightsIsAnErrorThatNamesTheStep) {
  ModelCard card = tiny_card();
  card.norm_eps = std::numeric_limits<double>::quiet_NaN();
  FakeMemory memory;
  std::string message;
  EXPECT_EQ(
      code_of([&] { run(tiny_decisions(card, 10, 4), card, tiny_request(memory)); }, &message),
      ErrorCode::kInternal);
  EXPECT_NE(message.find("sequence 0 at output token 0"), std::string::npos) << message;
}

TEST(RunLocal, WithoutProcessMemoryNothingIsClaimed) {
  class Silent final : public ProcessMemory {
    ProcessSample now() const override { return {}; }
    bool reset_peak() override { return false; }
  } silent;
  RunRequest request;
  request.random_weights = true;
  request.memory = &silent;
  const ModelCard card = tiny_card();
  const Measurement m = run(tiny_decisions(card, 10, 4), card, request);
  EXPECT_EQ(m.process_peak, 0_B);
  for (const MemorySample& sample : m.samples) EXPECT_EQ(sample.resident, 0_B);
}

}  // namespace
}  // namespace vramplan
