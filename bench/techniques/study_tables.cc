#include "bench/techniques/study_tables.h"

#include <cmath>

namespace vramplan {
namespace {

void sensitivity(Page& page, const MixAnswer& answer) {
  std::string head = "| layers |", rule = "|---|";
  for (const std::string& format : answer.question.formats) {
    head += " " + format + " |";
    rule += "---|";
  }
  page.line("{}\n{}", head, rule);
  for (const MixGroup& group : answer.groups) {
    std::string line = fmt::format("| {}-{} |", group.begin, group.end - 1);
    for (std::size_t o = 1; o < group.options.size(); ++o) {
      line += fmt::format(" {:.6f} |", group.options[o].loss);
    }
    page.line("{}", line);
  }
}

}  // namespace

void quality_head(Page& page, const std::string& what, const std::string& first) {
  page.line(
      "| {} | bytes predicted | observed | of {} | step predicted | observed | perplexity "
      "| KL mean | KL worst | same best |",
      what, first);
  page.line("|---|---|---|---|---|---|---|---|---|---|");
}

void quality_row(Page& page, const QualityRow& row) {
  const TextQuality& q = row.quality;
  page.line(
      "| {} | {} | {} | {:.1f} % | {:.2f} ms | {:.2f} ms | {:.3f} | {:.5f} | {:.4f} | {:.1f} % |",
      row.name, row.predicted.n, row.observed.n,
      100 * static_cast<double>(row.observed.n) / static_cast<double>(row.first.n),
      1e3 * row.step_predicted.v, 1e3 * row.step_observed.v, q.perplexity, q.mean_divergence,
      q.worst_divergence, 100 * q.same_best);
  Page::did(row.name);
}

MixQuality quality_of(const TextQuality& q) {
  return {q.perplexity, q.mean_divergence, q.worst_divergence, q.same_best};
}

std::vector<FoundMix> study_tables(Page& page, const MixParts& parts, const MixQuestion& question,
                                   std::size_t tokens,
                                   const std::function<std::string(const Decisions&)>& flags) {
  const MixAnswer answer = study_mix(parts, question);
  page.line(
      "Mean KL (nats) over {} tokens when only these layers have another format; {} passes.\n",
      tokens, answer.passes);
  sensitivity(page, answer);
  std::vector<FoundMix> mixes;
  for (const char* floor : {"kl:0.005", "kl:0.02", "perplexity:+1%"}) {
    const QualityFloor asked = parse_quality_floor(floor, "");
    const MixFound found =
        find_mix(mix_front(answer.groups), asked, question.most_runs, [&](const MixChoice& choice) {
          const MixQuality q = parts.measure(parts.decide(layers_of(answer.groups, choice)));
          return MixLoss{q.mean_divergence, std::log(q.perplexity / parts.base.perplexity)};
        });
    Page::did(fmt::format("{}: {} runs", floor, found.runs.size()));
    if (!found.best) continue;
    const MixRun& best = found.runs[*found.best];
    mixes.push_back({floor, layers_of(answer.groups, best.choice)});
    page.line("\nFloor {}: `{}`; sum of its groups {:.5f}, run {:.5f} ({} runs).", floor,
              flags(parts.decide(mixes.back().layers)), best.choice.loss, best.loss.divergence,
              found.runs.size());
  }
  page.line("");
  return mixes;
}

}  // namespace vramplan
