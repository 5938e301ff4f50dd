#include "planner/mix_search.h"

#include <fmt/format.h>

#include <algorithm>
#include <charconv>
#include <cmath>
#include <map>

namespace vramplan {
namespace {

constexpr double kMostNats = 10, kMostPercent = 1000;

[[noreturn]] void bad_floor(const std::string& text, const std::string& flag) {
  throw Error(ErrorCode::kUsage, fmt::format("'{}' is no floor of quality", printable(text)))
      .at("", flag)
      .help("kl:NATS, e.g. kl:0.02, or perplexity:+PERCENT%, e.g. perplexity:+1%");
}

/// One choice of the groups so far, and the one of the groups before that it goes on from.
struct Step {
  double loss = 0;
  std::size_t before = 0, option = 0;
};
using Steps = std::vector<std::pair<std::int64_t, Step>>;  // by growing bytes, falling loss

Steps extended(const Steps& steps, const MixGroup& group) {
  std::map<std::int64_t, Step> sums;
  for (std::size_t s = 0; s < steps.size(); ++s) {
    for (std::size_t o = 0; o < group.options.size(); ++o) {
      const MixOption& option = group.options[o];
      const std::int64_t bytes = detail::checked_add(steps[s].first, option.bytes.n);
      const Step next{steps[s].second.loss + option.loss, s, o};
      const auto [known, fresh] = sums.try_emplace(bytes, next);
      if (!fresh && next.loss < known->second.loss) known->second = next;
    }
  }
  Steps out;
  for (const auto& [bytes, step] : sums) {
    if (out.empty() || step.loss < out.back().second.loss) out.emplace_back(bytes, step);
  }
  return out;
}

/// First of the front whose predicted loss is at most `nats`; its size when there is none.
std::size_t cheapest_within(const std::vector<MixChoice>& front, double nats) {
  const auto found = std::find_if(front.begin(), front.end(),
                                  [&](const MixChoice& choice) { return choice.loss <= nats; });
  return static_cast<std::size_t>(found - front.begin());
}

}  // namespace

QualityFloor parse_quality_floor(const std::string& text, const std::string& flag) {
  const std::size_t colon = text.find(':');
  const std::string kind = text.substr(0, colon);
  std::string number = colon == std::string::npos ? "" : text.substr(colon + 1);
  QualityFloor floor;
  floor.perplexity = kind == "perplexity";
  if (floor.perplexity) {
    if (number.size() < 3 || number.front() != '+' || number.back() != '%') bad_floor(text, flag);
    number = number.substr(1, number.size() - 2);
  } else if (kind != "kl") {
    bad_floor(text, flag);
  }
  double value = 0;
  const char* const end = number.data() + number.size();
  const auto [rest, status] = std::from_chars(number.data(), end, value);
  const double most = floor.perplexity ? kMostPercent : kMostNats;
  if (status != std::errc() || rest != end || !(value > 0 && value <= most)) bad_floor(text, flag);
  floor.nats = floor.perplexity ? std::log1p(value / 100) : value;
  return floor;
}

std::string text_of(const QualityFloor& floor) {
  return floor.perplexity ? fmt::format("perplexity:+{:.6g}%", 100 * std::expm1(floor.nats))
                          : fmt::format("kl:{:.6g}", floor.nats);
}

std::vector<MixChoice> mix_front(const std::vector<MixGroup>& groups) {
  std::vector<Steps> stages = {{{0, {}}}};
  for (const MixGroup& group : groups) {
    VRAMPLAN_CHECK(!group.options.empty());
    stages.push_back(extended(stages.back(), group));
  }
  std::vector<MixChoice> front;
  for (const auto& [bytes, last] : stages.back()) {
    MixChoice choice{Bytes{bytes}, last.loss, std::vector<std::size_t>(groups.size())};
    Step step = last;
    for (std::size_t g = groups.size(); g > 0; --g) {
      choice.options[g - 1] = step.option;
      step = stages[g - 1][step.before].second;
    }
    front.push_back(std::move(choice));
  }
  return front;
}

std::vector<LayerWord> layers_of(const std::vector<MixGroup>& groups, const MixChoice& choice) {
  std::vector<LayerWord> layers;
  for (std::size_t g = 0; g < groups.size(); ++g) {
    layers.push_back({groups[g].begin, groups[g].end, groups[g].options[choice.options[g]].format});
  }
  return layers;
}

MixFound find_mix(const std::vector<MixChoice>& front, const QualityFloor& floor, int most_runs,
                  const std::function<MixLoss(const MixChoice&)>& run) {
  MixFound found;
  // Those before `low` are known or taken to miss the floor, `high` to keep it.
  std::size_t low = 0, high = front.size();
  std::size_t at = std::min(cheapest_within(front, floor.nats), front.size() - 1);
  for (int made = 0; made < most_runs && low < high && !front.empty(); ++made) {
    const MixChoice& choice = front[at];
    MixRun one{choice, run(choice), false};
    one.keeps = floor.keeps(one.loss);
    const double measured = floor.of(one.loss);
    found.runs.push_back(std::move(one));
    if (found.runs.back().keeps) {
      high = at;
      found.best = found.runs.size() - 1;
    } else {
      low = at + 1;
    }
    if (low >= high || low >= front.size()) break;
    // Where loss is as much more or less than predicted as it was here.
    const double ratio = measured > 0 ? floor.nats / measured : 2;
    at = cheapest_within(front, choice.loss * std::clamp(ratio, 0.25, 4.0));
    at = std::clamp(at, low, std::min(high, front.size()) - 1);
  }
  return found;
}

}  // namespace vramplan
