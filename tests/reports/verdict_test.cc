#include "reports/verdict.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <functional>

#include "tests/reports/samples.h"

namespace vramplan {
namespace {

using samples::cpu_measurement;
using samples::cpu_plan;
using samples::cpu_run;

/// The observed ledger with one change a row; a row for which `keep` says no is left out.
Measurement changed(const std::function<bool(LedgerRow&)>& keep) {
  Measurement m = cpu_measurement();
  Ledger ledger;
  for (LedgerRow row : m.observed.rows()) {
    if (keep(row)) ledger.add(row);
  }
  m.observed = ledger;
  return m;
}

const VerdictRow& find(const Verdict& v, Category category, const std::string& name, Phase phase) {
  for (const VerdictRow& row : v.rows) {
    if (row.category == category && row.name == name && row.phase == phase) return row;
  }
  throw std::runtime_error("no row " + name);
}

TEST(Verdict, TheSampleIsWithin) {
  const Verdict v = samples::cpu_run().verdict;
  EXPECT_TRUE(v.within) << (v.failures.empty() ? "" : v.failures[0]);
  EXPECT_EQ(v.rows.size(), 10u);
  EXPECT_EQ(v.process.outcome, Outcome::kWithin);
}

TEST(Verdict, WeightsAndCacheAndPaddingAreExact) {
  for (const auto& [category, name] : {std::pair{Category::kWeights, "norms"},
                                       {Category::kKvCache, "blocks"},
                                       {Category::kRuntime, "arena padding"}}) {
    for (const int difference : {-1, 1}) {
      const Verdict v = judge(cpu_plan(), changed([&](LedgerRow& row) {
                                if (row.category == category && row.name == name) {
                                  row.bytes += Bytes{difference};
                                }
                                return true;
                              }),
                              {});
      EXPECT_FALSE(v.within) << name;
      EXPECT_EQ(find(v, category, name, Phase::kLoad).outcome,
                difference < 0 ? Outcome::kOver : Outcome::kUnder);
      EXPECT_EQ(find(v, category, name, Phase::kLoad).error.n, -difference);
    }
  }
}

TEST(Verdict, ActivationsMayDifferByOnePercentOfTheObserved) {
  const auto with = [](std::int64_t bytes) {
    return judge(cpu_plan(), changed([&](LedgerRow& row) {
                   if (row.category == Category::kActivations && row.phase == Phase::kPrefill) {
                     row.bytes = {bytes};
                   }
                   return true;
                 }),
                 {});
  };
  // predicted 4,325,376: 1 % of 4,369,066 is 43,690, of 4,282,551 it is 42,825
  EXPECT_TRUE(with(4'369'066).within);
  EXPECT_FALSE(with(4'369'068).within);
  EXPECT_TRUE(with(4'282'551).within);
  EXPECT_FALSE(with(4'282'549).within);
}

TEST(Verdict, ARowThatNobodyObservedNeverPasses) {
  for (const Category category : {Category::kWeights, Category::kKvCache, Category::kActivations}) {
    const Verdict v =
        judge(cpu_plan(), changed([&](LedgerRow& row) { return row.category != category; }), {});
    EXPECT_FALSE(v.within) << name_of(category);
    for (const VerdictRow& row : v.rows) {
      EXPECT_EQ(row.outcome == Outcome::kNotMeasured, row.category == category);
    }
  }
}

TEST(Verdict, OtherRuntimeRowsInformButDoNotGate) {
  const Verdict missing =
      judge(cpu_plan(), changed([](LedgerRow& row) { return row.name != "tokenizer"; }), {});
  EXPECT_TRUE(missing.within);
  ASSERT_EQ(missing.notes.size(), 1u);
  EXPECT_NE(missing.notes[0].find("tokenizer"), std::string::npos);
  const Verdict doubled = judge(cpu_plan(), changed([](LedgerRow& row) {
                                  if (row.name == "process base") row.bytes = row.bytes * 2;
                                  return true;
                                }),
                                {});
  EXPECT_TRUE(doubled.within);
  EXPECT_EQ(find(doubled, Category::kRuntime, "process base", Phase::kLoad).outcome,
            Outcome::kUnder);
}

TEST(Verdict, AnObservedRowWithoutPredictionIsARowPredictedZero) {
  Measurement m = cpu_measurement();
  m.observed.add(samples::row(0, TierKind::kDevice, Category::kWeights, "positions", Phase::kLoad,
                              4096, "tensors taken"));
  const Verdict v = judge(cpu_plan(), m, {});
  const VerdictRow& row = find(v, Category::kWeights, "positions", Phase::kLoad);
  EXPECT_EQ(row.predicted.n, 0);
  EXPECT_EQ(row.observed.n, 4096);
  EXPECT_EQ(row.outcome, Outcome::kUnder);
  EXPECT_FALSE(v.within);
}

TEST(Verdict, RowsWithTheSameKeyAreAddedUp) {
  Plan plan = cpu_plan();
  plan.predictions.ledger.add(
      samples::row(0, TierKind::kDevice, Category::kWeights, "norms", Phase::kLoad, 1000, "more"));
  const VerdictRow row =
      find(judge(plan, cpu_measurement(), {}), Category::kWeights, "norms", Phase::kLoad);
  EXPECT_EQ(row.predicted.n, 141'544);
  EXPECT_EQ(row.formula, "61 x 576 x 4 B + more");
}

TEST(Verdict, TheSameNameOnAnotherRankIsAnotherRow) {
  const Verdict v = judge(cpu_plan(), changed([](LedgerRow& row) {
                            row.rank = 1;
                            return true;
                          }),
                          {});
  EXPECT_EQ(v.rows.size(), 20u);
  EXPECT_FALSE(v.within);
}

TEST(Verdict, TheProcessIsTheHighestPhaseOfDeviceAndHostOnACpu) {
  Plan plan = cpu_plan();
  const Bytes device = plan.predictions.ledger.peak(0, TierKind::kDevice);
  EXPECT_EQ(judge(plan, cpu_measurement(), {}).process.predicted, device);
  EXPECT_EQ(judge(plan, cpu_measurement(), {}).process.phase, Phase::kPrefill);
  plan.predictions.ledger.add(samples::row(0, TierKind::kHost, Category::kRuntime, "staging",
                                           Phase::kLoad, 1 << 20, "1 MiB"));
  EXPECT_EQ(judge(plan, cpu_measurement(), {}).process.predicted, device + 1_MiB);
  Measurement cuda = cpu_measurement();
  cuda.environment.backend = "cuda";
  EXPECT_EQ(judge(plan, cuda, {}).process.predicted, device);
}

TEST(Verdict, TheProcessToleranceIsWiderAboveThanBelow) {
  const Bytes predicted = cpu_plan().predictions.ledger.peak(0, TierKind::kDevice);
  const auto outcome = [&](Bytes observed) {
    Measurement m = cpu_measurement();
    m.process_peak = observed;
    const Verdict v = judge(cpu_plan(), m, {});
    EXPECT_EQ(v.within, v.process.outcome == Outcome::kWithin);
    return v.process.outcome;
  };
  EXPECT_EQ(outcome(predicted - 8_MiB), Outcome::kWithin);  // the floor: 2 % would be 2.5 MiB
  EXPECT_EQ(outcome(predicted - 8_MiB - 1_B), Outcome::kOver);
  EXPECT_EQ(outcome({predicted.n * 1009 / 1000}), Outcome::kWithin);
  EXPECT_EQ(outcome({predicted.n * 1011 / 1000}), Outcome::kUnder);
  EXPECT_EQ(outcome({0}), Outcome::kNotMeasured);  // on a CPU it must be measured
}

TEST(Verdict, TheDryBackendHasNoProcessAndSaysSo) {
  const Verdict v = samples::dry_run().verdict;
  EXPECT_TRUE(v.within);
  EXPECT_EQ(v.process.outcome, Outcome::kNotMeasured);
  EXPECT_FALSE(v.process.gates);
  ASSERT_FALSE(v.notes.empty());
  EXPECT_NE(v.notes[0].find("dry backend"), std::string::npos);
  Measurement lying = samples::dry_measurement();
  lying.process_peak = {1};  // whatever a dry process takes, it is not the model's memory
  EXPECT_EQ(judge(samples::dry_plan(), lying, {}).process.outcome, Outcome::kNotMeasured);
}

TEST(Verdict, EveryUnderPredictionCountsEvenInsideTheTolerance) {
  // The sample: "process base" and the process are seen larger than predicted, both within.
  EXPECT_EQ(samples::cpu_run().verdict.under_predictions, 2);
  const Verdict v = judge(cpu_plan(), changed([](LedgerRow& row) {
                            if (row.category == Category::kActivations) row.bytes += Bytes{1};
                            return true;
                          }),
                          {});
  EXPECT_TRUE(v.within);
  EXPECT_EQ(v.under_predictions, 4);
  EXPECT_EQ(samples::dry_run().verdict.under_predictions, 0);
}

TEST(Verdict, TheWorstErrorIsSignedAndNamed) {
  const Verdict v = samples::cpu_run().verdict;
  EXPECT_EQ(v.worst_error.n, v.process.error.n);
  EXPECT_LT(v.worst_error.n, 0);
  EXPECT_NE(v.worst_row.find("process peak"), std::string::npos);
  ASSERT_EQ(v.terms.size(), 4u);
  EXPECT_EQ(v.terms[3].category, Category::kRuntime);
  EXPECT_EQ(v.terms[3].error.n, (11'010'048 - 11'403'264) + (8'388'608 - 8'126'464));
  EXPECT_EQ(v.terms[3].worst.n, 11'010'048 - 11'403'264);
}

TEST(Verdict, TimesGateOnlyWhenAsked) {
  Measurement m = cpu_measurement();
  m.timings.tpot = {0.05};
  EXPECT_TRUE(judge(cpu_plan(), m, {}).within);
  Tolerances gated;
  gated.gate_times = true;
  EXPECT_TRUE(judge(cpu_plan(), cpu_measurement(), gated).within);
  const Verdict v = judge(cpu_plan(), m, gated);
  EXPECT_FALSE(v.within);
  EXPECT_EQ(v.times[1].outcome, Outcome::kUnder);
  EXPECT_TRUE(v.times[1].optimistic);
  m.timings.tpot = {};
  EXPECT_FALSE(judge(cpu_plan(), m, gated).within) << "not measured must not pass";
}

TEST(Verdict, TimeTermsAreJoinedByOperationAndAddUpToTheErrorOfThePhase) {
  const RunRecord run = cpu_run();
  const std::vector<TermRow>& rows = run.verdict.time_terms;
  ASSERT_EQ(rows.size(), 10U);
  EXPECT_EQ(rows[0].op, "linear");
  EXPECT_EQ(rows[0].predicted.v, 1.92);
  EXPECT_EQ(rows[0].observed.v, 1.90);
  EXPECT_NEAR(rows[0].error(), 0.02 / 1.90, 1e-12);
  EXPECT_NEAR(rows[0].share_of_phase, 0.02 / 2.30, 1e-12);
  const TermRow& sample = rows.back();
  EXPECT_EQ(sample.op, "sample");
  EXPECT_EQ(sample.phase, Phase::kDecode);
  EXPECT_EQ(sample.predicted.v, 0);
  double share = 0;
  for (const TermRow& row : rows)
    if (row.phase == Phase::kDecode) share += row.share_of_phase;
  EXPECT_NEAR(share, (0.0213 - 0.0221) / 0.0221, 1e-9);
}

TEST(Verdict, AnOperationThatOnlyOneSideNamesIsARowOfItsOwn) {
  Measurement m = cpu_measurement();
  m.timings.decode_terms = {{"linear", 211, {0.02}}};
  const auto rows = judge(cpu_plan(), m, {}).time_terms;
  const auto found = std::find_if(rows.begin(), rows.end(), [](const TermRow& row) {
    return row.phase == Phase::kDecode && row.op == "norm";
  });
  ASSERT_NE(found, rows.end());
  EXPECT_EQ(found->observed.v, 0);
  EXPECT_LT(found->predicted.v, 0.001);
  m.timings.prefill_terms.clear();
  m.timings.decode_terms.clear();
  EXPECT_TRUE(judge(cpu_plan(), m, {}).time_terms.empty());
}

TEST(Verdict, AnIncompleteRunOrABrokenIdentityFails) {
  Measurement m = cpu_measurement();
  m.complete = false;
  EXPECT_FALSE(judge(cpu_plan(), m, {}).within);
  m = cpu_measurement();
  m.capacity[0].unaccounted += Bytes{1};
  EXPECT_FALSE(judge(cpu_plan(), m, {}).within);
  m = Measurement{};
  m.complete = true;
  m.environment.backend = "dry";
  EXPECT_FALSE(judge(Plan{}, m, {}).within) << "an empty comparison proves nothing";
}

/// Four guesses a step, 60 % assumed; what a step took is 10 % more than predicted.
Plan guessing_plan() {
  Plan plan = cpu_plan();
  plan.decisions.speculation = {Guess::kNgram, 4, "", 0, 0.6};
  SpeculationPrediction s;
  s.tokens_a_step = 1 + 0.6 + 0.36 + 0.216 + 0.1296;
  s.step = {0.040};
  plan.predictions.speculation = s;
  plan.predictions.performance.tpot = {s.step.v / s.tokens_a_step};
  return plan;
}

Measurement guessing_measurement(bool by_chance) {
  Measurement m = cpu_measurement();
  SpeculationCounts counts;
  counts.steps = 20;
  counts.asked = 80;
  counts.accepted = 45;
  counts.tested = 60;
  counts.tokens = 65;
  counts.by_chance = by_chance;
  m.speculation = counts;
  m.timings.tokens_a_step = 3.25;
  m.timings.tpot = {0.044 / 3.25};
  return m;
}

const TimeRow& time_row(const Verdict& v, const std::string& name) {
  for (const TimeRow& row : v.times) {
    if (row.name == name) return row;
  }
  throw std::runtime_error("no time " + name);
}

TEST(Verdict, OfGuessesTheStepGatesAndWhatIsPerTokenDoesNot) {
  Tolerances gating;
  gating.gate_times = true;
  gating.prefill = 10;  // not asked here
  const Verdict v = judge(guessing_plan(), guessing_measurement(false), gating);
  const TimeRow& step = time_row(v, "step_seconds");
  EXPECT_TRUE(step.gates);
  EXPECT_NEAR(step.error, 0.040 / 0.044 - 1, 1e-12);
  EXPECT_EQ(step.outcome, Outcome::kWithin);
  EXPECT_FALSE(time_row(v, "tpot_seconds").gates);
  EXPECT_FALSE(time_row(v, "decode_tokens_per_second").gates);
  EXPECT_TRUE(v.within) << v.failures.front();
  Measurement slow = guessing_measurement(false);
  slow.timings.tpot = {0.050 / 3.25};  // a step of 50 ms where 40 were predicted
  EXPECT_FALSE(judge(guessing_plan(), slow, gating).within);
  EXPECT_THROW(time_row(samples::cpu_run().verdict, "step_seconds"), std::runtime_error)
      << "without guesses a step is a token";
}

TEST(Verdict, TpotGivenTheObservedAcceptanceIsBesideThePrediction) {
  const Verdict v = judge(guessing_plan(), guessing_measurement(false), {});
  ASSERT_TRUE(v.speculation);
  EXPECT_DOUBLE_EQ(v.speculation->acceptance, 0.75);
  // 1 + 3/4 + 9/16 + 27/64 + 81/256 = 781 / 256 tokens of a step of 40 ms.
  EXPECT_NEAR(v.speculation->tpot_given->v, 0.040 * 256 / 781, 1e-12);
  EXPECT_DOUBLE_EQ(time_row(v, "tpot_seconds").predicted,
                   guessing_plan().predictions.performance.tpot.v);
  const bool said = std::any_of(v.notes.begin(), v.notes.end(), [](const std::string& note) {
    return note.find("given the observed acceptance of 75.0 %") != std::string::npos;
  });
  EXPECT_TRUE(said);
}

TEST(Verdict, GuessesKeptByChanceAreNoObservation) {
  const Verdict v = judge(guessing_plan(), guessing_measurement(true), {});
  ASSERT_TRUE(v.speculation);
  EXPECT_TRUE(v.speculation->by_chance);
  for (const std::string& note : v.notes) {
    EXPECT_EQ(note.find("observed acceptance"), std::string::npos) << note;
  }
  Measurement none = guessing_measurement(false);
  none.speculation->tested = none.speculation->accepted = 0;
  EXPECT_FALSE(judge(guessing_plan(), none, {}).speculation->tpot_given);
}

}  // namespace
}  // namespace vramplan
