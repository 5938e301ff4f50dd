#include "executor/rank_run.h"

#include <algorithm>
#include <string>

#include "executor/guesser.h"
#include "executor/rng.h"

namespace vramplan {
namespace {

double median(std::vector<double> values) {
  if (values.empty()) return 0;
  std::sort(values.begin(), values.end());
  const std::size_t middle = values.size() / 2;
  return values.size() % 2 == 1 ? values[middle] : (values[middle - 1] + values[middle]) / 2;
}

/// A row of blocks, of one group of layers or of several.
struct HeldRow {
  std::string name;
  Bytes bytes;
  std::string probe;

  /// `part`: what the row counts of each of the pool's blocks.
  void add(const BlockPool& pool, Bytes part) {
    bytes += part * pool.most_held().n;
    probe += (probe.empty() ? "" : " + ") + std::to_string(pool.most_held().n) +
             " blocks held at most x " + std::to_string(part.n) + " B";
  }
};

HeldRow& row_of(std::vector<HeldRow>& rows, const std::string& name) {
  for (HeldRow& row : rows) {
    if (row.name == name) return row;
  }
  rows.push_back({name, {}, {}});
  return rows.back();
}

/// Blocks of the groups that keep every token, of those that keep a window, and of a residual
/// window; of each format its own where layers have several.
void add_cache_rows(Ledger& ledger, RankEngine& engine) {
  const KvStore& kv = engine.kv();
  std::vector<HeldRow> rows;
  if (!kv.names_formats()) rows.push_back({"blocks", {}, {}});
  for (std::size_t g = 0; g < kv.groups().size(); ++g) {
    const BlockPool& pool = kv.pool(g);
    const KvGroup& group = kv.groups()[g];
    const char* const name = group.keep.recent  ? "residual window"
                             : group.keep.all() ? "blocks"
                                                : "window blocks";
    if (group.keep.recent || !kv.names_formats()) {
      row_of(rows, name).add(pool, pool.block_bytes());
      continue;
    }
    for (const auto& [format, bytes] : group.formats) {
      row_of(rows, std::string(name) + " " + name_of(format)).add(pool, bytes);
    }
  }
  for (HeldRow& row : rows) {
    if (row.probe.empty()) row.probe = "no layer keeps every token";
    ledger.add({engine.part().rank, TierKind::kDevice, Category::kKvCache, std::move(row.name),
                Phase::kLoad, row.bytes, std::move(row.probe)});
  }
  if (const BlockPool* host = kv.swap_pool(); host != nullptr && host->most_held().n > 0) {
    ledger.add({engine.part().rank, TierKind::kHost, Category::kKvCache, "swapped blocks",
                Phase::kLoad, kv.pool(0).block_bytes() * host->most_held().n,
                std::to_string(host->most_held().n) + " blocks held at most on the host x " +
                    std::to_string(kv.pool(0).block_bytes().n) + " B"});
  }
  const KvStream* stream = engine.kv_stream();
  if (stream == nullptr) return;
  const auto beyond = [&](TierKind tier, const char* name, Bytes stream_bytes, const char* probe) {
    ledger.add(
        {engine.part().rank, tier, Category::kKvCache, name, Phase::kLoad, stream_bytes, probe});
  };
  beyond(TierKind::kDevice, "staging", stream->staging_bytes(),
         "taken for layers that come and go");
  if (stream->pinned_bytes().n > 0) {
    beyond(TierKind::kHost, "staging", stream->pinned_bytes(),
           "pinned memory that records of the disk pass through");
  }
  const bool disk = stream->placement() == KvPlacement::kDisk;
  beyond(disk ? TierKind::kDisk : TierKind::kHost, "blocks",
         stream->far_bytes(kv.pool(0).most_held()),
         "blocks held at most x their bytes beyond the device");
}

}  // namespace

void add_observed_rows(Ledger& ledger, RankEngine& engine, const RankRun& run) {
  const int rank = engine.part().rank;
  const auto add = [&](Category category, const char* name, Phase phase, Bytes bytes,
                       std::string probe) {
    ledger.add({rank, TierKind::kDevice, category, name, phase, bytes, std::move(probe)});
  };
  for (const char* group :
       {"embedding", "positions", "attention", "feed_forward", "norms", "head", "staging"}) {
    for (const auto& [row, bytes] : engine.weight_groups()) {
      if (row != group && row.rfind(std::string(group) + " ", 0) != 0) continue;
      add(Category::kWeights, row.c_str(), Phase::kLoad, bytes,
          "tensors taken from the weight arena");
    }
  }
  if (const Arena* host = engine.host_weights()) {
    ledger.add({rank, TierKind::kHost, Category::kWeights, "streamed layers", Phase::kLoad,
                host->live(), "tensors taken from the arena in host memory"});
  }
  add_cache_rows(ledger, engine);
  add(Category::kActivations, "peak", Phase::kPrefill, run.prefill_peak,
      "high-water mark of the activation arena in prefill");
  if (engine.hidden_states() != nullptr) {
    ledger.add({rank, TierKind::kHost, Category::kActivations, "hidden states", Phase::kPrefill,
                engine.hidden_states()->bytes(), "reserved in host memory for a prompt"});
  }
  if (run.decode_peak.n > 0) {  // one output token comes from prefill: there is no decode
    add(Category::kActivations, "peak", Phase::kDecode, run.decode_peak,
        "high-water mark of the activation arena in decode");
  }
  if (const GpuWorkspace* gpu = engine.gpu()) {
    add(Category::kWorkspace, "gemm", Phase::kLoad, gpu->gemm_bytes(),
        "taken from the reservation for the GEMM library");
    add(Category::kWorkspace, "indices", Phase::kLoad, gpu->index_bytes(),
        std::to_string(gpu->tensor_count()) + " arrays and rotary tables");
    if (engine.vector_bytes().n > 0) {
      add(Category::kWorkspace, "f32 vectors", Phase::kLoad, engine.vector_bytes(),
          "f32 copies of 16-bit norms and biases");
    }
  }
  add(Category::kRuntime, "arena padding", Phase::kLoad, engine.weights_arena().padding(),
      std::to_string(engine.weights_arena().tensor_count()) + " tensors at multiples of " +
          std::to_string(Arena::kAlignment) + " B");
}

Bytes taken_in_reservation(RankEngine& engine, const RankRun& run, Guesser* guesser) {
  Bytes prefill = run.prefill_peak, decode = run.decode_peak, regions = engine.regions_taken();
  if (guesser != nullptr && guesser->draft() != nullptr) {
    prefill += guesser->prefill_peak();
    decode += guesser->decode_peak();
    regions += guesser->draft()->regions_taken();
  }
  return regions + std::max(prefill, decode);
}

void add_draft_rows(Ledger& ledger, Guesser& guesser) {
  RankEngine& draft = *guesser.draft();
  const auto add = [&](Category category, const char* name, Phase phase, Bytes bytes,
                       const char* probe) {
    ledger.add({0, TierKind::kDevice, category, name, phase, bytes, probe});
  };
  const Bytes padding = draft.weights_arena().padding();
  add(Category::kDraft, "weights", Phase::kLoad, draft.weights_arena().live() - padding,
      "tensors taken from the draft's weight arena");
  const BlockPool& pool = draft.kv().pool(0);
  add(Category::kDraft, "blocks", Phase::kLoad, pool.block_bytes() * pool.most_held().n,
      "blocks of the draft held at most");
  add(Category::kDraft, "arena padding", Phase::kLoad, padding, "of the draft's weight arena");
  add(Category::kActivations, "draft peak", Phase::kPrefill, guesser.prefill_peak(),
      "high-water mark of the draft's activation arena in prefill");
  if (guesser.decode_peak().n == 0) return;
  add(Category::kActivations, "draft peak", Phase::kDecode, guesser.decode_peak(),
      "high-water mark of the draft's activation arena in decode");
}

SchedulerOptions scheduler_options(const Decisions& decisions,
                                   std::vector<std::int32_t> end_tokens) {
  SchedulerOptions options;
  options.block = decisions.block;
  options.kv_stride = decisions.kv_residual.stride;
  // Layer by layer, a pass is a prompt; the transformer cuts it into chunks.
  options.prefill_chunk =
      decisions.activation_offload ? decisions.context.n : decisions.prefill_chunk.n;
  options.output = decisions.output.n;
  options.end_tokens = std::move(end_tokens);
  options.samples = decisions.samples;
  options.preempt = decisions.preempt;
  options.score = decisions.kv_score;
  options.prefix_cache = decisions.shared_prefix.n > 0;
  options.step_queries = step_queries(decisions);
  return options;
}

std::vector<std::vector<std::int32_t>> prompts_of(
    const Decisions& decisions, std::int64_t vocab,
    const std::vector<std::vector<std::int32_t>>& given) {
  const std::int64_t planned = (decisions.context - decisions.output).n;
  std::vector<std::vector<std::int32_t>> prompts = given;
  const std::int64_t count = decisions.batch / decisions.samples;
  if (prompts.empty()) {
    prompts.resize(static_cast<std::size_t>(count));
    std::uint64_t sequence = 0;
    for (std::vector<std::int32_t>& prompt : prompts) {
      SplitMix64 rng(decisions.seed + 0x632be59bd9b4e019ULL * ++sequence);
      prompt.resize(static_cast<std::size_t>(planned));
      for (std::int32_t& id : prompt) {
        id = static_cast<std::int32_t>(rng.next() % static_cast<std::uint64_t>(vocab));
      }
      std::copy_n(prompts.front().begin(), std::min(decisions.shared_prefix.n, planned),
                  prompt.begin());
    }
    return prompts;
  }
  if (static_cast<std::int64_t>(prompts.size()) != count) {
    throw Error(ErrorCode::kUsage, std::to_string(prompts.size()) + " prompts for a batch of " +
                                       std::to_string(decisions.batch) + ", " +
                                       std::to_string(decisions.samples) + " from each")
        .at("", "--prompt")
        .help("give one prompt a sequence, or plan with another --batch");
  }
  for (std::size_t i = 0; i < prompts.size(); ++i) {
    const std::string name = "prompt " + std::to_string(i);
    const auto tokens = static_cast<std::int64_t>(prompts[i].size());
    if (tokens == 0) throw Error(ErrorCode::kUsage, name + " is empty").at("", "--prompt");
    if (tokens > planned) {
      throw Error(ErrorCode::kUsage, name + " has " + std::to_string(tokens) +
                                         " tokens, the plan has " + std::to_string(planned) +
                                         " (context " + std::to_string(decisions.context.n) +
                                         " less output " + std::to_string(decisions.output.n) + ")")
          .at("", "--prompt")
          .help("plan again with --context " + std::to_string(tokens + decisions.output.n));
    }
    for (const std::int32_t id : prompts[i]) {
      if (id >= 0 && id < vocab) continue;
      throw Error(ErrorCode::kUsage, name + " holds token id " + std::to_string(id) +
                                         ", the vocabulary has " + std::to_string(vocab))
          .at("", "--prompt");
    }
  }
  return prompts;
}

std::vector<ObservedTerm> terms_of(const RankRun& run, Phase phase, double parts) {
  const OpTimings& ops = phase == Phase::kPrefill ? run.prefill_ops : run.decode_ops;
  std::vector<ObservedTerm> terms;
  if (ops.empty() || parts <= 0) return terms;
  ObservedTerm sample{"sample", 0, {}}, between{"between", 0, {}};
  for (const PassRecord& pass : run.passes) {
    if (pass.phase != phase) continue;
    if (pass.produced > 0) sample.calls += 1 / parts;
    sample.seconds += Seconds{pass.sampling_seconds / parts};
    between.seconds += Seconds{(pass.seconds - pass.sampling_seconds) / parts};
    between.calls += 1 / parts;
  }
  for (const auto& [name, timing] : ops) {
    terms.push_back({name, static_cast<double>(timing.calls) / parts, {timing.seconds / parts}});
    between.seconds = between.seconds - terms.back().seconds;
  }
  terms.push_back(sample);
  terms.push_back(between);
  std::stable_sort(terms.begin(), terms.end(), [](const ObservedTerm& a, const ObservedTerm& b) {
    return a.seconds > b.seconds;
  });
  return terms;
}

Timings timings_of(const std::vector<RankRun>& ranks, const Sharding& sharding) {
  Timings timings;
  const std::vector<PassRecord>& passes = ranks.front().passes;
  double prefill = 0, prompt_seconds = 0;
  std::int64_t prompt_tokens = 0;
  std::vector<double> prompt_rates;
  for (std::size_t i = 0; i < passes.size(); ++i) {
    double seconds = 0;
    for (int stage = 0; stage < sharding.pp; ++stage) {
      double slowest = 0;
      for (int r = stage * sharding.tp; r < (stage + 1) * sharding.tp; ++r) {
        slowest = std::max(slowest, ranks[static_cast<std::size_t>(r)].passes[i].seconds);
      }
      seconds += slowest;
    }
    const PassRecord& pass = passes[i];
    if (pass.phase == Phase::kPrefill) {
      prefill += seconds;
      timings.prefill_tokens += pass.tokens;
      prompt_seconds += seconds;
      prompt_tokens += pass.tokens;
      if (pass.produced == 0) continue;
      if (prompt_rates.empty()) timings.ttft = {prefill};
      prompt_rates.push_back(
          prompt_seconds > 0 ? static_cast<double>(prompt_tokens) / prompt_seconds : 0);
      prompt_seconds = 0;
      prompt_tokens = 0;
      continue;
    }
    timings.decode += Seconds{seconds};
    timings.decode_step_seconds.push_back(seconds);
    timings.decode_tokens += pass.produced;
    ++timings.decode_steps;
  }
  timings.prefill = {prefill};
  std::int64_t slices = 0;
  for (const PassRecord& pass : passes) {
    if (pass.phase == Phase::kDecode) slices += pass.slices;
  }
  if (slices > 0 && timings.decode_tokens > 0) {
    timings.tokens_a_step =
        static_cast<double>(timings.decode_tokens) / static_cast<double>(slices);
  }
  const double step = median(timings.decode_step_seconds);
  timings.tpot = {step / timings.tokens_a_step};
  timings.prefill_tokens_per_second = median(std::move(prompt_rates));
  if (timings.tpot.v > 0) {
    timings.decode_tokens_per_second = static_cast<double>(timings.decode_tokens) /
                                       static_cast<double>(timings.decode_steps) / step;
  }
  if (ranks.size() == 1) {
    double prompts = 0;
    for (const PassRecord& pass : passes)
      if (pass.phase == Phase::kPrefill && pass.produced > 0) prompts += 1;
    timings.prefill_terms = terms_of(ranks.front(), Phase::kPrefill, prompts);
    timings.decode_terms =
        terms_of(ranks.front(), Phase::kDecode, static_cast<double>(timings.decode_steps));
  }
  return timings;
}

}  // namespace vramplan
