#include "planner/kv_groups.h"

#include <algorithm>
#include <limits>
#include <numeric>
#include <utility>

#include "planner/kv_cache.h"
#include "planner/kv_mix.h"

namespace vramplan {
namespace {

/// Positions first, first + step, ... of which there are `count`.
struct Progression {
  std::int64_t first = 0, step = 1, count = 0;
  std::int64_t last() const { return first + step * (count - 1); }
};

/// The most that value % modulus takes over a progression of values >= 0.
std::int64_t most_remainder(const Progression& values, std::int64_t modulus) {
  const std::int64_t divisor = std::gcd(values.step, modulus), period = modulus / divisor;
  // A whole period takes every remainder that is congruent to the first by the divisor.
  if (values.count >= period) return modulus - divisor + values.first % divisor;
  std::int64_t most = 0;
  for (std::int64_t i = 0; i < values.count; ++i) {
    most = std::max(most, (values.first + i * values.step) % modulus);
  }
  return most;
}

struct Geometry {
  std::int64_t block, sink_blocks, window;

  Geometry(const KvKeep& keep, TokensPerBlock tokens)
      : block(tokens.n),
        sink_blocks(ceil_div(keep.sinks.n, tokens.n)),
        window(keep.all() ? std::numeric_limits<std::int64_t>::max() / 2 : keep.window.n) {
    // With n blocks of budget, ceil(query / block) - n are gone before a query: as many as leave a
    // window of (n - 1) block + 2 tokens.
    if (keep.budget.n > 0) window = (blocks_for(keep.budget, tokens).n - 1) * block + 2;
  }

  /// Blocks given back before a pass whose first query is at `query`.
  std::int64_t released(std::int64_t query) const {
    const std::int64_t first_seen = std::max<std::int64_t>(0, query - window + 1);
    return std::max<std::int64_t>(0, first_seen / block - sink_blocks);
  }
  std::int64_t held(std::int64_t query, std::int64_t slots) const {
    return ceil_div(slots, block) - released(query);
  }
  /// First query before which a block is given back, were it the last sink block.
  std::int64_t first_sliding() const { return sink_blocks * block + window - 1; }

  /// Most tokens from the first kept one to `reach` beyond the query, over the queries given: while
  /// nothing was given back the last query has most, after that the one whose window begins latest
  /// in its block.
  std::int64_t most_length(const Progression& queries, std::int64_t reach) const {
    if (queries.count <= 0) return 0;
    const std::int64_t sliding_from = first_sliding();
    std::int64_t growing = 0;  // queries before that
    if (queries.first < sliding_from) {
      growing = std::min(queries.count, (sliding_from - queries.first - 1) / queries.step + 1);
    }
    std::int64_t most = 0;
    if (growing > 0) most = queries.first + (growing - 1) * queries.step + reach;
    const Progression sliding{queries.first + growing * queries.step, queries.step,
                              queries.count - growing};
    if (sliding.count <= 0) return most;
    const Progression begins{sliding.first - window + 1, sliding.step, sliding.count};
    return std::max(most, sink_blocks * block + most_remainder(begins, block) + window - 1 + reach);
  }
  std::int64_t most_held(const Progression& queries, std::int64_t reach) const {
    return ceil_div(most_length(queries, reach), block);
  }
};

}  // namespace

std::vector<KvGroupBytes> kv_group_bytes(const RankModel& model, const Decisions& decisions) {
  std::vector<KvGroupBytes> groups;
  const auto add = [&](const KvKeep& keep, const KvFormatBytes& bytes) {
    if (bytes.per_token.n == 0) return;
    auto group = std::find_if(groups.begin(), groups.end(),
                              [&](const KvGroupBytes& known) { return known.keep == keep; });
    if (group == groups.end()) {
      groups.push_back({keep, {}, {}});
      group = groups.end() - 1;
    }
    group->per_token = group->per_token + bytes.per_token;
    for (KvFormatBytes& known : group->formats) {
      if (known.format != bytes.format) continue;
      known.layers += bytes.layers;
      known.per_token = known.per_token + bytes.per_token;
      return;
    }
    group->formats.push_back(bytes);
  };
  for (const LayerKind& kind : model.kinds) {
    const KvEncoding encoding = kind.encoding(decisions);
    add(keep_of(decisions, kind.layer.mixer.window_tokens, encoding.format),
        {encoding.format, kind.count, kv_bytes_per_token(kind.shape, encoding) * kind.count});
  }
  if (model.mtp_layers > 0) {
    const BytesPerToken one = kv_bytes_per_token(model.kinds.back().shape, decisions.kv_format);
    KvKeep all;
    all.history = has_window(decisions, decisions.kv_format);
    add(all, {decisions.kv_format, model.mtp_layers, one * model.mtp_layers});
  }
  std::sort(groups.begin(), groups.end(), [](const KvGroupBytes& a, const KvGroupBytes& b) {
    return std::pair(a.keep.history, a.keep.window) < std::pair(b.keep.history, b.keep.window);
  });
  return groups;
}

Blocks kept_blocks(const KvKeep& keep, const Decisions& decisions) {
  if (keep.history && mixes_windows(decisions)) return history_blocks(decisions);
  if (keep.all()) return kv_blocks(decisions);
  const Geometry geometry(keep, decisions.block);
  const std::int64_t prompt = (decisions.context - decisions.output).n;
  const std::int64_t chunk = std::min(decisions.prefill_chunk.n, prompt);
  const std::int64_t full = ceil_div(prompt, chunk) - 1;  // chunks before the last
  const std::int64_t chunks =
      std::max(geometry.most_held({0, chunk, full}, chunk),
               geometry.held(full * chunk, prompt + 1));  // the last also takes the next slot
  const std::int64_t after = geometry.held(prompt, prompt + 1);
  const std::int64_t steps = geometry.most_held({prompt, 1, decisions.output.n - 1}, 2);
  const Blocks prefill = Blocks{after} * (decisions.batch - 1) + Blocks{chunks};
  return std::max(prefill, Blocks{std::max(after, steps)} * decisions.batch);
}

std::int64_t most_kept_length(const KvKeep& keep, TokensPerBlock block, const PassRange& passes) {
  if (keep.all()) return passes.last_kv;
  const std::int64_t first = passes.first_kv - passes.queries;
  const std::int64_t count = (passes.last_kv - passes.first_kv) / passes.queries + 1;
  return Geometry(keep, block).most_length({first, passes.queries, count}, passes.queries);
}

std::vector<WindowPool> window_pools(const ModelCard& card, const Decisions& decisions) {
  std::vector<WindowPool> pools;
  for (const Layer& layer : card.layers) {
    const KvKeep keep = keep_of(decisions, layer.mixer.window_tokens);
    const bool known =
        keep.all() || std::any_of(pools.begin(), pools.end(), [&](const WindowPool& pool) {
          return pool.window == keep.window;
        });
    if (!known) pools.push_back({keep.window, kept_blocks(keep, decisions)});
  }
  std::sort(pools.begin(), pools.end(),
            [](const WindowPool& a, const WindowPool& b) { return a.window < b.window; });
  return pools;
}

}  // namespace vramplan
