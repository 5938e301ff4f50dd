// What several sequences hold together, and what their layout wastes.
#include "bench/techniques/page.h"
#include "executor/block_table.h"
#include "executor/rng.h"
#include "planner/kv_cache.h"

namespace vramplan {
namespace {

void sharing_row(const std::string& name, const PlannedRun& r, Page& page) {
  const Decisions& d = r.plan.decisions;
  const Bytes block{r.predicted().n / d.kv_blocks.n};
  const Bytes copies = block * kv_blocks_unshared(d).n;
  page.line("| {} | {} | {} | {} | {:.1f} % |", name, copies.n, r.predicted().n, r.observed().n,
            100 * (1 - static_cast<double>(r.observed().n) / static_cast<double>(copies.n)));
}

/// Four prompts that begin alike: what the later ones take until their first token.
void prefix_rows(const Setting& setting, Page& page) {
  constexpr std::size_t kShared = 896, kPrompt = 1000;
  std::vector<std::vector<std::int32_t>> prompts(4, setting.first(kPrompt));
  for (std::size_t i = 1; i < prompts.size(); ++i) {
    for (std::size_t t = kShared; t < kPrompt; ++t) prompts[i][t] = setting.ids[t + i * 60];
  }
  PlanRequest request = base_request();
  request.batch = 4;
  const PlannedRun apart = setting.run_of(request, prompts, 8);
  request.shared_prefix = Tokens{kShared};
  const PlannedRun shared = setting.run_of(request, prompts, 8);
  sharing_row("4 prompts of 1000 tokens, 896 alike", shared, page);
  const auto later = [](const Measurement& m) {
    return (m.timings.prefill.v - m.timings.ttft.v) / 3;
  };
  const double whole = shared.plan.predictions.performance.ttft.v;
  const double known = setting.plan_of(base_request(), kShared, 8).predictions.performance.ttft.v;
  page.line("\n| time to the first token of a later prompt | predicted | observed |");
  page.line("|---|---|---|");
  page.line("| everything computed | {:.0f} ms | {:.0f} ms |", 1e3 * whole,
            1e3 * later(apart.measurement));
  page.line("| 896 of 1000 tokens found | {:.0f} ms | {:.0f} ms |", 1e3 * (whole - known),
            1e3 * later(shared.measurement));
}

}  // namespace

void sharing_tables(const Setting& setting, Page& page) {
  page.line("| shared blocks | bytes of copies | predicted | observed | saved |");
  page.line("|---|---|---|---|---|");
  for (const auto& [count, what] : {std::pair(3, "samples"), {8, "samples"}, {3, "beams"}}) {
    PlanRequest request = base_request();
    request.batch = count;
    (what[0] == 'b' ? request.beams : request.samples) = count;
    sharing_row(fmt::format("{} {} of one prompt at 1024 tokens", count, what),
                setting.run_of(request, {setting.first(1008)}, 16), page);
  }
  prefix_rows(setting, page);
}

/// Requests of many lengths under a limit: slots taken and tokens in them.
void layout_tables(const Setting&, Page& page) {
  constexpr std::int64_t kLimit = 2048;
  page.line("| layout, 200 requests of 1 to {} tokens | tokens kept | slots taken | wasted |",
            kLimit);
  page.line("|---|---|---|---|");
  for (const std::int64_t block : {std::int64_t{16}, std::int64_t{32}, std::int64_t{64}, kLimit}) {
    const auto tier = make_dry_tier(TierKind::kDevice, Bytes{std::int64_t{1} << 50});
    BlockPool pool(*tier, Blocks{200 * ceil_div(kLimit, block)}, Bytes{1024});
    std::vector<BlockTable> tables;
    SplitMix64 rng(11);
    std::int64_t tokens = 0;
    for (int i = 0; i < 200; ++i) {
      const std::int64_t length =
          1 + static_cast<std::int64_t>(rng.next() % static_cast<std::uint64_t>(kLimit));
      tables.emplace_back(pool, TokensPerBlock{block});
      tables.back().grow_to(Tokens{length});
      tokens += length;
    }
    pool.check_integrity();
    const std::int64_t slots = pool.held().n * block;
    page.line("| {} | {} | {} | {:.1f} % |",
              block == kLimit ? std::string("contiguous, reserved to the limit")
                              : fmt::format("blocks of {}", block),
              tokens, slots, 100 * (1 - static_cast<double>(tokens) / static_cast<double>(slots)));
  }
}

}  // namespace vramplan
