// Half of search.h: the shardings of a model, and the accounts of each, stages that are alike once.
#include <algorithm>
#include <bit>

#include "planner/account.h"
#include "planner/context_parallel.h"
#include "planner/forward_work.h"
#include "planner/search.h"

namespace vramplan {
namespace {

constexpr int kMostRanks = 64, kMostPp = 16;

/// Exponents of powers of two up to kMostRanks, and of stages.
constexpr std::size_t kRankPowers = 7, kStagePowers = 5;
std::size_t exponent(int power) {
  VRAMPLAN_CHECK(power >= 1 && power <= kMostRanks);
  return static_cast<std::size_t>(std::bit_width(static_cast<unsigned>(power)) - 1);
}

/// Whether context parallel ranks can share what is asked for.
bool takes_context_ranks(const ModelCard& card, Decisions decisions, const PlanRequest& request) {
  decisions.sharding.cp = 2;
  try {
    check_context_parallel(card, decisions, request);
  } catch (const Error& error) {
    if (error.code() != ErrorCode::kUnsupported) throw;
    return false;
  }
  return true;
}

}  // namespace

std::size_t StrategySpace::index_of(const Sharding& s, std::size_t format, std::size_t kv) const {
  const std::size_t split = exponent(s.tp) * kStagePowers + exponent(s.pp);
  const std::size_t shared = exponent(s.cp) * 2 + (s.ep > 1 ? 1 : 0);
  return ((split * kRankPowers * 2 + shared) * weights_.size() + format) * kv_formats_.size() + kv;
}

void StrategySpace::add_shards(const ModelSource& source) {
  const std::size_t shardings_there_are = kRankPowers * kStagePowers * kRankPowers * 2;
  shard_index_.assign(shardings_there_are * weights_.size() * kv_formats_.size(), -1);
  for (const Sharding& sharding : shardings(source.card)) {
    for (std::size_t f = 0; f < weights_.size(); ++f) {
      std::vector<StageExtents> known;
      for (std::size_t k = 0; k < kv_formats_.size(); ++k) {
        if (sharding.cp > 1 || base_.kv_residual.any()) known.clear();
        Decisions d = base_;
        d.sharding = sharding;
        d.device_count = sharding.ranks();
        d.weights = weights_[f].dtype;
        d.kv_format = kv_formats_[k].format;
        try {
          shards_.push_back(make_shard(source, d, f, k, known));
        } catch (const Error& error) {
          if (error.code() != ErrorCode::kUsage) throw;
          continue;  // a format that does not divide these rows
        }
        shard_index_[index_of(sharding, f, k)] = static_cast<int>(shards_.size()) - 1;
      }
    }
  }
}

std::vector<Sharding> StrategySpace::shardings(const ModelCard& card) const {
  const int most = std::min(kMostRanks, request_.limits.most_devices);
  const std::int64_t layers = card.layer_count();
  const int most_cp = takes_context_ranks(card, base_, request_.plan) ? most : 1;
  std::vector<Sharding> out;
  for (int tp = 1; tp <= most; tp *= 2) {
    for (const int ep : {1, tp}) {
      if (tp == 1 && !out.empty()) continue;  // ep 1 and tp are the same
      const std::vector<int> valid = valid_tensor_parallel(card, tp, ep);
      if (valid.empty() || valid.back() != tp) continue;
      for (int pp = 1; pp <= kMostPp && tp * pp <= most && pp <= layers; pp *= 2) {
        for (int cp = 1; cp <= most_cp && tp * pp * cp <= most; cp *= 2) {
          out.push_back({tp, pp, cp, ep});
        }
      }
    }
  }
  return out;
}

std::vector<int> StrategySpace::alike_by(int pp, int stage) const {
  const LayerRange range = layers_of_stage(layer_count_, pp, stage);
  const std::vector<int> layers(kind_of_layer_.begin() + range.begin,
                                kind_of_layer_.begin() + range.end);
  std::vector<int> key{stage == 0 ? 1 : 0, stage + 1 == pp ? 1 : 0};
  if (tiers_.size() > 1) {  // which layers leave the device is a matter of their places
    key.insert(key.end(), layers.begin(), layers.end());
    return key;
  }
  std::map<std::pair<int, int>, int> neighbours;
  for (std::size_t i = 0; i < layers.size(); ++i) {
    if (std::find(key.begin() + 2, key.end(), layers[i]) == key.end()) key.push_back(layers[i]);
    if (i > 0) ++neighbours[{layers[i - 1], layers[i]}];
  }
  for (const auto& [pair, count] : neighbours) {
    key.insert(key.end(), {-1, pair.first, pair.second, count});
  }
  return key;
}

StrategySpace::Shard StrategySpace::make_shard(const ModelSource& source, Decisions decisions,
                                               std::size_t format, std::size_t kv_format,
                                               std::vector<StageExtents>& known) {
  Shard shard;
  shard.sharding = decisions.sharding;
  const int pp = shard.sharding.pp;
  shard.format = format;
  shard.kv_format = kv_format;
  shard.peaks = no_peaks();
  shard.decode.resize(batches_.size());
  Stages stages;
  std::vector<std::vector<int>> seen;  // what each of them is known by
  for (int stage = 0; stage < pp; ++stage) {
    std::vector<int> layers = alike_by(pp, stage);
    const auto alike = std::find(seen.begin(), seen.end(), layers);
    if (alike != seen.end()) {
      ++stages[static_cast<std::size_t>(alike - seen.begin())].count;
      continue;
    }
    seen.push_back(std::move(layers));
    StageClass one{stage, 1, stage_account(source, decisions, stage), {}, {}};
    add_work(prefill_work(one.account.model, decisions, DeviceKind::kGpu), shard.sharding,
             one.prefill);
    if (known.size() == stages.size()) known.push_back(stage_extents(one.account, decisions));
    add_peaks(one.account, decisions, known[stages.size()], shard.peaks);
    one.decode.resize(batches_.size());
    for (std::size_t b = 0; b < batches_.size(); ++b) {
      const Decisions d = with_batch(decisions, batches_[b]);
      const PassWork step{d.batch, d.batch, d.batch, mean_context().n};
      add_work(forward_work(one.account.model, d, step, DeviceKind::kGpu), shard.sharding,
               one.decode[b]);
    }
    stages.push_back(std::move(one));
  }
  for (const StageClass& one : stages) {
    shard.prefill.add(one.prefill, one.count);
    for (std::size_t b = 0; b < batches_.size(); ++b) {
      shard.decode[b].add(one.decode[b], one.count);
    }
  }
  for (std::size_t tier = 1; tier < tiers_.size(); ++tier) {
    shard.far.push_back(far_tier(source, stages, shard, decisions, tiers_[tier]));
  }
  return shard;
}

StageAccount StrategySpace::stage_account(const ModelSource& source, const Decisions& decisions,
                                          int stage) const {
  StageAccount account;
  account.model =
      rank_model(source.card, decisions, source.stored, stage * decisions.sharding.stage_ranks());
  account.weights = weight_bytes(account.model);
  account.padding = arena_padding(account.model);
  account.gpu = gpu_account(account.model, request_.devices.front(), decisions);
  return account;
}

}  // namespace vramplan
