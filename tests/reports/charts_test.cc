#include "reports/charts.h"

#include <gtest/gtest.h>

#include "tests/reports/samples.h"
#include "tests/reports/temporary_file.h"

namespace vramplan {
namespace {

int count(const std::string& text, const std::string& part) {
  int n = 0;
  for (std::size_t at = text.find(part); at != std::string::npos; at = text.find(part, at + 1)) ++n;
  return n;
}

bool has(const std::string& text, const std::string& part) {
  return text.find(part) != std::string::npos;
}

double number_after(const std::string& text, const std::string& key) {
  const std::size_t at = text.find(key);
  return at == std::string::npos ? -1 : std::stod(text.substr(at + key.size()));
}

std::vector<MemoryBar> bars_of(const RunRecord& run) {
  return memory_bars(run.plan, &run.measurement, rank_groups(run.plan, run.verdict));
}

TEST(Charts, BarsHaveARectangleForEveryPartAndOneCapacityLine) {
  const RunRecord run = samples::cpu_run();
  const auto bars = bars_of(run);
  const std::string svg = bars_chart(bars, kWideChart);
  EXPECT_EQ(count(svg, "<rect "), static_cast<int>(bars[0].parts.size() + bars[1].parts.size()));
  EXPECT_EQ(count(svg, "class=\"capacity\""), 1);
  EXPECT_TRUE(has(svg, "rank 0 device, predicted weights: 96,576,768 B (92.10 MiB)"));
}

TEST(Charts, BarLengthsAreProportionalToBytes) {
  MemoryBar bar;
  bar.label = "rank 0 device";
  bar.capacity = {1000};
  bar.parts = {{Category::kWeights, {500}}, {Category::kKvCache, {250}}};
  bar.total = {750};
  const std::string svg = bars_chart({bar}, kWideChart);
  const double weights = number_after(svg.substr(svg.find("c-weights")), "width=\"");
  const double cache = number_after(svg.substr(svg.find("c-kv-cache")), "width=\"");
  EXPECT_NEAR(weights / cache, 2, 0.01);
  const double line = number_after(svg.substr(svg.find("class=\"capacity\"")), "x1=\"");
  const double left = number_after(svg.substr(svg.find("c-weights")), "x=\"");
  EXPECT_NEAR((line - left) / weights, 2, 0.01);
}

TEST(Charts, ACapacityFarAwayIsToldInWords) {
  std::vector<MemoryBar> bars = bars_of(samples::cpu_run());
  for (MemoryBar& bar : bars) bar.capacity = 80_GiB;
  const std::string svg = bars_chart(bars, kWideChart);
  EXPECT_EQ(count(svg, "class=\"capacity\""), 0);
  EXPECT_TRUE(has(svg, "capacity 80.00 GiB, off this scale"));
}

TEST(Charts, TheCurveOverlaysPredictionAndObservationInThreePhases) {
  const RunRecord run = samples::cpu_run();
  const std::string svg =
      curve_chart(run.plan.predictions.curve, run.measurement.samples, 512_MiB, kWideChart);
  EXPECT_EQ(count(svg, "class=\"phase "), 3);
  EXPECT_EQ(count(svg, "class=\"predicted-area\""), 3);
  EXPECT_EQ(count(svg, "class=\"observed-line\""), 6);  // tensors and process
  EXPECT_TRUE(has(svg, "prefill: predicted 2.33 s, observed 2.31 s"));
  EXPECT_TRUE(has(svg, "decode step 64, tensors: 103.57 MiB"));
}

TEST(Charts, PhasesBeginTogetherWhateverTookLonger) {
  // Load: predicted 1 s, observed 2 s. The decode marks at phase second 0 must share one x.
  const std::vector<CurvePoint> curve = {{{0}, Phase::kLoad, {1}},
                                         {{1}, Phase::kLoad, {100}},
                                         {{1}, Phase::kDecode, {100}},
                                         {{2}, Phase::kDecode, {100}}};
  const std::vector<MemorySample> samples = {{{0}, Phase::kLoad, "a", {1}, {}},
                                             {{2}, Phase::kLoad, "b", {100}, {}},
                                             {{3}, Phase::kDecode, "c", {100}, {}}};
  const std::string svg = curve_chart(curve, samples, {}, kWideChart);
  const std::string area = svg.substr(svg.rfind("class=\"predicted-line\""));
  const std::string line = svg.substr(svg.rfind("class=\"observed-line\""));
  EXPECT_EQ(number_after(area, "d=\"M"), number_after(line, "d=\"M"));
  EXPECT_TRUE(has(svg, "load: predicted 1.00 s, observed 2.00 s"));
}

TEST(Charts, AnEmptyOrLongCurveIsDrawn) {
  EXPECT_TRUE(has(curve_chart({}, {}, {}, kWideChart), "</svg>"));
  std::vector<CurvePoint> curve;
  for (int i = 0; i < 200'000; ++i) {
    curve.push_back({{i * 0.001}, Phase::kDecode, {i == 123'457 ? 5000 : 1000}});
  }
  const std::string svg = curve_chart(curve, {}, {}, kWideChart);
  EXPECT_LT(svg.size(), 60'000u);
  // the one high point survives the thinning: it is the smallest y of the line
  const std::string flat = curve_chart({curve.begin(), curve.begin() + 1000}, {}, {}, kWideChart);
  EXPECT_NE(svg.find("predicted-line"), std::string::npos);
  double top = 1e9;
  const std::size_t begin = svg.find("predicted-line");
  const std::string d = svg.substr(begin, svg.find("/>", begin) - begin);
  for (std::size_t at = d.find(' ', d.find("d=\"")); at != std::string::npos;
       at = d.find(' ', at + 1)) {
    top = std::min(top, std::stod(d.substr(at + 1)));
  }
  EXPECT_LT(top, 100);
}

TEST(Charts, TheErrorPlotHasAMarkForEveryRowAndSaysWhatIsOffTheEdge) {
  Measurement m = samples::cpu_measurement();
  m.observed.add(samples::row(0, TierKind::kDevice, Category::kWeights, "positions", Phase::kLoad,
                              4096, "tensors taken"));
  Plan plan = samples::cpu_plan();
  plan.predictions.ledger.add(
      samples::row(0, TierKind::kDevice, Category::kWeights, "ghost", Phase::kLoad, 10, "10 B"));
  const RunRecord run = make_run("r", plan, m, {});
  const std::string svg = error_chart(run.plan, run.verdict, kWideChart);
  // 12 rows and the process and 4 times: 15 dots, one arrow (-100 %), one cross (two strokes)
  EXPECT_EQ(count(svg, "<circle class=\"mark"), 15);
  EXPECT_EQ(count(svg, "<path class=\"mark bad\""), 1);
  EXPECT_EQ(count(svg, "<path class=\"mark bad cross\""), 2);
  EXPECT_EQ(count(svg, "class=\"band\""), 1);
  EXPECT_LT(svg.find(">weights positions<"), svg.find(">weights norms<")) << "worst first";
}

TEST(Charts, AreWellFormedXmlWhateverTheNames) {
  Plan plan = samples::cpu_plan();
  Measurement m = samples::cpu_measurement();
  m.observed.add(samples::row(0, TierKind::kDevice, Category::kWeights,
                              "</svg><script>\"'&\x01\xff\xe2\x80\xa8", Phase::kLoad, 1, ""));
  m.samples[3].moment = "]]>\x1b<x a=\"";
  const RunRecord run = make_run("r", plan, m, {});
  std::string all = "<all>";
  for (const double width : {kWideChart, kNarrowChart}) {
    all += bars_chart(bars_of(run), width) + error_chart(run.plan, run.verdict, width) +
           curve_chart(run.plan.predictions.curve, run.measurement.samples, 512_MiB, width);
  }
  all += "</all>";
  EXPECT_FALSE(has(all, "<script>"));
  EXPECT_FALSE(has(all, "nan"));
  if (!testing_files::has_program("xmllint")) GTEST_SKIP() << "no xmllint (libxml2-utils)";
  const std::string path = testing_files::write_temporary("charts.xml", all);
  const auto result = testing_files::run_command("xmllint --noout " + path);
  EXPECT_EQ(result.status, 0) << result.output;
}

}  // namespace
}  // namespace vramplan
