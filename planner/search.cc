#include "planner/search.h"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <limits>
#include <tuple>

#include "planner/account.h"
#include "planner/text.h"

namespace vramplan {
namespace {

constexpr std::size_t kMostFront = 64;

/// What has no known price comes after everything that has one.
double price_or_last(const Evaluation& e) {
  return e.usd_per_hour.value_or(std::numeric_limits<double>::infinity());
}

/// Fewest devices, then fewest machines, then price, then speed, then the simpler sharding.
auto golden_key(const Evaluation& e) {
  return std::tuple(e.strategy.devices(), e.nodes, price_or_last(e), e.tpot.v, -e.tokens_per_second,
                    e.strategy.pp, e.strategy.cp, e.strategy.ep, e.strategy.format,
                    e.strategy.kv_format, e.ttft.v, e.strategy.tier);
}
auto price_key(const Evaluation& e) {
  return std::tuple(e.usd_per_million_tokens().value_or(0), e.strategy.devices(), e.nodes,
                    e.tpot.v);
}
auto speed_key(const Evaluation& e) {
  return std::tuple(e.tpot.v, e.strategy.devices(), e.nodes, price_or_last(e), e.ttft.v);
}

template <class Key>
void keep_best(const Evaluation& e, std::optional<Evaluation>& best, Key key) {
  if (!best || key(e) < key(*best)) best = e;
}

/// What a strategy costs: its price, or where none is known its devices, which come after.
std::pair<double, double> cost_of(const Evaluation& e) {
  return {price_or_last(e), e.usd_per_hour ? 0 : static_cast<double>(e.strategy.devices())};
}

/// The best of what costs no more than what is asked about: by rising TPOT, each with more tokens a
/// second than those before it.
class Staircase {
 public:
  /// Whether something kept is as good as `e` in cost, TPOT and throughput, and better in one. All
  /// that was kept costs no more.
  bool beats(const Evaluation& e) const {
    const auto after = steps_.upper_bound(e.tpot.v);
    if (after == steps_.begin()) return false;
    const auto& [tpot, step] = *std::prev(after);
    if (step.tokens_per_second != e.tokens_per_second) {
      return step.tokens_per_second > e.tokens_per_second;
    }
    return tpot < e.tpot.v || step.cost < cost_of(e);
  }
  void keep(const Evaluation& e) {
    auto [at, added] = steps_.try_emplace(e.tpot.v, Step{e.tokens_per_second, cost_of(e)});
    if (!added && e.tokens_per_second > at->second.tokens_per_second) {
      at->second = {e.tokens_per_second, cost_of(e)};
    }
    for (++at; at != steps_.end() && at->second.tokens_per_second <= e.tokens_per_second;) {
      at = steps_.erase(at);
    }
  }

