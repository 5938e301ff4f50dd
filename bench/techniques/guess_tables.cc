// Speculative decoding: how many guesses of looking back are kept depends on the text; what a step
// takes does not.
#include "bench/techniques/page.h"

namespace vramplan {
namespace {

constexpr std::size_t kPrompt = 256;
constexpr std::int64_t kOutput = 65;  // one from prefill, and 64

struct Text {
  const char* name;
  std::vector<std::int32_t> ids;
};

/// Lines of a table, each a little different from the one before.
std::string listing() {
  std::string text;
  for (int i = 1; i <= 60; ++i) {
    text += fmt::format(
        "def test_case_{}(self):\n    result = compute(value={})\n"
        "    self.assertEqual(result, {})\n\n",
        i, 3 * i, 9 * i * i);
  }
  return text;
}

std::string repetition() {
  std::string text;
  for (int i = 0; i < 60; ++i) text += "one two three four five six seven ";
  return text;
}

std::vector<Text> texts(const Setting& setting) {
  const auto encoded = [&](const std::string& text) {
    std::vector<std::int32_t> ids = setting.tokenizer->encode(text, false);
    ids.resize(kPrompt);
    return ids;
  };
  return {{"prose", setting.first(kPrompt)},
          {"program text", encoded(listing())},
          {"words in a circle", encoded(repetition())}};
}

}  // namespace

void guess_tables(const Setting& setting, Page& page) {
  page.line(
      "| {} tokens of, {} more | guesses a step | looked at | kept | share kept | tokens a step | "
      "step planned | observed | | TPOT planned at 60 % | given the observed share | observed | "
      "without guesses | same tokens |",
      kPrompt, kOutput - 1);
  page.line("|---|---|---|---|---|---|---|---|---|---|---|---|---|---|");
  for (const Text& text : texts(setting)) {
    const PlannedRun plain = setting.run_of(base_request(), {text.ids}, kOutput);
    for (const std::int64_t guesses : {2, 4, 8}) {
      PlanRequest request = base_request();
      request.guess = Guess::kNgram;
      request.guess_tokens = guesses;
      PlannedRun r = setting.run_of(request, {text.ids}, kOutput);
      const bool same = r.measurement.output == plain.measurement.output;
      const RunRecord run = make_run("run", std::move(r.plan), std::move(r.measurement), {});
      const SpeculationCounts& seen = run.measurement.speculation.value();
      const SpeculationVerdict& judged = run.verdict.speculation.value();
      const double step = judged.tpot.v * judged.tokens;
      const double planned = run.plan.predictions.speculation->step.v;
      page.line(
          "| {} | {} | {} | {} | {:.0f} % | {:.2f} | {:.2f} ms | {:.2f} ms | {} | {:.2f} ms | "
          "{:.2f} ms | {:.2f} ms | {:.2f} ms | {} |",
          text.name, guesses, seen.tested, seen.accepted, 100 * judged.acceptance, judged.tokens,
          1e3 * planned, 1e3 * step, error_of(planned, step),
          1e3 * run.plan.predictions.performance.tpot.v,
          1e3 * judged.tpot_given.value_or(Seconds{}).v, 1e3 * judged.tpot.v,
          1e3 * plain.measurement.timings.tpot.v, same ? "yes" : "no");
      Page::did(fmt::format("{} guesses, {}", guesses, text.name));
    }
  }
}

}  // namespace vramplan
