#include "executor/transformer.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <numeric>

#include "executor/engine.h"
#include "executor/rank_run.h"
#include "executor/rng.h"
#include "tests/executor/reference_forward.h"
#include "tests/executor/tiny_model.h"

namespace vramplan {
namespace {

std::vector<std::int32_t> ids_of(std::int64_t count, std::int64_t vocab, std::uint64_t seed) {
  SplitMix64 rng(seed);
  std::vector<std::int32_t> ids(static_cast<std::size_t>(count));
  for (std::int32_t& id : ids)
    id = static_cast<std::int32_t>(rng.next() % static_cast<std::uint64_t>(vocab));
  return ids;
}

std::vector<float> logits_of(const ModelCard& card, Decisions decisions,
                             std::span<const std::int32_t> ids) {
  ReferenceBackend backend;
  return prompt_logits(decisions, source_of(card), backend, ids, true);
}

void expect_near(const std::vector<float>& a, const std::vector<float>& b, double tolerance) {
  ASSERT_EQ(a.size(), b.size());
  ASSERT_FALSE(a.empty());
  for (std::size_t i = 0; i < a.size(); ++i) ASSERT_NEAR(a[i], b[i], tolerance) << i;
}

TEST(Transformer, LogitsAreThoseOfATextbookDecoder) {
  for (const auto& [name, card] : tiny_families()) {
    SCOPED_TRACE(name);
    const std::vector<std::int32_t> ids = ids_of(19, card.vocab, 2);
    const Decisions decisions = tiny_decisions(card, 20, 1);
    auto tier = make_host_tier(TierKind::kDevice, 64_MiB);
    Arena arena(*tier, 16_MiB, "weights");
    ReferenceOps ops;
    const LoadedWeights loaded =
        load_weights(source_of(card), decisions, model_part(card, {}, 0), arena, ops,
                     {WeightFill::kRandom, nullptr, decisions.seed, {}});
    expect_near(ReferenceForward(card, loaded.weights).logits(ids), logits_of(card, decisions, ids),
                2e-5);
  }
}

TEST(Transformer, ChunkedPrefillGivesTheLogitsOfWholePrefill) {
  for (const auto& [name, card] : tiny_families()) {
    SCOPED_TRACE(name);
    const std::vector<std::int32_t> ids = ids_of(19, card.vocab, 3);
    Decisions whole = tiny_decisions(card, 20, 1);
    Decisions chunked = whole;
    chunked.prefill_chunk = Tokens{5};
    expect_near(logits_of(card, whole, ids), logits_of(card, chunked, ids), 2e-5);
  }
}

TEST(Transformer, PagedCacheGivesTheLogitsOfAContiguousOne) {
  for (const auto& [name, card] : tiny_families()) {
    SCOPED_TRACE(name);
    const std::vector<std::int32_t> ids = ids_of(19, card.vocab, 4);
    Decisions paged = tiny_decisions(card, 20, 1);
    Decisions contiguous = paged;
    contiguous.block = TokensPerBlock{32};
    expect_near(logits_of(card, paged, ids), logits_of(card, contiguous, ids), 1e-6);
  }
}

TEST(Transformer, LaterTokensChangeNothingBefore) {
  const ModelCard card = tiny_card();
  std::vector<std::int32_t> ids = ids_of(12, card.vocab, 5);
  const Decisions decisions = tiny_decisions(card, 13, 1);
  const std::vector<float> before = logits_of(card, decisions, ids);
  ids.back() = (ids.back() + 1) % 40;
  const std::vector<float> after = logits_of(card, decisions, ids);
  const auto last_row = before.end() - card.vocab;
  EXPECT_TRUE(std::equal(before.begin(), last_row, after.begin()));
  EXPECT_FALSE(std::equal(last_row, before.end(), after.end() - card.vocab));
}

TEST(Transformer, TheWindowHidesOldTokens) {
  ModelCard card = tiny_card(1);
  card.layers[0].mixer.kind = MixerKind::kSlidingWindow;
  card.layers[0].mixer.window_tokens = 4;
  std::vector<std::int32_t> ids = ids_of(12, card.vocab, 6);
  const Decisions decisions = tiny_decisions(card, 13, 1);
  const std::vector<float> before = logits_of(card, decisions, ids);
  ids[2] = (ids[2] + 1) % 40;
  const std::vector<float> after = logits_of(card, decisions, ids);
  // Position 5 still sees token 2, position 6 does not.
  EXPECT_FALSE(
      std::equal(before.begin() + 5 * 40, before.begin() + 6 * 40, after.begin() + 5 * 40));
  EXPECT_TRUE(std::equal(before.begin() + 6 * 40, before.end(), after.begin() + 6 * 40));
}

/// Runs a batch to the end and keeps the logits of every sampled token.
struct BatchRun {
  std::vector<std::vector<std::vector<float>>> logits;  // [sequence][step][vocab]
  std::vector<std::vector<std::int32_t>> tokens;
  Blocks most_held;
};

BatchRun run_batch(const ModelCard& card, const Decisions& decisions,
                   const std::vector<std::vector<std::int32_t>>& prompts, bool shuffle_blocks) {
  const ModelSource source = source_of(card);
  ReferenceBackend backend;
  SingleCommunicator one, two;
  const ModelPart part = model_part(card, {}, 0);
  RankEngine engine({backend, one, two}, decisions, source, part,
                    {16_MiB, 16_MiB, {decisions.kv_blocks}});
  engine.load({WeightFill::kRandom, nullptr, decisions.seed, {}});
  if (shuffle_blocks) {
    std::vector<std::int32_t> all;
    for (std::int64_t i = 0; i < decisions.kv_blocks.n; ++i)
      all.push_back(engine.kv().pool(0).take());
    SplitMix64 rng(9);
    for (std::size_t i = all.size(); i > 1; --i) std::swap(all[i - 1], all[rng.next() % i]);
    for (const std::int32_t block : all) engine.kv().pool(0).give_back(block);
  }
  Scheduler scheduler(engine.kv(), prompts, scheduler_options(decisions, {}));
  BatchRun run;
  run.logits.resize(static_cast<std::size_t>(decisions.batch));
  const bool draws = decisions.samples > 1 || prompts.size() > 3;
  const Sampler greedy(Sampling{draws ? 1.0 : 0.0, 1, 5});
  RunHooks hooks;
  hooks.sampler = &greedy;
  hooks.vocab = card.vocab;
  hooks.on_logits = [&](const Pass& pass, const TensorView& logits) {
    const auto* data = static_cast<const float*>(logits.data);
    for (std::size_t i = 0; i < pass.sampled.size(); ++i) {
      const auto* row = data + static_cast<std::ptrdiff_t>(i) * card.vocab;
      run.logits[static_cast<std::size_t>(pass.sampled[i])].emplace_back(row, row + card.vocab);
    }
  };
  run_passes(engine, scheduler, hooks);
  for (std::int64_t i = 0; i < scheduler.sequence_count(); ++i)
    run.tokens.push_back(scheduler.generated(i));
  run.most_held = engine.kv().pool(0).most_held();
  return run;
}

TEST(Transformer, DecodeGivesTheLogitsOfPrefillingTheSameTokens) {
  for (const auto& [name, card] : tiny_families()) {
    SCOPED_TRACE(name);
    const std::vector<std::int32_t> prompt = ids_of(9, card.vocab, 8);
    const BatchRun run = run_batch(card, tiny_decisions(card, 17, 8), {prompt}, false);
    std::vector<std::int32_t> all = prompt;
    all.insert(all.end(), run.tokens[0].begin(), run.tokens[0].end());
    const std::vector<float> prefilled = logits_of(card, tiny_decisions(card, 18, 1), all);
    for (std::size_t step = 0; step < 8; ++step) {
      const auto row = prefilled.begin() + static_cast<std::ptrdiff_t>(8 + step) * card.vocab;
      expect_near(run.logits[0][step], std::vector<float>(row, row + card.vocab), 2e-5);
    }
  }
}

TEST(Transformer, SequencesOfABatchDoNotSeeEachOtherWhateverTheirBlocks) {
  const ModelCard card = tiny_card();
  const std::vector<std::vector<std::int32_t>> prompts{
      ids_of(9, card.vocab, 1), ids_of(4, card.vocab, 2), ids_of(11, card.vocab, 3)};
  const Decisions together = tiny_decisions(card, 16, 5, 3);
  const BatchRun batch = run_batch(card, together, prompts, true);
  for (std::size_t i = 0; i < prompts.size(); ++i) {
    const BatchRun alone = run_batch(card, tiny_decisions(card, 16, 5), {prompts[i]}, false);
    EXPECT_EQ(batch.tokens[i], alone.tokens[0]);
    for (std::size_t step = 0; step < 5; ++step) {
      expect_near(batch.logits[i][step], alone.logits[0][step], 1e-6);
    }
  }
}

TEST(Transformer, SamplesThatShareBlocksAreWhatEachWouldBeAlone) {
  const ModelCard card = tiny_card();
  const std::vector<std::int32_t> prompt = ids_of(10, card.vocab, 21);
  Decisions together = tiny_decisions(card, 24, 14, 6);
  together.samples = 3;
  const std::vector<std::int32_t> other = ids_of(7, card.vocab, 22);
  const BatchRun run = run_batch(card, together, {prompt, other}, false);
  ASSERT_EQ(run.tokens.size(), 6U);
  // Random draws: the same sequence number draws the same, alone or not.
  const BatchRun apart = run_batch(card, tiny_decisions(card, 24, 14, 6),
                                   {prompt, prompt, prompt, other, other, other}, false);
  EXPECT_EQ(run.tokens, apart.tokens);
  EXPECT_NE(run.tokens[0], run.tokens[1]);
  EXPECT_EQ(apart.most_held.n - run.most_held.n, 2 * (2 + 1));  // 2 and 1 whole blocks, twice saved
}

TEST(Transformer, APrefixFoundAgainGivesTheSameTokens) {
  const ModelCard card = tiny_card();
  const std::vector<std::int32_t> head = ids_of(9, card.vocab, 23);
  std::vector<std::vector<std::int32_t>> prompts(3, head);
  prompts[1].push_back(3);
  prompts[2] = {head[0], head[1], head[2], head[3], 7, 7, 7};
  const Decisions alone = tiny_decisions(card, 24, 8, 3);
  Decisions shared = alone;
  shared.shared_prefix = Tokens{9};
  shared.prefill_chunk = Tokens{5};
  const BatchRun a = run_batch(card, alone, prompts, false);
  const BatchRun b = run_batch(card, shared, prompts, false);
  EXPECT_EQ(a.tokens, b.tokens);
  EXPECT_EQ(a.most_held.n - b.most_held.n, 2 + 1);
}

/// Layers of three kinds, and the pools that a run of them needs.
ModelCard windowed_card() {
  ModelCard card = tiny_card(4);
  for (const std::size_t i : {std::size_t{0}, std::size_t{2}, std::size_t{3}}) {
    card.layers[i].mixer.kind = MixerKind::kSlidingWindow;
    card.layers[i].mixer.window_tokens = i == 2 ? 3 : 9;
  }
  return card;
}

TEST(Transformer, GivingBlocksBackBehindTheWindowChangesNoLogit) {
  const ModelCard card = windowed_card();
  const std::vector<std::int32_t> ids = ids_of(61, card.vocab, 12);
  for (const std::int64_t chunk : {61, 16, 7, 1}) {
    Decisions all = tiny_decisions(card, 62, 1);
    all.prefill_chunk = Tokens{chunk};
    Decisions window = all;
    window.kv_policy = KvPolicy::kWindow;
    EXPECT_EQ(logits_of(card, all, ids), logits_of(card, window, ids)) << chunk;
  }
}

/// Keys keep the rotation of their own positions and queries are rotated twice; the definition
/// rotates everything anew for its place among the tokens that the query sees.
TEST(Transformer, SinksAndAWindowAreSeenAtTheirPlacesInTheCache) {
  for (const auto& [name, card] : tiny_families()) {
    if (card.position == PositionKind::kLearned || card.layers[0].mixer.window_tokens > 0) continue;
    SCOPED_TRACE(name);
    const std::vector<std::int32_t> ids = ids_of(70, card.vocab, 13);
    for (const KvKeep keep : {KvKeep{Tokens{3}, Tokens{6}}, KvKeep{Tokens{0}, Tokens{5}}}) {
      Decisions decisions = tiny_decisions(card, 71, 1);
      decisions.kv_policy = KvPolicy::kSinkWindow;
      decisions.kv_keep = keep;
      auto tier = make_host_tier(TierKind::kDevice, 64_MiB);
      Arena arena(*tier, 16_MiB, "weights");
      ReferenceOps ops;
      const LoadedWeights loaded =
          load_weights(source_of(card), decisions, model_part(card, {}, 0), arena, ops,
                       {WeightFill::kRandom, nullptr, decisions.seed, {}});
      const auto wanted = ReferenceForward(card, loaded.weights, keep).logits(ids);
      for (const std::int64_t chunk : {70, 16, 1}) {
        decisions.prefill_chunk = Tokens{chunk};
        expect_near(wanted, logits_of(card, decisions, ids), 5e-5);
      }
      decisions.block = TokensPerBlock{1};
      expect_near(wanted, logits_of(card, decisions, ids), 5e-5);
    }
  }
}

TEST(Transformer, AWindowThatHoldsEverythingIsTheWholeCache) {
  const ModelCard card = tiny_card();
  const std::vector<std::int32_t> ids = ids_of(20, card.vocab, 14);
  const Decisions all = tiny_decisions(card, 21, 1);
  Decisions kept = all;
  kept.kv_policy = KvPolicy::kSinkWindow;
  kept.kv_keep = {Tokens{4}, Tokens{16}};
  expect_near(logits_of(card, all, ids), logits_of(card, kept, ids), 1e-6);
  kept.kv_keep.window = Tokens{15};  // token 4 is gone when the last query comes
  const auto a = logits_of(card, all, ids), b = logits_of(card, kept, ids);
  EXPECT_FALSE(std::equal(a.end() - 40, a.end(), b.end() - 40));
}

TEST(Transformer, ABudgetThatHoldsEverythingIsTheWholeCache) {
  const ModelCard card = tiny_card();
  const std::vector<std::int32_t> ids = ids_of(90, card.vocab, 15);
  Decisions all = tiny_decisions(card, 91, 1);
  all.prefill_chunk = Tokens{10};
  Decisions kept = all;
  kept.kv_policy = KvPolicy::kMass;
  kept.kv_keep.budget = Tokens{92};
  const auto whole = logits_of(card, all, ids);
  expect_near(whole, logits_of(card, kept, ids), 1e-6);
  kept.kv_keep.budget = Tokens{70};  // goes below the 80 tokens before the last chunk
  const auto cut = logits_of(card, kept, ids);
  EXPECT_TRUE(std::equal(whole.begin(), whole.begin() + 80 * 40, cut.begin()));
  EXPECT_NE(whole, cut);
  // Every backend evicts the same blocks.
  const auto cpu = make_cpu_backend(2, 1_GiB);
  expect_near(cut, prompt_logits(kept, source_of(card), *cpu, ids, true), 1e-4);
}

TEST(Transformer, HalfPrecisionCacheStaysNear) {
  const ModelCard card = tiny_card();
  const std::vector<std::int32_t> ids = ids_of(19, card.vocab, 3);
  Decisions exact = tiny_decisions(card, 20, 1);
  Decisions half = exact;
  half.kv_format = KvFormat::kF16;
  const auto a = logits_of(card, exact, ids), b = logits_of(card, half, ids);
  expect_near(a, b, 5e-3);
  EXPECT_NE(a, b);
}

TEST(Transformer, HalfPrecisionWeightsRun) {
  ModelCard card = tiny_card();
  const std::vector<std::int32_t> ids = ids_of(19, card.vocab, 3);
  const auto exact = logits_of(card, tiny_decisions(card, 20, 1), ids);
  card.stored_weights = DType::kF16;
  expect_near(exact, logits_of(card, tiny_decisions(card, 20, 1), ids), 2e-2);
}

}  // namespace
}  // namespace vramplan
