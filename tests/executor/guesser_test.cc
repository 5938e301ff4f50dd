#include "executor/guesser.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <memory>

#include <algorithm>
#include <map>
#include <tuple>

#include "executor/run_dry.h"
#include "executor/run_local.h"
#include "planner/plan.h"
#include "tests/executor/fake_gpu.h"

namespace vramplan {
namespace {

DeviceCard cpu_card() {
  DeviceCard card;
  card.kind = DeviceKind::kCpu;
  return card;
}

/// A model, and another of the same vocabulary that guesses for it.
ModelSource source_with_draft(std::uint64_t& hash) {
  ModelSource source = source_of(tiny_card(3));
  source.draft = std::make_shared<const ModelSource>(source_of(tiny_card(1)));
  hash = card_hash(source.draft->card);
  return source;
}

Decisions guessing(const ModelSource& source, Guess guess, std::uint64_t hash) {
  Decisions d = tiny_decisions(source.card, 60, 30, 3);
  d.prefill_chunk = Tokens{16};
  d.speculation = {guess, 4, "draft", guess == Guess::kDraft ? hash : 0, 0.5};
  return d;
}

Measurement run(const Decisions& decisions, const ModelSource& source, Sampling sampling = {}) {
  RunRequest request;
  request.random_weights = true;
  request.process_base = 1_B;
  request.sampling = sampling;
  return run_local(decisions, source, cpu_card(), request,
                   [](Bytes bytes) { return std::make_unique<ReferenceBackend>(bytes); });
}

Bytes row(const Measurement& m, Category category, const std::string& name, Phase phase) {
  for (const LedgerRow& r : m.observed.rows()) {
    if (r.category == category && r.name == name && r.phase == phase) return r.bytes;
  }
  ADD_FAILURE() << "no row " << name;
  return {};
}

TEST(Guesser, GreedyTokensAreThoseWithoutGuesses) {
  std::uint64_t hash = 0;
  const ModelSource source = source_with_draft(hash);
  Decisions plain = guessing(source, Guess::kNgram, hash);
  plain.speculation = {};
  const Measurement alone = run(plain, source);
  for (const Guess guess : {Guess::kNgram, Guess::kDraft}) {
    for (const std::int64_t tokens : {1, 2, 5}) {
      SCOPED_TRACE(std::string(name_of(guess)) + " " + std::to_string(tokens));
      Decisions d = guessing(source, guess, hash);
      d.speculation.tokens = tokens;
      const Measurement m = run(d, source);
      EXPECT_EQ(m.output, alone.output);
      ASSERT_TRUE(m.speculation);
      const SpeculationCounts& counts = *m.speculation;
      EXPECT_EQ(counts.tokens, 3 * 29);
      EXPECT_EQ(counts.tokens, counts.steps + counts.accepted);
      EXPECT_LE(counts.asked, counts.steps * tokens);
      EXPECT_FALSE(counts.by_chance);
      EXPECT_LE(counts.accepted, counts.tested);
      // Of a step all that were kept were looked at, and at most one that was not.
      EXPECT_LE(counts.tested, std::min(counts.asked, counts.accepted + counts.steps));
      if (tokens == 1) {
        EXPECT_EQ(counts.tested, counts.asked);
      }
      EXPECT_EQ(m.timings.decode_tokens, 3 * 29);
      EXPECT_NEAR(m.timings.tokens_a_step,
                  static_cast<double>(counts.tokens) / static_cast<double>(counts.steps), 1e-12);
      EXPECT_EQ(row(m, Category::kKvCache, "blocks", Phase::kLoad),
                row(alone, Category::kKvCache, "blocks", Phase::kLoad));
    }
  }
}

/// A draft that is the model itself is always right: every step takes all of its guesses.
TEST(Guesser, AModelAgreesWithItself) {
  ModelSource source = source_of(tiny_card(2));
  source.draft = std::make_shared<const ModelSource>(source_of(tiny_card(2)));
  Decisions d = guessing(source, Guess::kDraft, card_hash(source.card));
  d.kv_format = KvFormat::kF16;  // as the draft's
  d.output = Tokens{31};         // one from prefill and six steps of five
  const Measurement m = run(d, source);
  EXPECT_EQ(m.speculation->accepted, m.speculation->asked);
  EXPECT_EQ(m.timings.decode_steps, 6);
  EXPECT_DOUBLE_EQ(m.timings.tokens_a_step, 5);
  // So it does when tokens are drawn: p = q is never refused.
  const Measurement drawn = run(d, source, {0.9, 0.95, 11});
  EXPECT_EQ(drawn.speculation->accepted, drawn.speculation->asked);
  EXPECT_NE(drawn.output, m.output);
}

TEST(Guesser, RowsAreThoseOfThePlanOnCpuRulesAndOnDry) {
  std::uint64_t hash = 0;
  const ModelSource source = source_with_draft(hash);
  for (const Guess guess : {Guess::kNgram, Guess::kDraft}) {
    SCOPED_TRACE(name_of(guess));
    PlanRequest request;
    request.context = Tokens{60};
    request.output = Tokens{30};
    request.batch = 3;
    request.prefill_chunk = Tokens{16};
    request.guess = guess;
    request.guess_tokens = 4;
    request.draft = guess == Guess::kDraft ? "draft" : "";
    DeviceCard device = cpu_card();
    device.name = "cpu";
    device.capacity_bytes.value = std::int64_t{1} << 34;
    device.memory_bytes_per_s.value = 1e10;
    device.flops_per_s["f32"].value = 1e11;
    device.multiprocessors.value = 2;
    const Plan plan = make_plan(source, device, request);
    RunRequest run_request;
    run_request.random_weights = true;
    const Measurement dry = run_dry(plan.decisions, source, device, run_request);
    run_request.process_base = 1_B;
    const Measurement real = run_local(plan.decisions, source, device, run_request,
                                       [](Bytes bytes) { return make_cpu_backend(2, bytes); });
    for (const LedgerRow& r : plan.predictions.ledger.rows()) {
      if (r.category == Category::kRuntime && r.name != "arena padding") continue;
      EXPECT_EQ(row(dry, r.category, r.name, r.phase), r.bytes) << r.name << " on dry";
      EXPECT_EQ(row(real, r.category, r.name, r.phase), r.bytes) << r.name << " computed";
    }
    EXPECT_GT(dry.speculation->accepted, 0);
    EXPECT_TRUE(dry.speculation->by_chance);
    // Drawn with a probability of 0.6: 2.4 standard deviations of some 70 draws.
    EXPECT_NEAR(dry.speculation->acceptance(), plan.decisions.speculation.acceptance, 0.15);
    EXPECT_EQ(dry.speculation->tokens, 3 * 29);
  }
}

/// The same guesses, agreed with alike: passes of several tokens of each sequence, captured or not,
/// and tokens that are drawn from logits read back.
TEST(Guesser, OnAGpuTokensAndCountsAreTheCpuBackends) {
  std::uint64_t hash = 0;
  const ModelSource source = source_with_draft(hash);
  for (const Guess guess : {Guess::kNgram, Guess::kDraft}) {
    for (const std::int64_t tokens : {1, 2, 4}) {
      for (const double temperature : {0.0, 0.9}) {
        SCOPED_TRACE(std::string(name_of(guess)) + " " + std::to_string(tokens));
        Decisions d = guessing(source, guess, hash);
        d.speculation.tokens = tokens;
        RunRequest request = request_with_host_values();
        request.sampling = {temperature, 0.95, 11};
        const Measurement wanted = run_on_cpu(d, source, request);
        for (const bool graphs : {true, false}) {
          request.cuda.graphs = graphs;
          cuda::FakeRuntime runtime({small_device()}, 3);
          const Measurement m = run_on(runtime, d, source, request);
          EXPECT_EQ(m.output, wanted.output);
          EXPECT_EQ(m.speculation, wanted.speculation);
          EXPECT_EQ(runtime.graph_launches() > 0, graphs);
          EXPECT_EQ(runtime.live_allocations(), 0);
          EXPECT_EQ(runtime.live_objects(), 0);
        }
      }
    }
  }
}

using Key = std::tuple<int, int, std::string, int>;

std::map<Key, std::int64_t> table(const Ledger& ledger) {
  std::map<Key, std::int64_t> rows;
  for (const LedgerRow& r : ledger.rows()) {
    rows[{static_cast<int>(r.tier), static_cast<int>(r.category), r.name,
          static_cast<int>(r.phase)}] += r.bytes.n;
  }
  return rows;
}

/// A draft with rotary tables and norms of its own, and outputs too short for graphs of guesses.
TEST(Guesser, OnAGpuRowsAreThePlansToTheByte) {
  ModelSource source = source_of(tiny_card(3));
  ModelCard small = tiny_card(1);
  small.hidden = 32;
  for (Layer& layer : small.layers) {
    layer.mixer.rope.theta = 500;
    layer.mixer.heads = 8;
  }
  source.card.stored_weights = small.stored_weights = DType::kBF16;
  source.draft = std::make_shared<const ModelSource>(source_of(small));
  const DeviceCard device = fake_card();
  for (const Guess guess : {Guess::kNgram, Guess::kDraft}) {
    for (const auto& [tokens, output, batch] :
         {std::tuple{4, 40, 3}, std::tuple{1, 30, 1}, std::tuple{2, 12, 5}, std::tuple{4, 3, 2},
          std::tuple{4, 2, 2}, std::tuple{3, 1, 2}}) {
      SCOPED_TRACE(std::string(name_of(guess)) + " " + std::to_string(output));
      PlanRequest ask;
      ask.context = Tokens{60};
      ask.output = Tokens{output};
      ask.batch = batch;
      ask.prefill_chunk = Tokens{7};
      ask.guess = guess;
      ask.guess_tokens = tokens;
      ask.draft = guess == Guess::kDraft ? "draft" : "";
      const Plan plan = make_plan(source, device, ask);
      RunRequest request = request_with_host_values();
      request.process_base = Bytes{device.process_base_bytes.value};
      cuda::FakeRuntime runtime({fake_device(device)});
      const Measurement m = run_on(runtime, plan.decisions, source, request);
      EXPECT_EQ(table(m.observed), table(plan.predictions.ledger));
      EXPECT_EQ(m.process_peak, plan.predictions.ledger.peak(0, TierKind::kDevice));
      EXPECT_EQ(m.capacity[0].unaccounted, Bytes{0});
      const bool captures = output - 1 >= 3 * (tokens + 1);
      EXPECT_EQ(runtime.graph_launches() > 0, captures);
      const Measurement dry = run_dry(plan.decisions, source, device, request);
      EXPECT_EQ(table(dry.observed), table(plan.predictions.ledger));
    }
  }
}

TEST(Guesser, OnAGpuAnyCallMayFailWithTwoModels) {
  std::uint64_t hash = 0;
  const ModelSource source = source_with_draft(hash);
  Decisions d = guessing(source, Guess::kDraft, hash);
  d.context = Tokens{24};
  d.output = Tokens{10};
  d.speculation.tokens = 2;
  d.kv_blocks = blocks_for(d.context, d.block) * d.batch;
  cuda::FakeRuntime plain({small_device()});
  run_on(plain, d, source, request_with_host_values());
  for (std::int64_t call = 1; call <= plain.calls(); call += 31) {
    cuda::FakeRuntime runtime({small_device()});
    runtime.fail_call(call, cuda::Status::kLaunchFailure, call % 2 == 0);
    EXPECT_THROW(run_on(runtime, d, source, request_with_host_values()), Error) << call;
    EXPECT_EQ(runtime.live_allocations(), 0);
    EXPECT_EQ(runtime.live_objects(), 0);
  }
}

TEST(Guesser, ADraftThatIsAnotherThanPlannedIsStale) {
  std::uint64_t hash = 0;
  const ModelSource source = source_with_draft(hash);
  EXPECT_THROW(run(guessing(source, Guess::kDraft, hash + 1), source), Error);
  Decisions windowed = guessing(source, Guess::kNgram, 0);
  windowed.kv_policy = KvPolicy::kSinkWindow;
  windowed.kv_keep = {Tokens{4}, Tokens{16}, {}};
  EXPECT_THROW(run(windowed, source), Error);
}

}  // namespace
}  // namespace vramplan
