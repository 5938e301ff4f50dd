#include "reports/baseline.h"

#include <gtest/gtest.h>

#include <functional>

#include "tests/reports/samples.h"

namespace vramplan {
namespace {

using samples::cpu_measurement;
using samples::cpu_plan;
using samples::cpu_run;

RunRecord with(Plan plan, Measurement m) {
  return make_run("now", std::move(plan), std::move(m), {});
}

/// The rows for which `keep` says yes, after it changed them.
Ledger changed(const Ledger& ledger, const std::function<bool(LedgerRow&)>& keep) {
  Ledger out;
  for (LedgerRow row : ledger.rows()) {
    if (keep(row)) out.add(row);
  }
  return out;
}

/// The sample with its two ledgers changed alike.
RunRecord both_changed(const std::function<bool(LedgerRow&)>& keep) {
  Plan plan = cpu_plan();
  Measurement m = cpu_measurement();
  plan.predictions.ledger = changed(plan.predictions.ledger, keep);
  m.observed = changed(m.observed, keep);
  return with(plan, m);
}

Measurement slower(double factor) {
  Measurement m = cpu_measurement();
  for (double& step : m.timings.decode_step_seconds) step *= factor;
  return m;
}

TEST(Baseline, TheSameRunHasNoFinding) {
  const Comparison same = compare(cpu_run(), cpu_run(), {});
  EXPECT_TRUE(same.findings.empty());
  EXPECT_EQ(exit_code_of(same), 0);
}

TEST(Baseline, OneByteMoreIsARegressionAndOneByteLessIsAFinding) {
  const RunRecord more = both_changed([](LedgerRow& row) {
    if (row.name == "norms") row.bytes += 1_B;
    return true;
  });
  const Comparison worse = compare(cpu_run(), more, {});
  EXPECT_EQ(worse.regressions(), 2);  // predicted and observed
  EXPECT_EQ(exit_code_of(worse), 4);
  EXPECT_NE(worse.findings[0].what.find("norms"), std::string::npos);
  EXPECT_EQ(worse.findings[0].threshold_from, "exact");
  const Comparison better = compare(more, cpu_run(), {});
  EXPECT_EQ(better.findings.size(), 2u);
  EXPECT_EQ(better.regressions(), 0);
}

TEST(Baseline, ARowNoLongerMeasuredIsARegression) {
  Measurement m = cpu_measurement();
  m.observed =
      changed(m.observed, [](LedgerRow& row) { return row.category != Category::kKvCache; });
  const Comparison worse = compare(cpu_run(), with(cpu_plan(), m), {});
  EXPECT_EQ(worse.regressions(), 2);  // the row, and the verdict
  EXPECT_NE(worse.findings[0].what.find("not measured any more"), std::string::npos);
}

TEST(Baseline, ATermThatVanishedIsARegressionWhenItGates) {
  const Comparison less =
      compare(cpu_run(), both_changed([](LedgerRow& row) { return row.name != "embedding"; }), {});
  ASSERT_GE(less.regressions(), 1);
  bool vanished = false;
  for (const Finding& f : less.findings) {
    vanished = vanished || f.what.find("no such row") != std::string::npos;
  }
  EXPECT_TRUE(vanished);
}

TEST(Baseline, DecodeIsComparedByItsMedianOutsideTheNoise) {
  EXPECT_EQ(compare(cpu_run(), with(cpu_plan(), slower(1.04)), {}).regressions(), 0);
  const Comparison slow = compare(cpu_run(), with(cpu_plan(), slower(1.10)), {});
  EXPECT_EQ(slow.regressions(), 1);
  EXPECT_NEAR(slow.findings[0].change, 0.10, 1e-9);
  const Comparison fast = compare(cpu_run(), with(cpu_plan(), slower(0.8)), {});
  EXPECT_EQ(fast.findings.size(), 1u);
  EXPECT_EQ(fast.regressions(), 0);
  Measurement spike = cpu_measurement();  // one slow step moves a mean, not the median
  spike.timings.decode_step_seconds[5] = 10;
  EXPECT_TRUE(compare(cpu_run(), with(cpu_plan(), spike), {}).findings.empty());
}

TEST(Baseline, ANoisyRunWidensItsBand) {
  Measurement noisy = slower(1.10);
  for (std::size_t i = 0; i < noisy.timings.decode_step_seconds.size(); i += 2) {
    noisy.timings.decode_step_seconds[i] *= 1.2;
  }
  EXPECT_EQ(compare(cpu_run(), with(cpu_plan(), noisy), {}).regressions(), 0);
}

TEST(Baseline, TheVirtualClockHasNoNoise) {
  Measurement m = samples::dry_measurement();
  for (double& step : m.timings.decode_step_seconds) step *= 1.001;
  const Comparison worse =
      compare(samples::dry_run(), make_run("now", samples::dry_plan(), m, {}), {});
  EXPECT_EQ(worse.regressions(), 1);
}

TEST(Baseline, TimesOfAnotherMachineAreNotCompared) {
  Measurement m = slower(3);
  m.environment.machine = "other";
  const Comparison c = compare(cpu_run(), with(cpu_plan(), m), {});
  EXPECT_EQ(c.regressions(), 0);
  ASSERT_EQ(c.notes.size(), 1u);
  EXPECT_NE(c.notes[0].find("times are not compared"), std::string::npos);
}

TEST(Baseline, OtherDecisionsAreRefusedByName) {
  Plan plan = cpu_plan();
  plan.decisions.context = {1024};
  try {
    compare(cpu_run(), with(plan, cpu_measurement()), {});
    FAIL();
  } catch (const Error& error) {
    EXPECT_EQ(error.code(), ErrorCode::kUsage);
    EXPECT_NE(error.message().find("context 512"), std::string::npos);
  }
}

TEST(Baseline, TheProcessHasABand) {
  Measurement m = cpu_measurement();
  m.process_peak += 4_MiB;
  const Comparison small = compare(cpu_run(), with(cpu_plan(), m), {});
  for (const Finding& f : small.findings) EXPECT_EQ(f.what.find("process peak"), std::string::npos);
  m.process_peak += 8_MiB;
  bool found = false;
  const Comparison large = compare(cpu_run(), with(cpu_plan(), m), {});
  for (const Finding& f : large.findings) {
    found = found || (f.regression && f.what.find("process peak") != std::string::npos);
  }
  EXPECT_TRUE(found);
}

TEST(Baseline, ReportsSayWhatChangedAndAgainstWhich) {
  const Comparison slow = compare(cpu_run(), with(cpu_plan(), slower(1.5)), {});
  const std::string text = comparison_text(slow);
  EXPECT_EQ(text.rfind("REGRESSION", 0), 0u);
  EXPECT_NE(text.find("+50.00 %"), std::string::npos);
  EXPECT_NE(text.find("NoiseBand"), std::string::npos);
  EXPECT_NE(comparison_markdown(slow).find("**worse**"), std::string::npos);
}

}  // namespace
}  // namespace vramplan