 private:
  struct Step {
    double tokens_per_second = 0;
    std::pair<double, double> cost;
  };
  std::map<double, Step> steps_;
};

/// No other is as good in cost, TPOT and throughput and better in one; a price and a number of
/// devices are not to be compared.
std::vector<Evaluation> pareto_front(std::vector<Evaluation> all) {
  std::sort(all.begin(), all.end(), [](const Evaluation& a, const Evaluation& b) {
    return std::tuple(cost_of(a), a.tpot.v, -a.tokens_per_second) <
           std::tuple(cost_of(b), b.tpot.v, -b.tokens_per_second);
  });
  Staircase priced, unpriced;
  std::vector<Evaluation> front;
  for (const Evaluation& e : all) {
    Staircase& known = e.usd_per_hour ? priced : unpriced;
    if (known.beats(e)) continue;
    known.keep(e);
    front.push_back(e);
  }
  std::sort(front.begin(), front.end(), [](const Evaluation& a, const Evaluation& b) {
    return std::tuple(price_or_last(a), a.strategy.devices(), a.tpot.v, -a.tokens_per_second) <
           std::tuple(price_or_last(b), b.strategy.devices(), b.tpot.v, -b.tokens_per_second);
  });
  if (front.size() > kMostFront) {  // evenly over the front, both ends kept
    std::vector<Evaluation> kept;
    for (std::size_t i = 0; i < kMostFront; ++i) {
      kept.push_back(front[i * (front.size() - 1) / (kMostFront - 1)]);
    }
    front = std::move(kept);
  }
  return front;
}

/// Replicas that reach the fleet's throughput and sequences; 0 when more devices than allowed.
int replicas_for(const Evaluation& one, const SearchLimits& limits) {
  double needed = 1;
  if (limits.tokens_per_second) {
    needed = std::max(needed, std::ceil(*limits.tokens_per_second / one.tokens_per_second));
  }
  if (limits.sequences) {
    needed = std::max(needed, std::ceil(static_cast<double>(*limits.sequences) /
                                        static_cast<double>(one.strategy.batch)));
  }
  const int each = one.strategy.ranks();
  return needed * each <= limits.most_devices ? static_cast<int>(needed) : 0;
}

bool within(const Evaluation& e, const SearchLimits& limits) {
  if (limits.ttft && e.ttft > *limits.ttft) return false;
  if (limits.tpot && e.tpot > *limits.tpot) return false;
  return !limits.usd_per_hour || (e.usd_per_hour && *e.usd_per_hour <= *limits.usd_per_hour);
}

void check_limits(const SearchLimits& limits) {
  const auto positive = [](double value, const char* flag) {
    if (value > 0 && std::isfinite(value)) return;
    throw Error(ErrorCode::kUsage, fmt::format("{} must be above zero", flag)).at("", flag);
  };
  if (limits.ttft) positive(limits.ttft->v, "--ttft");
  if (limits.tpot) positive(limits.tpot->v, "--tpot");
  if (limits.tokens_per_second) positive(*limits.tokens_per_second, "--throughput");
  if (limits.usd_per_hour) positive(*limits.usd_per_hour, "--price");
  if (limits.sequences) positive(static_cast<double>(*limits.sequences), "--sequences");
  if (limits.most_devices < 1 || limits.most_devices > 64) {
    throw Error(ErrorCode::kUsage, fmt::format("{} devices are out of range", limits.most_devices))
        .at("", "--most-devices")
        .help("give a number from 1 to 64");
  }
}

std::string reason(const Evaluation& tightest, const SearchRequest& request) {
  const DeviceCard& device = request.devices[tightest.strategy.device];
  return fmt::format("the nearest miss is {} x {}: {} missing on each", tightest.strategy.devices(),
                     device.name, to_text(-tightest.headroom));
}

}  // namespace

const char* name_of(Quality quality) {
  switch (quality) {
    case Quality::kLossless:
      return "lossless";
    case Quality::kEightBit:
      return "eight_bit";
    case Quality::kFourBit:
      return "four_bit";
  }
  return "?";
}

const char* name_of(const SearchTier& tier) {
  if (tier.hidden_on_host) return "weights_hidden_host";
  return tier.weights_on_host ? "weights_host" : name_of(tier.cache);
}

std::optional<double> Evaluation::usd_per_million_tokens() const {
  if (!usd_per_hour || tokens_per_second <= 0) return std::nullopt;
  return *usd_per_hour / (tokens_per_second * 3600) * 1e6;
}

namespace {

/// What a change of one unit does to the plan of `best`, each computed as a strategy of its own.
std::vector<ShadowPrice> shadow_prices(const StrategySpace& space, const Evaluation& best) {
  std::vector<ShadowPrice> out;
  const Strategy& s = best.strategy;
  const auto change = [&](const std::string& what, const Strategy& other) {
    const Evaluation e = space.evaluate(other);
    if (e.tpot.v <= 0) return;
    out.push_back(
        {what,
         fmt::format("{:+.1f} tokens/s, TPOT {} instead of {}, headroom {} a device{}",
                     e.tokens_per_second - best.tokens_per_second, to_text(e.tpot),
                     to_text(best.tpot), to_text(e.headroom), e.fits ? "" : ": does not fit")});
  };
  const auto& batches = space.batches();
  const auto at = std::find(batches.begin(), batches.end(), s.batch);
  if (at + 1 != batches.end()) {
    Strategy more = s;
    more.batch = *(at + 1);
    const Bytes each{(space.evaluate(more).peak - best.peak).n / (more.batch - s.batch)};
    change(fmt::format("batch {} instead of {}", more.batch, s.batch), more);
    if (each.n > 0) {
      out.push_back(
          {"+1 sequence on each replica", fmt::format("costs {} a device", to_text(each))});
      const double per_gib = static_cast<double>((1_GiB).n) / static_cast<double>(each.n);
      const double gain = (space.evaluate(more).tokens_per_second - best.tokens_per_second) /
                          static_cast<double>(more.batch - s.batch);
      out.push_back({"+1 GiB of device memory",
                     fmt::format("buys {:.2g} more sequences a replica, {:+.2g} tokens/s", per_gib,
                                 gain * per_gib)});
    }
  }
  for (std::size_t f = 0; f < space.weights().size(); ++f) {
    if (f == s.format) continue;
    Strategy other = s;
    other.format = static_cast<std::uint8_t>(f);
    change("weights in " + space.weights()[f].name, other);
  }
  for (std::size_t k = 0; k < space.kv_formats().size(); ++k) {
    if (k == s.kv_format) continue;
    Strategy other = s;
    other.kv_format = static_cast<std::uint8_t>(k);
    change(std::string("KV cache in ") + name_of(space.kv_formats()[k].format), other);
  }
  for (std::size_t tier = 0; tier < space.tiers().size(); ++tier) {
    if (tier == s.tier) continue;
    Strategy other = s;
    other.tier = static_cast<std::uint8_t>(tier);
    const SearchTier& where = space.tiers()[tier];
    change(where.weights_on_host ? std::string("matrices in host memory")
           : tier == 0           ? std::string("all on the device")
                                 : std::string("KV cache on the ") + name_of(where),
           other);
  }
  Strategy wider = s;
  wider.tp = static_cast<std::uint16_t>(s.tp * 2);
  if (s.ep > 1) wider.ep = wider.tp;
  if (wider.tp <= 64) change(fmt::format("tp {} instead of {}", wider.tp, s.tp), wider);
  Strategy longer = s;
  longer.cp = static_cast<std::uint16_t>(s.cp * 2);
  if (longer.cp <= 64) change(fmt::format("cp {} instead of {}", longer.cp, s.cp), longer);
  return out;
}

}  // namespace

SearchResult search(const StrategySpace& space, const SearchRequest& request) {
  check_limits(request.limits);
  SearchResult out;
  std::vector<Evaluation> good;
  std::optional<Evaluation> tightest;
  for (Strategy s : space.strategies()) {
    Evaluation e = space.evaluate(s);
    ++out.evaluated;
    if (!e.fits) {
      if (e.tpot.v > 0 && (!tightest || e.headroom > tightest->headroom)) tightest = e;
      continue;
    }
    ++out.fitting;
    const int replicas = replicas_for(e, request.limits);
    if (replicas == 0) continue;
    if (replicas > 1) {
      s.replicas = static_cast<std::uint16_t>(replicas);
      e = space.evaluate(s);
      ++out.evaluated;
    }
    if (!within(e, request.limits)) continue;
    ++out.within_limits;
    keep_best(e, out.smallest, golden_key);
    keep_best(e, out.fastest, speed_key);
    if (e.usd_per_hour) keep_best(e, out.cheapest, price_key);
    good.push_back(e);
  }
  out.front = pareto_front(std::move(good));
  if (out.smallest) {
    out.shadow_prices = shadow_prices(space, *out.smallest);
  } else if (out.fitting > 0) {
    out.binding = fmt::format("{} strategies fit, none meets the limits", out.fitting);
  } else if (tightest) {
    out.binding = "nothing fits; " + reason(*tightest, request);
  }
  if (!out.cheapest) {
    out.assumptions.push_back(
        {"prices", "unknown: the front counts devices instead", "--price-file"});
  }
  out.assumptions.push_back(
      {"time", "the planner's own executor, not an engine's", "plan --engine"});
  if (space.tiers().size() > 1) {
    out.assumptions.push_back({"host memory and disks", "hold everything that leaves a device",
                               "--kv-placement, --weight-offload"});
  }
  const auto shared = [&](const auto& e) { return e.strategy.cp > 1 || e.strategy.ep > 1; };
  if (std::any_of(out.front.begin(), out.front.end(), shared)) {
    out.assumptions.push_back(
        {"context and expert parallel", "planned, not run by this executor", "plan --engine"});
  }
  out.assumptions.push_back({"batch", "powers of two up to 512 on each replica", "none"});
  return out;
}

SearchResult search(const ModelSource& source, const SearchRequest& request) {
  check_limits(request.limits);
  return search(StrategySpace(source, request), request);
}

}  // namespace vramplan
